/* Provider: the name by which a configuration finds the adapter that makes its calls. A value
 * object: [a-z][a-z0-9_-]{0,99}. Which providers there are is not known here. */
#include "macros.h"
#include "text/text.h"
#include <aiplat/llm_config.h>

#define PROVIDER_MAX_BYTES 100

static int is_lower(char c)
{
        return c >= 'a' && c <= 'z';
}

static int may_follow(char c)
{
        return is_lower(c) || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static int is_provider(struct aip_str text)
{
        if (text.n == 0 || text.n > PROVIDER_MAX_BYTES || !text.p || !is_lower(text.p[0]))
                return 0;
        for (size_t i = 1; i < text.n; i++) {
                if (!may_follow(text.p[i]))
                        return 0;
        }
        return 1;
}

int aip_provider_check(struct aip_str provider, aip_error **err)
{
        if (is_provider(provider))
                return 0;
        if (provider.n == 0)
                return aip_error_set(err, AIP_EINVAL, "provider: must not be empty");
        char quoted[AIP_TEXT_QUOTED_BYTES];
        return aip_error_set(err, AIP_EINVAL,
                             "provider: %s is not a provider's name: a lower-case letter, then at "
                             "most %d lower-case letters, digits, '_' or '-'",
                             aip_text_quote(provider, quoted), PROVIDER_MAX_BYTES - 1);
}
