/*
 * watch: follow a job as it runs. Tokens go to standard output as they come, the graph's progress to
 * standard error where that is a terminal. A connection that breaks is made again behind the last
 * event, so nothing is missed and nothing printed twice. Also what `submit --stream` does in the end.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "command.h"
#include "watch.h"

#define LINE_MAX_BYTES ((size_t)1 << 20)
#define TRIES          20 /* without an event between */
#define PAUSE_MS       500

struct watch {
        const struct common *common;
        const char *job_id;
        struct aip_buf line; /* of the stream, so far */
        struct aip_buf data;
        char type[32], id[64], last_id[64];
        long status;
        struct aip_buf refusal;
        int has_ended, has_printed, is_terminal, n_tries;
        char outcome[32];
};

/* ── what is shown ───────────────────────────────────────────────────────────────────────────── */

static void tell(const struct watch *w, const char *what, struct aip_str text)
{
        if (w->is_terminal)
                fprintf(stderr, "%s%.*s\n", what, (int)text.n, text.p ? text.p : "");
}

static void new_line(struct watch *w)
{
        if (w->has_printed)
                putchar('\n');
        w->has_printed = 0;
}

static void show_token(struct watch *w, const aip_value *data)
{
        struct aip_str text = aip_value_as_string(aip_value_get_cstr(data, "text"));

        if (aip_value_as_bool(aip_value_get_cstr(data, "restart"), 0)) {
                new_line(w);
                tell(w, "the answer begins again", aip_str_of(""));
        }
        if (text.n == 0)
                return;
        fwrite(text.p, 1, text.n, stdout);
        fflush(stdout);
        w->has_printed = text.p[text.n - 1] != '\n';
}

static void show_nodes(const struct watch *w, const aip_value *data)
{
        const aip_value *nodes = aip_value_get_cstr(data, "nodes");

        for (size_t i = 0; i < aip_value_size(nodes); i++)
                tell(w, "▸ ", aip_value_as_string(aip_value_at(nodes, i)));
}

/* Also where no terminal is: without an answer it does not go on. */
static void show_questions(const struct watch *w, const aip_value *data)
{
        const aip_value *questions = aip_value_get_cstr(data, "questions");

        for (size_t i = 0; i < aip_value_size(questions); i++) {
                struct aip_buf text = AIP_BUF_INIT(LINE_MAX_BYTES);
                const aip_value *question = aip_value_get_cstr(aip_value_at(questions, i), "value");
                struct aip_str said = aip_value_as_string(question);

                if (!said.p && aip_value_print(question, &text, NULL) == 0)
                        said = aip_buf_str(&text);
                fprintf(stderr, "? %.*s\n", (int)said.n, said.p ? said.p : "");
                aip_buf_deinit(&text);
        }
        fprintf(stderr, "it waits for an answer: aiplatctl resume %s …\n", w->job_id);
}

static void show_status(struct watch *w, const aip_value *data)
{
        struct aip_str status = aip_value_as_string(aip_value_get_cstr(data, "status"));

        new_line(w);
        tell(w, "● ", status);
        if (aip_str_eq(status, aip_str_of("INTERRUPTED")))
                show_questions(w, data);
}

static void show(struct watch *w, const aip_value *data)
{
        if (strcmp(w->type, "token") == 0) {
                show_token(w, data);
        } else if (strcmp(w->type, "step_started") == 0) {
                new_line(w);
                show_nodes(w, data);
        } else if (strcmp(w->type, "status") == 0) {
                show_status(w, data);
        } else if (strcmp(w->type, "tool_call") == 0) {
                tell(w, "⚒ ", aip_value_as_string(aip_value_get_cstr(data, "name")));
        } else if (strcmp(w->type, "error") == 0) {
                new_line(w);
                fprintf(stderr, "the attempt failed: %.*s\n",
                        (int)aip_value_as_string(aip_value_get_cstr(data, "error")).n,
                        aip_value_as_string(aip_value_get_cstr(data, "error")).p);
        } else if (strcmp(w->type, "gap") == 0) {
                fprintf(stderr, "some of what happened cannot be shown\n");
        }
}

static void take_event(struct watch *w)
{
        aip_value *data = NULL;

        if (w->data.n > 0 && aip_value_parse(aip_buf_str(&w->data), &data, NULL) == 0) {
                w->n_tries = 0;
                if (w->common->is_json)
                        printf("{\"id\":\"%s\",\"event\":\"%s\",\"data\":%s}\n", w->id, w->type,
                               w->data.p);
                else
                        show(w, data);
                fflush(stdout);
                if (*w->id)
                        memcpy(w->last_id, w->id, sizeof(w->id));
                if (strcmp(w->type, "end") == 0) {
                        struct aip_str s = aip_value_as_string(aip_value_get_cstr(data, "status"));

                        w->has_ended = 1;
                        snprintf(w->outcome, sizeof(w->outcome), "%.*s", (int)s.n, s.p ? s.p : "");
                }
        }
        aip_value_unref(data);
        aip_buf_clear(&w->data);
        w->id[0] = w->type[0] = '\0';
}

/* ── the stream ──────────────────────────────────────────────────────────────────────────────── */

