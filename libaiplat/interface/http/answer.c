/*
 * Answers: JSON, problem documents, and which status an error of the application is to a client. The
 * only place that knows the wording of problem documents. Called by every controller.
 */
#include <stdarg.h>
#include <stdio.h>

#include "macros.h"
#include "mem.h"
#include "request.h"
#include "server.h"

#define PROBLEM_MAX_BYTES 16384

struct status_name {
        unsigned status;
        const char *title;
};

static const char *title_of(unsigned status)
{
        static const struct status_name names[] = {
                {400, "Bad Request"},
                {404, "Not Found"},
                {405, "Method Not Allowed"},
                {409, "Conflict"},
                {411, "Length Required"},
                {413, "Content Too Large"},
                {415, "Unsupported Media Type"},
                {422, "Unprocessable Content"},
                {500, "Internal Server Error"},
                {503, "Service Unavailable"},
        };

        for (size_t i = 0; i < AIP_ARRAY_SIZE(names); i++)
                if (names[i].status == status)
                        return names[i].title;
        return "Error";
}

void http_answer_json(struct http_request *request, unsigned status, struct aip_buf *body)
{
        request->answer.status = status;
        request->answer.content_type = "application/json";
        request->answer.body = *body;
        aip_buf_init(body, body->max_bytes);
        http_answered(request);
}

void http_answer_text(struct http_request *request, const char *content_type, struct aip_str text)
{
        aip_buf_init(&request->answer.body, text.n + 1);
        if (aip_buf_append(&request->answer.body, text) < 0) {
                http_answer_problem(request, 503, "UNAVAILABLE", "out of memory");
                return;
        }
        request->answer.status = 200;
        request->answer.content_type = content_type;
        http_answered(request);
}

void http_answer_stream(struct http_request *request, const char *content_type,
                        void (*more)(struct http_request *request))
{
        request->answer.status = 200;
        request->answer.content_type = content_type;
        request->more = more;
        http_piece_ready(request);
}

void http_answer_empty(struct http_request *request, unsigned status)
{
        request->answer.status = status;
        aip_buf_init(&request->answer.body, 1);
        http_answered(request);
}

static int print_problem(const struct http_request *request, unsigned status, const char *code,
                         const char *detail, struct aip_buf *out)
{
        int r = aip_buf_printf(
                out, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":",
                title_of(status), status);

        /* What a client sent may stand in the text; only valid UTF-8 may go out. */
        if (r < 0 || (r = aip_json_append_string(out, aip_str_utf8_length(aip_str_of(detail)) >= 0
                                                              ? aip_str_of(detail)
                                                              : aip_str_of("malformed input"))) < 0)
                return r;
        return aip_buf_printf(out, ",\"code\":\"%s\",\"trace_id\":\"%s\"}", code,
                              request->trace_id);
}

/* A text that was cut at `n` bytes ends with a whole character. */
static void end_whole(char *text, size_t n)
{
        while (n > 0 && ((unsigned char)text[n - 1] & 0xc0) == 0x80)
                n--;
        if (n > 0 && (unsigned char)text[n - 1] >= 0xc0)
                text[n - 1] = '\0';
}

void http_answer_problem(struct http_request *request, unsigned status, const char *code,
                         const char *format, ...)
{
        char detail[2048];
        struct aip_buf body = AIP_BUF_INIT(PROBLEM_MAX_BYTES);
        va_list arguments;

        va_start(arguments, format);
        if (vsnprintf(detail, sizeof(detail), format, arguments) >= (int)sizeof(detail))
                end_whole(detail, sizeof(detail) - 1);
        va_end(arguments);
        if (print_problem(request, status, code, detail, &body) < 0)
                aip_buf_deinit(&body); /* the status alone must do */
        request->answer.status = status;
        request->answer.content_type = "application/problem+json";
        if (status == 503 && request->answer.retry_after_s == 0)
                request->answer.retry_after_s = 1;
        request->answer.body = body;
        http_answered(request);
}

struct translation {
        int error_code;
        unsigned status;
        const char *code;
};

/* 422 for wrong input: the syntax was checked before, and answered with 400. */
static const struct translation *translate(int error_code)
{
        static const struct translation table[] = {
                {AIP_EINVAL, 422, "VALIDATION_ERROR"},  {AIP_ENOTFOUND, 404, "NOT_FOUND"},
                {AIP_ECONFLICT, 409, "CONFLICT"},       {AIP_ESTATE, 409, "CONFLICT"},
                {AIP_EUNAVAILABLE, 503, "UNAVAILABLE"}, {AIP_ETIMEOUT, 503, "UNAVAILABLE"},
                {AIP_ECANCELLED, 503, "UNAVAILABLE"},   {AIP_ELIMIT, 503, "OVERLOADED"},
                {AIP_ENOMEM, 503, "OVERLOADED"},        {AIP_EUNSUPPORTED, 422, "UNSUPPORTED"},
        };
        static const struct translation other = {0, 500, "INTERNAL_ERROR"};

        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++)
                if (table[i].error_code == error_code)
                        return &table[i];
        return &other;
}

static void answer_error(struct http_request *request, aip_error *err, int is_in_body)
{
        const struct translation *t = translate(aip_error_code(err));
        unsigned status = is_in_body && t->status == 404 ? 422 : t->status;
        int64_t retry_after_ms = aip_error_retry_after_ms(err);

        if (retry_after_ms > 0)
                request->answer.retry_after_s =
                        (int32_t)AIP_MIN((retry_after_ms + 999) / 1000, (int64_t)3600);
        if (status == 500)
                aip_log_write(http_options(request)->log, AIP_LOG_ERROR, "http", "%s %s: %s",
                              request->route ? request->route->method : "?", request->path,
                              aip_error_message(err));
        http_answer_problem(request, status, t->code, "%s", aip_error_message(err));
        aip_error_free(err);
}

void http_answer_error(struct http_request *request, aip_error *err)
{
        answer_error(request, err, 0);
}

void http_answer_unprocessable(struct http_request *request, aip_error *err)
{
        answer_error(request, err, 1);
}

aip_value *http_body_object(struct http_request *request)
{
        aip_value *value = NULL;
        aip_error *err = NULL;

        if (aip_value_parse(aip_buf_str(&request->body), &value, &err) < 0) {
                if (aip_error_code(err) == AIP_EINVAL)
                        http_answer_problem(request, 400, "INVALID_JSON",
                                            "the body is not valid JSON: %s",
                                            aip_error_message(err));
                else
                        http_answer_problem(request, 503, "OVERLOADED", "%s",
                                            aip_error_message(err));
                aip_error_free(err);
                return NULL;
        }
        if (aip_value_type(value) != AIP_VALUE_OBJECT) {
                http_answer_problem(request, 422, "VALIDATION_ERROR",
                                    "the body must be a JSON object, not a %s",
                                    aip_value_type_name(aip_value_type(value)));
                aip_value_unref(value);
                return NULL;
        }
        return value;
}
