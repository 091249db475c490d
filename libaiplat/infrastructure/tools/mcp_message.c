/* See mcp_message.h. */
#include "tools/mcp_message.h"
#include "macros.h"
#include "tools/mcp_transport.h"
#include <aiplat/version.h>

/* ── building ────────────────────────────────────────────────────────────────────────────────── */

/* Set a member of *object unless it is gone; consumes `child`, drops the object when out of memory. */
static void set(aip_value **object, const char *key, aip_value *child)
{
        if (!*object)
                aip_value_unref(child);
        else if (aip_value_object_set_cstr(object, key, child) < 0)
                aip_value_unref(AIP_TAKE(*object));
}

static aip_value *text(const char *cstr)
{
        return aip_value_string(aip_str_of(cstr));
}

static aip_value *message(void)
{
        aip_value *m = aip_value_object();

        set(&m, "jsonrpc", text("2.0"));
        return m;
}

/* Consumes `m`. */
static int print(struct aip_buf *out, aip_value *m)
{
        int r = m ? aip_value_print(m, out, NULL) : AIP_ENOMEM;

        aip_value_unref(m);
        return r;
}

int mcp_print_request(struct aip_buf *out, int64_t id, const char *method, aip_value *params)
{
        aip_value *m = message();

        set(&m, "id", aip_value_int(id));
        set(&m, "method", text(method));
        if (params)
                set(&m, "params", params);
        return print(out, m);
}

int mcp_print_notification(struct aip_buf *out, const char *method, aip_value *params)
{
        aip_value *m = message();

        set(&m, "method", text(method));
        if (params)
                set(&m, "params", params);
        return print(out, m);
}

int mcp_print_answer(struct aip_buf *out, const aip_value *id, aip_value *result)
{
        aip_value *m = message(), *error = NULL;

        set(&m, "id", aip_value_ref(id));
        if (result) {
                set(&m, "result", result);
                return print(out, m);
        }
        error = aip_value_object();
        set(&error, "code", aip_value_int(-32601));
        set(&error, "message", text("Method not found"));
        set(&m, "error", error);
        return print(out, m);
}

aip_value *mcp_initialize_params(void)
{
        aip_value *params = aip_value_object(), *info = aip_value_object();

        set(&info, "name", text("aiplat"));
        set(&info, "version", text(AIPLAT_VERSION));
        set(&params, "protocolVersion", text(MCP_VERSION));
        set(&params, "capabilities", aip_value_object());
        set(&params, "clientInfo", info);
        return params;
}

aip_value *mcp_list_params(struct aip_str cursor)
{
        aip_value *params = aip_value_object();

        if (cursor.p)
                set(&params, "cursor", aip_value_string(cursor));
        return params;
}

aip_value *mcp_call_params(struct aip_str tool, const aip_value *arguments)
{
        aip_value *params = aip_value_object();

        set(&params, "name", aip_value_string(tool));
        set(&params, "arguments", aip_value_ref(arguments));
        return params;
}

aip_value *mcp_cancel_params(int64_t id, const char *reason)
{
        aip_value *params = aip_value_object();

        set(&params, "requestId", aip_value_int(id));
        set(&params, "reason", text(reason));
        return params;
}

/* ── reading ─────────────────────────────────────────────────────────────────────────────────── */

int mcp_is_version_known(struct aip_str version)
{
        static const char *const known[] = {MCP_VERSION, "2025-03-26", "2024-11-05"};

        for (size_t i = 0; i < AIP_ARRAY_SIZE(known); i++)
                if (aip_str_eq(version, aip_str_of(known[i])))
                        return 1;
        return 0;
}

static int is_text(const aip_value *block)
{
        return aip_str_eq(aip_value_as_string(aip_value_get_cstr(block, "type")),
                          AIP_STR("text")) &&
               aip_value_type(aip_value_get_cstr(block, "text")) == AIP_VALUE_STRING;
}

/* The blocks' texts, a line each; NULL when out of memory. */
static aip_value *joined_text(const aip_value *content)
{
        _cleanup_(aip_buf_deinit) struct aip_buf all = AIP_BUF_INIT(MCP_MESSAGE_MAX_BYTES * 2);

        for (size_t i = 0; i < aip_value_size(content); i++) {
                struct aip_str piece =
                        aip_value_as_string(aip_value_get_cstr(aip_value_at(content, i), "text"));
                if ((i > 0 && aip_buf_append_char(&all, '\n') < 0) ||
                    aip_buf_append(&all, piece) < 0)
                        return NULL;
        }
        return aip_value_string(aip_buf_str(&all));
}

aip_value *mcp_call_content(const aip_value *result)
{
        const aip_value *structured = aip_value_get_cstr(result, "structuredContent");
        const aip_value *content = aip_value_get_cstr(result, "content");

        if (structured)
                return aip_value_ref(structured);
        for (size_t i = 0; i < aip_value_size(content); i++)
                if (!is_text(aip_value_at(content, i)))
                        return aip_value_ref(content);
        return joined_text(content);
}

int mcp_take_text(struct mcp_host *host, struct aip_str json, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        aip_error *cause = NULL;
        int r = aip_value_parse(json, &value, &cause);

        if (r == AIP_ENOMEM)
                return aip_error_propagate(err, cause);
        if (r < 0)
                return aip_error_wrap(err, cause, AIP_EPROTOCOL, "not a message: %s",
                                      aip_error_message(cause));
        if (aip_value_type(value) != AIP_VALUE_LIST)
                host->on_message(host, value);
        else
                for (size_t i = 0; i < aip_value_size(value); i++)
                        host->on_message(host, aip_value_at(value, i));
        return 0;
}
