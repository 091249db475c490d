/* retention: what the store keeps and until when, and one round of letting go, by hand. */
#include <aiplat/runtime.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "output.h"

#define ROUND_WAIT_MS 600000
#define REPORT_MAX    (16u << 20)
#define TIME_BYTES    32

enum { KEY_ENV_FILE = 'e', KEY_SET = 's', KEY_DRY_RUN = 'n' };

struct arguments {
        struct common common;
        struct program_overrides overrides;
        int is_dry_run;
};

static void override(struct argp_state *state, struct arguments *a, char *pair)
{
        char *equals = strchr(pair, '=');

        if (!equals || equals == pair)
                argp_error(state, "--set wants NAME=VALUE, not '%s'", pair);
        *equals = '\0';
        program_override(&a->overrides, pair, equals + 1);
        *equals = '=';
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
        struct arguments *a = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &a->common;
                return 0;
        case KEY_ENV_FILE:
                a->overrides.env_file = argument;
                return 0;
        case KEY_SET:
                override(state, a, argument);
                return 0;
        case KEY_DRY_RUN:
                a->is_dry_run = 1;
                return 0;
        case ARGP_KEY_ARG:
                argp_error(state, "unexpected argument '%s'", argument);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const char *time_text(int64_t us, char text[TIME_BYTES])
{
        time_t seconds = (time_t)(us / 1000000);
        struct tm tm;

        strcpy(text, "");
        if (us > 0 && gmtime_r(&seconds, &tm))
                strftime(text, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm);
        return text;
}

/* Names and outcomes are the store's own words, without anything to be escaped. */
static int append_entry(struct aip_buf *out, const struct aip_retention_entry *entry)
{
        char from[TIME_BYTES], until[TIME_BYTES];

        return aip_buf_printf(out,
                              "{\"name\":\"%s\",\"outcome\":\"%s\",\"rows\":%" PRId64
                              ",\"from\":\"%s\",\"until\":\"%s\",\"bytes\":%" PRId64 "}",
                              entry->name, entry->outcome, entry->n,
                              time_text(entry->from_us, from), time_text(entry->until_us, until),
                              entry->bytes);
}

static int append_entries(struct aip_buf *out, const struct aip_retention *retention)
{
        int r = aip_buf_append_cstr(out, "[");

        for (size_t i = 0; r >= 0 && i < retention->ret_n; i++) {
                if (i > 0)
                        r = aip_buf_append_cstr(out, ",");
                if (r >= 0)
                        r = append_entry(out, &retention->ret_entries[i]);
        }
        return r < 0 ? r : aip_buf_append_cstr(out, "]");
}

static int print_table(struct aip_str json)
{
        static const struct column columns[] = {{"name", "NAME", 40},   {"from", "FROM", 20},
                                                {"until", "UNTIL", 20}, {"bytes", "BYTES", 20},
                                                {"rows", "ROWS", 20},   {"outcome", "OUTCOME", 16}};
        aip_value *rows = NULL;
        aip_error *err = NULL;

        if (aip_value_parse(json, &rows, &err) < 0)
                return program_fail(err);
        output_table(columns, sizeof(columns) / sizeof(columns[0]), rows);
        aip_value_unref(rows);
        return EXIT_OK;
}

static int print_report(const struct arguments *a, const struct aip_retention *retention)
{
        struct aip_buf out = AIP_BUF_INIT(REPORT_MAX);
        aip_error *err = NULL;
        int code = EXIT_OK;

        if (append_entries(&out, retention) < 0) {
                aip_error_set_nomem(&err);
                code = program_fail(err);
        } else if (a->common.is_json) {
                output_json(aip_buf_str(&out));
        } else {
                code = print_table(aip_buf_str(&out));
        }
        aip_buf_deinit(&out);
        return code;
}

/* Rounds until the store has no more to do; the rows of all of them are reported with the last. */
static int run_rounds(const struct arguments *a, const aip_settings *settings)
{
        struct aip_log log = program_log(settings);
        struct aip_retention retention = {.is_dry_run = a->is_dry_run};
        int64_t rows[2] = {0, 0};
        aip_error *err = NULL;
        int code;

        aip_retention_of_settings(settings, &retention);
        do {
                free(retention.ret_entries);
                retention.ret_entries = NULL;
                if (aip_retain(settings, &log, ROUND_WAIT_MS, &retention, &err) < 0)
                        return program_fail(err);
                for (size_t i = 0; retention.ret_has_more && i < retention.ret_n && i < 2; i++)
                        rows[i] += retention.ret_entries[i].n;
        } while (retention.ret_has_more);
        for (size_t i = 0; i < retention.ret_n && i < 2; i++)
                retention.ret_entries[i].n += rows[i];
        if (retention.ret_is_elsewhere)
                fprintf(stderr, "aiplatctl: another process is at it; nothing was done here\n");
        code = print_report(a, &retention);
        free(retention.ret_entries);
        return code;
}

int cmd_retention(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"dry-run", KEY_DRY_RUN, NULL, 0, "Show what there is and what would be done", 0},
                {"env-file", KEY_ENV_FILE, "FILE", 0, "Read settings from FILE instead of .env", 0},
                {"set", KEY_SET, "NAME=VALUE", 0, "Set a setting; may be repeated", 0},
                {0}};
        static const struct argp argp = {
                options,
                parse,
                NULL,
                "Let what was kept long enough leave the database of DATABASE_URL, and make "
                "partitions ahead, as gateways and workers do by themselves once a minute.",
                common_children,
                NULL,
                NULL};
        struct arguments a = {.is_dry_run = 0};
        aip_settings *settings = NULL;
        int code;

        command_parse(&argp, argc, argv, &a);
        code = program_load_settings(&a.overrides, &settings);
        if (code == EXIT_OK)
                code = run_rounds(&a, settings);
        aip_settings_free(settings);
        program_overrides_free(&a.overrides);
        return code;
}
