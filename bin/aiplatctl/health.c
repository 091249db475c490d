/* health: what the gateway says of itself and of the servers behind it. */
#include <stdio.h>

#include "client.h"
#include "command.h"
#include "output.h"

static error_t parse(int key, char *argument, struct argp_state *state)
{
        (void)argument;
        if (key != ARGP_KEY_INIT)
                return ARGP_ERR_UNKNOWN;
        state->child_inputs[0] = state->input;
        return 0;
}

static void print_dependencies(const aip_value *ready)
{
        const aip_value *all = aip_value_get_cstr(ready, "dependencies");
        struct aip_str status = aip_value_as_string(aip_value_get_cstr(ready, "status")), name;

        printf("%.*s\n", (int)status.n, status.p ? status.p : "");
        for (size_t i = 0; i < aip_value_size(all); i++) {
                const aip_value *one = aip_value_member(all, i, &name);
                struct aip_str state = aip_value_as_string(aip_value_get_cstr(one, "state"));
                struct aip_str adapter = aip_value_as_string(aip_value_get_cstr(one, "adapter"));
                struct aip_str error = aip_value_as_string(aip_value_get_cstr(one, "error"));

                printf("  %-10.*s %-5.*s %-10.*s", (int)name.n, name.p, (int)state.n, state.p,
                       (int)adapter.n, adapter.p ? adapter.p : "");
                if (aip_value_get_cstr(one, "latency_ms"))
                        printf(" %.2f ms",
                               aip_value_as_double(aip_value_get_cstr(one, "latency_ms"), 0));
                printf("%s%.*s\n", error.p ? "  " : "", (int)error.n, error.p ? error.p : "");
        }
}

int cmd_health(int argc, char **argv)
{
        static const struct argp argp = {
                NULL,
                parse,
                NULL,
                "Ask the gateway how it and its servers are. Exits with 0 when "
                "jobs can be accepted.",
                common_children,
                NULL,
                NULL};
        struct common common = COMMON_INIT;
        struct call call = {NULL, "GET", aip_str_of("/ready"), NULL, NULL, 10};
        struct reply reply;
        aip_error *err = NULL;
        int code;

        command_parse(&argp, argc, argv, &common);
        call.url = common.url;
        if (client_call(&call, &reply, &err) < 0)
                return program_fail(err);
        if (common.is_json)
                output_json(aip_buf_str(&reply.body));
        else
                print_dependencies(reply.value);
        code = reply.status == 200 ? EXIT_OK : EXIT_UNAVAILABLE;
        reply_deinit(&reply);
        return code;
}
