/*
 * Ids and types of the events of a job's stream, as text (ports/event_stream.h). Used by the adapters
 * of that port and by everything that shows events to people or programs.
 */
#include <aiplat/ports/event_stream.h>
#include <stdio.h>

#include "macros.h"

#define DIGITS_MAX 18 /* always fits */

static const char *const names[AIP_STREAM_N_TYPES] = {
        [AIP_STREAM_STATUS] = "status",
        [AIP_STREAM_STEP_STARTED] = "step_started",
        [AIP_STREAM_STEP_ENDED] = "step_ended",
        [AIP_STREAM_UPDATE] = "update",
        [AIP_STREAM_VALUES] = "values",
        [AIP_STREAM_TOKEN] = "token",
        [AIP_STREAM_TOOL_CALL] = "tool_call",
        [AIP_STREAM_CUSTOM] = "custom",
        [AIP_STREAM_ERROR] = "error",
        [AIP_STREAM_GAP] = "gap",
        [AIP_STREAM_END] = "end",
};

const char *aip_stream_type_name(enum aip_stream_type type)
{
        return (unsigned)type < AIP_STREAM_N_TYPES ? names[type] : "unknown";
}

int aip_stream_type_parse(struct aip_str text, enum aip_stream_type *ret_type, aip_error **err)
{
        for (size_t i = 0; i < AIP_STREAM_N_TYPES; i++) {
                if (!aip_str_eq(text, aip_str_of(names[i])))
                        continue;
                *ret_type = (enum aip_stream_type)i;
                return 0;
        }
        return aip_error_set(err, AIP_EINVAL, "'%.*s' is no type of event",
                             (int)AIP_MIN(text.n, (size_t)40), text.p ? text.p : "");
}

char *aip_stream_id_format(struct aip_stream_id id, char ret_text[AIP_STREAM_ID_TEXT_BYTES])
{
        snprintf(ret_text, AIP_STREAM_ID_TEXT_BYTES, "%lld-%lld", (long long)id.run,
                 (long long)id.n);
        return ret_text;
}

/* Digits up to `end`; negative when they are none, or too many. */
static int64_t read_number(const char *from, const char *end)
{
        int64_t number = 0;

        if (from == end || end - from > DIGITS_MAX)
                return -1;
        for (; from < end; from++) {
                if (*from < '0' || *from > '9')
                        return -1;
                number = number * 10 + (*from - '0');
        }
        return number;
}

int aip_stream_id_parse(struct aip_str text, struct aip_stream_id *ret_id, aip_error **err)
{
        const char *dash = text.n ? memchr(text.p, '-', text.n) : NULL;
        struct aip_stream_id id = {-1, -1};

        if (dash) {
                id.run = read_number(text.p, dash);
                id.n = read_number(dash + 1, text.p + text.n);
        }
        if (id.run < 0 || id.n < 0)
                return aip_error_set(err, AIP_EINVAL, "'%.*s' is no id of an event",
                                     (int)AIP_MIN(text.n, (size_t)40), text.p ? text.p : "");
        *ret_id = id;
        return 0;
}

int aip_stream_id_compare(struct aip_stream_id a, struct aip_stream_id b)
{
        if (a.run != b.run)
                return a.run < b.run ? -1 : 1;
        return a.n < b.n ? -1 : a.n > b.n;
}
