/* See provider_error.h. */
#include "llm/provider_error.h"
#include "macros.h"
#include "utf8.h"
#include <stdarg.h>
#include <stdio.h>

#define REDACTED          "[redacted]"
#define MESSAGE_MAX_BYTES 2048
#define FOREIGN_MAX_BYTES (1024 * 1024)

static const struct {
        const char *kind;
        int code;
        int is_retryable;
} kinds[] = {
        {AIP_LLM_CALLER_INVALID_REQUEST, AIP_EUPSTREAM, 0},
        {AIP_LLM_CALLER_AUTHENTICATION, AIP_EUPSTREAM, 0},
        {AIP_LLM_CALLER_PERMISSION, AIP_EUPSTREAM, 0},
        {AIP_LLM_CALLER_NOT_FOUND, AIP_EUPSTREAM, 0},
        {AIP_LLM_CALLER_TOO_LARGE, AIP_EUPSTREAM, 0},
        {AIP_LLM_CALLER_QUOTA, AIP_EUPSTREAM, 0},
        {AIP_LLM_POLICY_REFUSED, AIP_EUPSTREAM, 0},
        {AIP_LLM_PROVIDER_RATE_LIMITED, AIP_EUPSTREAM, 1},
        {AIP_LLM_PROVIDER_OVERLOADED, AIP_EUPSTREAM, 1},
        {AIP_LLM_PROVIDER_FAILED, AIP_EUPSTREAM, 1},
        {AIP_LLM_PROVIDER_UNREACHABLE, AIP_EUPSTREAM, 1},
        {AIP_LLM_PROVIDER_TIMEOUT, AIP_ETIMEOUT, 1},
        {AIP_LLM_PROVIDER_BAD_ANSWER, AIP_EUPSTREAM, 1},
        {AIP_LLM_INTERNAL_CANCELLED, AIP_ECANCELLED, 0},
        {AIP_LLM_INTERNAL_FAILED, AIP_EINTERNAL, 0},
};

static size_t kind_index(struct aip_str kind)
{
        size_t i = 0;
        while (i < AIP_ARRAY_SIZE(kinds) && !aip_str_eq(aip_str_of(kinds[i].kind), kind))
                i++;
        return i;
}

const char *aip_llm_kind_find(struct aip_str kind)
{
        size_t i = kind_index(kind);
        return i < AIP_ARRAY_SIZE(kinds) ? kinds[i].kind : NULL;
}

int aip_llm_error_set(aip_error **err, const char *kind, const char *format, ...)
{
        char message[MESSAGE_MAX_BYTES];
        size_t i = kind_index(aip_str_of(kind));
        assert(i < AIP_ARRAY_SIZE(kinds));
        va_list args;
        va_start(args, format);
        vsnprintf(message, sizeof(message), format, args);
        va_end(args);
        int r = aip_error_set(err, kinds[i].code, "%s", message);
        if (err && r != AIP_ENOMEM) {
                aip_error_set_kind(*err, kinds[i].kind);
                aip_error_set_retryable(*err, kinds[i].is_retryable, 0);
        }
        return r;
}

const char *aip_llm_kind_of_status(int32_t status)
{
        static const struct {
                int32_t status;
                const char *kind;
        } special[] = {
                {401, AIP_LLM_CALLER_AUTHENTICATION}, {402, AIP_LLM_CALLER_QUOTA},
                {403, AIP_LLM_CALLER_PERMISSION},     {404, AIP_LLM_CALLER_NOT_FOUND},
                {408, AIP_LLM_PROVIDER_FAILED},       {409, AIP_LLM_PROVIDER_FAILED},
                {413, AIP_LLM_CALLER_TOO_LARGE},      {429, AIP_LLM_PROVIDER_RATE_LIMITED},
                {503, AIP_LLM_PROVIDER_OVERLOADED},   {529, AIP_LLM_PROVIDER_OVERLOADED},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(special); i++) {
                if (special[i].status == status)
                        return special[i].kind;
        }
        return status >= 500 ? AIP_LLM_PROVIDER_FAILED : AIP_LLM_CALLER_INVALID_REQUEST;
}

static const char *find(struct aip_str text, struct aip_str secret)
{
        return text.n && secret.n ? memmem(text.p, text.n, secret.p, secret.n) : NULL;
}

int aip_llm_append_redacted(struct aip_buf *out, struct aip_str text, struct aip_str secret)
{
        int r = 0;
        const char *found;
        while (r == 0 && (found = find(text, secret))) {
                size_t before = (size_t)(found - text.p);
                r = aip_buf_append(out, aip_str_make(text.p, before));
                if (r == 0)
                        r = aip_buf_append_cstr(out, REDACTED);
                text = aip_str_make(found + secret.n, text.n - before - secret.n);
        }
        return r < 0 ? r : aip_buf_append(out, text);
}

/* One character of foreign text, or a stand-in for what is none. Returns the bytes it took. */
static size_t sanitized(struct aip_str text, struct aip_str *ret_piece)
{
        unsigned char c = (unsigned char)text.p[0];
        size_t n = c < 0x80 ? 1 : aip_utf8_sequence_bytes(text.p, text.n);
        if (n == 0)
                *ret_piece = AIP_STR("?");
        else if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text.p[1] < 0xa0))
                *ret_piece = AIP_STR(" ");
        else
                *ret_piece = aip_str_make(text.p, n);
        return n ? n : 1;
}

static int append_sanitized(struct aip_buf *out, struct aip_str text, size_t max_bytes)
{
        size_t room = max_bytes;
        int r = 0;
        while (r == 0 && text.n > 0) {
                struct aip_str piece;
                size_t n = sanitized(text, &piece);
                if (piece.n > room)
                        return aip_buf_append_cstr(out, "…");
                room -= piece.n;
                r = aip_buf_append(out, piece);
                text = aip_str_make(text.p + n, text.n - n);
        }
        return r;
}

int aip_llm_append_foreign(struct aip_buf *out, struct aip_str text, size_t max_bytes,
                           struct aip_str secret)
{
        /* Redact before cutting: half a key is still half a key. */
        if (!find(text, secret))
                return append_sanitized(out, text, max_bytes);
        _cleanup_(aip_buf_deinit) struct aip_buf clean = AIP_BUF_INIT(FOREIGN_MAX_BYTES);
        int r = aip_llm_append_redacted(&clean, text, secret);
        return r < 0 ? r : append_sanitized(out, aip_buf_str(&clean), max_bytes);
}
