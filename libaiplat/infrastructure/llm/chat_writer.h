/*
 * Writing JSON by hand, for requests to model providers: appends after the first that fails do
 * nothing, so that only the end is checked. Used by the request writers of this folder alone.
 */
#ifndef AIPLAT_LLM_CHAT_WRITER_H
#define AIPLAT_LLM_CHAT_WRITER_H

#include <aiplat/value.h>

struct aip_chat_writer {
        struct aip_buf *out;
        int r; /* 0, or how the first failed append failed */
};

static inline void aip_chat_put(struct aip_chat_writer *w, const char *json)
{
        if (w->r == 0)
                w->r = aip_buf_append_cstr(w->out, json);
}

static inline void aip_chat_put_string(struct aip_chat_writer *w, struct aip_str text)
{
        if (w->r == 0)
                w->r = aip_json_append_string(w->out, text);
}

static inline void aip_chat_put_value(struct aip_chat_writer *w, const aip_value *value)
{
        if (w->r == 0)
                w->r = aip_value_print(value, w->out, NULL);
}

/* A separator in front of all elements of a list but the first. */
static inline void aip_chat_put_comma(struct aip_chat_writer *w, int is_first)
{
        if (!is_first)
                aip_chat_put(w, ",");
}

#endif
