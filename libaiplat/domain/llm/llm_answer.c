/* What a model answered (see aiplat/ports/llm.h). Filled by adapters, freed by whoever made the
 * call. */
#include "mem.h"
#include <aiplat/ports/llm.h>

void aip_llm_answer_deinit(struct aip_llm_answer *answer)
{
        if (!answer)
                return;
        aip_free(answer->content);
        aip_free(answer->response_id);
        aip_free(answer->model_name);
        aip_value_unref(answer->tool_calls);
        *answer = (struct aip_llm_answer){0};
}
