/* Prompt: the value object for what a person asks. Checked when a job is made and when one is
 * restored; its messages are read by that person. */
#include "macros.h"
#include "text/text.h"
#include <aiplat/job.h>

int aip_prompt_check(struct aip_str prompt, aip_error **err)
{
        if (prompt.n == 0)
                return aip_error_set(err, AIP_EINVAL, "prompt: must not be empty");
        int r = aip_text_check("prompt", prompt, SIZE_MAX, err);
        if (r < 0)
                return r;
        int64_t characters = aip_str_utf8_length(prompt);
        if (characters > AIP_PROMPT_MAX_CHARACTERS)
                return aip_error_set(err, AIP_EINVAL,
                                     "prompt: has %lld characters; at most %d are allowed",
                                     (long long)characters, AIP_PROMPT_MAX_CHARACTERS);
        if (aip_text_is_blank(prompt))
                return aip_error_set(err, AIP_EINVAL, "prompt: must not be blank");
        return 0;
}
