/* See tool_error.h. */
#include "tools/tool_error.h"
#include "macros.h"
#include <aiplat/ports/llm.h>

void tool_error_rename(aip_error *err)
{
        static const struct {
                const char *from, *to;
        } kinds[] = {
                {AIP_LLM_PROVIDER_UNREACHABLE, "tool_unreachable"},
                {AIP_LLM_PROVIDER_TIMEOUT, "tool_timeout"},
                {AIP_LLM_PROVIDER_BAD_ANSWER, "tool_bad_answer"},
                {AIP_LLM_CALLER_PERMISSION, "caller_tool_not_allowed"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(kinds); i++) {
                if (strcmp(aip_error_kind(err), kinds[i].from) == 0) {
                        aip_error_set_kind(err, kinds[i].to);
                        return;
                }
        }
}
