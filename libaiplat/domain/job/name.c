/* Names by which people and programs refer to configurations, templates and graphs. Called by every
 * entity that has or mentions one. */
#include "macros.h"
#include "text/text.h"
#include <aiplat/job.h>

static int has_control(struct aip_str text)
{
        for (size_t position = 0; position < text.n;) {
                if (aip_text_is_control(aip_text_next(text, &position)))
                        return 1;
        }
        return 0;
}

int aip_name_check(const char *what, struct aip_str name, aip_error **err)
{
        if (name.n == 0)
                return aip_error_set(err, AIP_EINVAL, "%s: must not be empty", what);
        int r = aip_text_check(what, name, AIP_NAME_MAX_BYTES, err);
        if (r < 0)
                return r;
        char quoted[AIP_TEXT_QUOTED_BYTES];
        if (has_control(name))
                return aip_error_set(err, AIP_EINVAL, "%s: %s must not contain control characters",
                                     what, aip_text_quote(name, quoted));
        if (aip_text_trim(name).n != name.n)
                return aip_error_set(err, AIP_EINVAL,
                                     "%s: %s must not begin or end with white space", what,
                                     aip_text_quote(name, quoted));
        return 0;
}