static int take_line(struct watch *w)
{
        const char *line = w->line.n ? w->line.p : "";

        if (!*line)
                take_event(w);
        else if (strncmp(line, "id: ", 4) == 0)
                snprintf(w->id, sizeof(w->id), "%s", line + 4);
        else if (strncmp(line, "event: ", 7) == 0)
                snprintf(w->type, sizeof(w->type), "%s", line + 7);
        else if (strncmp(line, "data: ", 6) == 0)
                return aip_buf_append_cstr(&w->data, line + 6);
        return 0;
}

static size_t take_bytes(char *bytes, size_t size, size_t n, void *user)
{
        struct watch *w = user;

        if (w->status == 0)
                return 0;
        for (size_t i = 0; i < size * n; i++) {
                int r = 0;

                if (w->status != 200) {
                        r = aip_buf_append_char(&w->refusal, bytes[i]);
                } else if (bytes[i] != '\n') {
                        r = aip_buf_append_char(&w->line, bytes[i]);
                } else {
                        r = take_line(w);
                        aip_buf_clear(&w->line);
                }
                if (r < 0)
                        return 0;
        }
        return size * n;
}

static size_t take_header(char *bytes, size_t size, size_t n, void *user)
{
        struct watch *w = user;

        if (size * n > 12 && strncmp(bytes, "HTTP/", 5) == 0)
                w->status = strtol(memchr(bytes, ' ', size * n), NULL, 10);
        return size * n;
}

static CURLcode read_stream(struct watch *w, const char *url)
{
        struct curl_slist *headers = NULL;
        CURL *curl = curl_easy_init();
        char last[100];
        CURLcode code;

        if (!curl)
                return CURLE_OUT_OF_MEMORY;
        snprintf(last, sizeof(last), "Last-Event-ID: %s", w->last_id);
        if (*w->last_id)
                headers = curl_slist_append(headers, last);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
        /* The gateway says something each 15 s. */
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 45L);
        curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
        curl_easy_setopt(curl, CURLOPT_HEADERDATA, w);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, w);
        w->status = 0;
        aip_buf_clear(&w->line);
        aip_buf_clear(&w->data);
        code = curl_easy_perform(curl);
        curl_slist_free_all(headers);
        curl_easy_cleanup(curl);
        return code;
}

static int is_final(const struct watch *w)
{
        return w->has_ended || w->status == 204 || (w->status >= 400 && w->status < 500);
}

static int outcome_of(struct watch *w, CURLcode code)
{
        struct reply reply = {w->status, w->refusal, NULL};
        int result;

        if (w->has_ended || w->status == 204)
                return strcmp(w->outcome, "COMPLETED") == 0 ? EXIT_OK : EXIT_FAILED;
        if (w->status < 400) {
                fprintf(stderr, "aiplatctl: no answer from %s: %s\n", w->common->url,
                        curl_easy_strerror(code));
                return EXIT_UNAVAILABLE;
        }
        aip_value_parse(aip_buf_str(&w->refusal), &reply.value, NULL);
        result = client_refused(&reply);
        aip_value_unref(reply.value);
        return result;
}

int watch_job(const struct common *common, const char *job_id)
{
        struct watch w = {.common = common, .job_id = job_id};
        struct aip_buf url = AIP_BUF_INIT(65536);
        const struct timespec pause = {0, PAUSE_MS * 1000000L};
        CURLcode code = CURLE_OK;
        int result = EXIT_FAILED;

        w.is_terminal = !common->is_json && isatty(STDERR_FILENO);
        aip_buf_init(&w.line, LINE_MAX_BYTES);
        aip_buf_init(&w.data, LINE_MAX_BYTES);
        aip_buf_init(&w.refusal, LINE_MAX_BYTES);
        if (aip_buf_append_cstr(&url, common->url) == 0 &&
            aip_buf_append_cstr(&url, "/v1/jobs/") == 0 &&
            client_escape(&url, aip_str_of(job_id)) == 0 &&
            aip_buf_append_cstr(&url, "/events") == 0) {
                for (w.n_tries = 1; w.n_tries <= TRIES; w.n_tries++) {
                        aip_buf_clear(&w.refusal);
                        code = read_stream(&w, url.p);
                        if (is_final(&w))
                                break;
                        nanosleep(&pause, NULL);
                }
                new_line(&w);
                result = outcome_of(&w, code);
        }
        aip_buf_deinit(&w.line);
        aip_buf_deinit(&w.data);
        aip_buf_deinit(&w.refusal);
        aip_buf_deinit(&url);
        return result;
}

/* ── the command ─────────────────────────────────────────────────────────────────────────────── */

struct options {
        struct common common;
        const char *job_id;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
        struct options *o = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &o->common;
                return 0;
        case ARGP_KEY_ARG:
                if (o->job_id)
                        argp_error(state, "one job id only");
                o->job_id = argument;
                return 0;
        case ARGP_KEY_NO_ARGS:
                argp_error(state, "a job id is wanted");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

int cmd_watch(int argc, char **argv)
{
        static const struct argp argp = {
                NULL,
                parse,
                "JOB_ID",
                "Follow a job until it has ended: its answer as it is written, when it was "
                "submitted "
                "with --stream. With --json an event a line. Exits with 0 only when it completed.",
                common_children,
                NULL,
                NULL};
        struct options o = {COMMON_INIT, NULL};

        command_parse(&argp, argc, argv, &o);
        return watch_job(&o.common, o.job_id);
}
