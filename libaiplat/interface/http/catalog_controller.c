/*
 * /v1/llm-configs, /v1/prompt-templates and /v1/graphs. They are alike but for their schema: what
 * differs is in `struct kind`. Reads come from the current snapshot; changes go to the store through the catalog
 * service and are answered when the new snapshot is live here.
 */
#include <stdio.h>

#include "catalog_schema.h"
#include "controllers.h"
#include "macros.h"
#include "paging.h"

#define LIST_DEFAULT   100
#define LIST_MAX       1000
#define PAGE_BYTES     ((size_t)16 << 20) /* a page that has as much ends with its entry */
#define PAGE_MAX_BYTES ((size_t)64 << 20)
#define CHANGE_WAIT_MS 5000

struct kind {
        const char *what;
        const char *path;
        const char *list_name;
        /* Entry `index` of the snapshot, sorted by name; NULL at the end. */
        const void *(*at)(const aip_catalog *catalog, size_t index, struct aip_str *ret_name);
        const void *(*find)(const aip_catalog *catalog, struct aip_str name);
        int (*print)(const void *entry, struct aip_buf *out);
        int (*print_in_list)(const void *entry, struct aip_buf *out);
};

static const void *config_at(const aip_catalog *catalog, size_t index, struct aip_str *ret_name)
{
        const aip_llm_config *const *all;

        if (index >= aip_catalog_configs(catalog, &all))
                return NULL;
        *ret_name = aip_llm_config_fields(all[index])->name;
        return all[index];
}

static const void *config_find(const aip_catalog *catalog, struct aip_str name)
{
        return aip_catalog_config(catalog, name);
}

static int config_print_any(const void *entry, struct aip_buf *out)
{
        return config_print(entry, out);
}

static const void *template_at(const aip_catalog *catalog, size_t index, struct aip_str *ret_name)
{
        const aip_prompt_template *const *all;

        if (index >= aip_catalog_templates(catalog, &all))
                return NULL;
        *ret_name = aip_prompt_template_fields(all[index])->name;
        return all[index];
}

static const void *template_find(const aip_catalog *catalog, struct aip_str name)
{
        return aip_catalog_template(catalog, name);
}

static int template_print_any(const void *entry, struct aip_buf *out)
{
        return template_print(entry, out);
}

static const void *graph_at(const aip_catalog *catalog, size_t index, struct aip_str *ret_name)
{
        const struct aip_graph_entry *all;

        if (index >= aip_catalog_graphs(catalog, &all))
                return NULL;
        *ret_name = aip_graph_document_name(all[index].document);
        return &all[index];
}

static const void *graph_find(const aip_catalog *catalog, struct aip_str name)
{
        return aip_catalog_graph(catalog, name);
}

static int graph_print_any(const void *entry, struct aip_buf *out)
{
        return graph_print(entry, out);
}

static int graph_print_any_head(const void *entry, struct aip_buf *out)
{
        return graph_print_head(entry, out);
}

static const struct kind configs = {
        "configuration", "/v1/llm-configs", "llm_configs",   config_at,
        config_find,     config_print_any,  config_print_any};
static const struct kind templates = {
        "template",    "/v1/prompt-templates", "prompt_templates", template_at,
        template_find, template_print_any,     template_print_any};
static const struct kind graphs = {"graph",    "/v1/graphs",    "graphs",            graph_at,
                                   graph_find, graph_print_any, graph_print_any_head};

/* ── reads ───────────────────────────────────────────────────────────────────────────────────── */

static const aip_catalog *snapshot(struct http_request *request)
{
        const aip_catalog *catalog = aip_catalog_service_current(http_options(request)->catalog);

        if (!catalog)
                http_answer_problem(request, 503, "UNAVAILABLE",
                                    "the configurations have not been read yet");
        return catalog;
}

static void out_of_memory(struct http_request *request, struct aip_buf *body)
{
        aip_buf_deinit(body);
        http_answer_problem(request, 503, "OVERLOADED", "out of memory");
}

static void answer_entry(struct http_request *request, const struct kind *kind, unsigned status,
                         const void *entry)
{
        struct aip_buf body = AIP_BUF_INIT(PAGE_MAX_BYTES);

        if (kind->print(entry, &body) < 0)
                out_of_memory(request, &body);
        else
                http_answer_json(request, status, &body);
}

static void not_found(struct http_request *request, const struct kind *kind)
{
        http_answer_problem(request, 404, "NOT_FOUND", "there is no %s '%.*s'", kind->what,
                            (int)AIP_MIN(request->segment.n, (size_t)AIP_NAME_MAX_BYTES),
                            request->segment.p);
}

static void get(struct http_request *request, const struct kind *kind)
{
        const aip_catalog *catalog = snapshot(request);
        const void *entry = catalog ? kind->find(catalog, request->segment) : NULL;

        if (entry)
                answer_entry(request, kind, 200, entry);
        else if (catalog)
                not_found(request, kind);
}

static int name_compare(struct aip_str a, struct aip_str b)
{
        int c = memcmp(a.p, b.p, AIP_MIN(a.n, b.n));

        return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* One page of entries whose names come after `after`. */
static int print_page(const struct kind *kind, const aip_catalog *catalog, struct aip_str after,
                      uint32_t limit, struct aip_buf *out)
{
        struct aip_str name = {NULL, 0}, last = {NULL, 0};
        const void *entry;
        uint32_t n = 0;
        int r = aip_buf_printf(out, "{\"%s\":[", kind->list_name);

        for (size_t i = 0; r >= 0 && (entry = kind->at(catalog, i, &name)) != NULL; i++) {
                if (after.n > 0 && name_compare(name, after) <= 0)
                        continue;
                if (n == limit || out->n >= PAGE_BYTES)
                        break;
                if (n++ > 0 && (r = aip_buf_append_char(out, ',')) < 0)
                        return r;
                r = kind->print_in_list(entry, out);
                last = name;
        }
        if (r < 0)
                return r;
        if (!entry)
                return aip_buf_append_cstr(out, "],\"next_cursor\":null}");
        if ((r = aip_buf_append_cstr(out, "],\"next_cursor\":\"")) < 0 ||
            (r = paging_print_name(last, out)) < 0)
                return r;
        return aip_buf_append_cstr(out, "\"}");
}

static void list(struct http_request *request, const struct kind *kind)
{
        _cleanup_(aip_buf_deinit) struct aip_buf after = AIP_BUF_INIT(AIP_NAME_MAX_BYTES);
        struct aip_buf body = AIP_BUF_INIT(PAGE_MAX_BYTES);
        const aip_catalog *catalog = snapshot(request);
        struct aip_str cursor = http_query(request, "cursor");
        aip_error *err = NULL;
        uint32_t limit;

        if (!catalog)
                return;
        if (paging_limit(request, LIST_DEFAULT, LIST_MAX, &limit, &err) < 0 ||
            (cursor.p && paging_parse_name(cursor, &after, &err) < 0)) {
                http_answer_error(request, err);
                return;
        }
        if (print_page(kind, catalog, aip_buf_str(&after), limit, &body) < 0)
                out_of_memory(request, &body);
        else
                http_answer_json(request, 200, &body);
}

/* ── changes ─────────────────────────────────────────────────────────────────────────────────── */

struct change_work {
        struct http_request *request;
        const struct kind *kind;
        union {
                struct aip_op op;
                struct aip_config_put config;
                struct aip_template_put prompt_template;
                struct aip_graph_put graph;
                struct aip_catalog_delete del;
        } u;
        aip_llm_config *config;
        aip_prompt_template *prompt_template;
        aip_graph_document *document;
};

static void change_free(void *work)
{
        struct change_work *w = work;

        aip_llm_config_unref(w->config);
        aip_prompt_template_unref(w->prompt_template);
        aip_graph_document_unref(w->document);
}

static struct change_work *change_new(struct http_request *request, const struct kind *kind,
                                      void (*done)(struct aip_op *op))
{
        struct change_work *w = http_work_new(request, sizeof(*w), change_free);

        if (!w)
                return NULL;
        w->request = request;
        w->kind = kind;
        w->u.op.done = done;
        w->u.op.deadline_ms = aip_now_ms(http_options(request)->loop) + CHANGE_WAIT_MS;
        return w;
}

static void answer_put(struct change_work *w, const void *entry, struct aip_str name, int is_new)
{
        struct http_request *request = w->request;

        if (is_new && strlen(w->kind->path) + 1 + name.n < sizeof(request->answer.location))
                snprintf(request->answer.location, sizeof(request->answer.location), "%s/%.*s",
                         w->kind->path, (int)name.n, name.p);
        /* A name that needs escaping would make a wrong URL: better none. */
        for (const char *c = request->answer.location; *c; c++)
                if (!strchr("/-_.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
                            *c)) {
                        request->answer.location[0] = '\0';
                        break;
                }
        answer_entry(request, w->kind, is_new ? 201 : 200, entry);
}

static void config_stored(struct aip_op *op)
{
        struct change_work *w = AIP_CONTAINER_OF(op, struct change_work, u.op);
        aip_llm_config *stored;

        if (op->err) {
                http_answer_error(w->request, AIP_TAKE(op->err));
                return;
        }
        stored = w->u.config.ret_config;
        answer_put(w, stored, aip_llm_config_fields(stored)->name, w->u.config.ret_is_new);
        aip_llm_config_unref(stored);
}

static void template_stored(struct aip_op *op)
{
        struct change_work *w = AIP_CONTAINER_OF(op, struct change_work, u.op);
        aip_prompt_template *stored;

        if (op->err) {
                http_answer_error(w->request, AIP_TAKE(op->err));
                return;
        }
        stored = w->u.prompt_template.ret_template;
        answer_put(w, stored, aip_prompt_template_fields(stored)->name,
                   w->u.prompt_template.ret_is_new);
        aip_prompt_template_unref(stored);
}

static void graph_stored(struct aip_op *op)
{
        struct change_work *w = AIP_CONTAINER_OF(op, struct change_work, u.op);
        const struct aip_graph_entry *stored = &w->u.graph.ret_entry;

        if (op->err) {
                http_answer_error(w->request, graph_error_in_body(AIP_TAKE(op->err)));
                return;
        }
        answer_put(w, stored, aip_graph_document_name(stored->document), w->u.graph.ret_is_new);
        aip_graph_document_unref((aip_graph_document *)stored->document);
}

static void deleted(struct aip_op *op)
{
        struct change_work *w = AIP_CONTAINER_OF(op, struct change_work, u.op);

        if (aip_error_code(op->err) == AIP_ENOTFOUND) {
                aip_error_free(AIP_TAKE(op->err));
                not_found(w->request, w->kind);
        } else if (op->err) {
                http_answer_error(w->request, AIP_TAKE(op->err));
        } else {
                http_answer_empty(w->request, 204);
        }
}

/* The name of what is to be deleted; what could not be a name is not there. */
static struct change_work *delete_new(struct http_request *request, const struct kind *kind)
{
        struct change_work *w;

        if (aip_name_check("name", request->segment, NULL) < 0) {
                not_found(request, kind);
                return NULL;
        }
        w = change_new(request, kind, deleted);
        if (w)
                w->u.del.name = request->segment;
        return w;
}

static void put_config(struct http_request *request, enum aip_put_mode mode)
{
        _cleanup_(aip_value_unref_p) aip_value *body = http_body_object(request);
        struct change_work *w = body ? change_new(request, &configs, config_stored) : NULL;
        aip_error *err = NULL;

        if (!w)
                return;
        if (config_read(body, request->segment, &w->config, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->u.config.config = w->config;
        w->u.config.mode = mode;
        aip_catalog_service_put_config(http_options(request)->catalog, &w->u.config);
}

static void put_template(struct http_request *request, enum aip_put_mode mode)
{
        _cleanup_(aip_value_unref_p) aip_value *body = http_body_object(request);
        struct change_work *w = body ? change_new(request, &templates, template_stored) : NULL;
        aip_error *err = NULL;

        if (!w)
                return;
        if (template_read(body, request->segment, &w->prompt_template, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->u.prompt_template.prompt_template = w->prompt_template;
        w->u.prompt_template.mode = mode;
        aip_catalog_service_put_template(http_options(request)->catalog, &w->u.prompt_template);
}

static int read_dry_run(const struct http_request *request, int *ret_is_dry, aip_error **err)
{
        struct aip_str text = http_query(request, "dry_run");

        *ret_is_dry = aip_str_eq(text, AIP_STR("true"));
        if (!text.p || *ret_is_dry || aip_str_eq(text, AIP_STR("false")))
                return 0;
        return aip_error_set(err, AIP_EINVAL, "dry_run: must be true or false");
}

/* Whether it could be put. */
static void check_graph(struct http_request *request, const aip_graph_document *document)
{
        aip_error *err = NULL;

        if (aip_catalog_service_check_graph(http_options(request)->catalog, document, &err) < 0)
                http_answer_error(request, graph_error_in_body(err));
        else
                http_answer_empty(request, 204);
}

static void put_graph(struct http_request *request, enum aip_put_mode mode)
{
        _cleanup_(aip_value_unref_p) aip_value *body = http_body_object(request);
        struct change_work *w = body ? change_new(request, &graphs, graph_stored) : NULL;
        aip_error *err = NULL;
        int is_dry = 0;

        if (!w)
                return;
        if (mode == AIP_PUT_UPSERT && read_dry_run(request, &is_dry, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        if (graph_read(body, request->segment, &w->document, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        if (is_dry) {
                check_graph(request, w->document);
                return;
        }
        w->u.graph.document = w->document;
        w->u.graph.mode = mode;
        aip_catalog_service_put_graph(http_options(request)->catalog, &w->u.graph);
}

void http_list_configs(struct http_request *request)
{
        list(request, &configs);
}

void http_get_config(struct http_request *request)
{
        get(request, &configs);
}

void http_create_config(struct http_request *request)
{
        put_config(request, AIP_PUT_CREATE);
}

void http_put_config(struct http_request *request)
{
        put_config(request, AIP_PUT_UPSERT);
}

void http_delete_config(struct http_request *request)
{
        struct change_work *w = delete_new(request, &configs);

        if (w)
                aip_catalog_service_delete_config(http_options(request)->catalog, &w->u.del);
}

void http_list_templates(struct http_request *request)
{
        list(request, &templates);
}

void http_get_template(struct http_request *request)
{
        get(request, &templates);
}

void http_create_template(struct http_request *request)
{
        put_template(request, AIP_PUT_CREATE);
}

void http_put_template(struct http_request *request)
{
        put_template(request, AIP_PUT_UPSERT);
}

void http_delete_template(struct http_request *request)
{
        struct change_work *w = delete_new(request, &templates);

        if (w)
                aip_catalog_service_delete_template(http_options(request)->catalog, &w->u.del);
}

void http_list_graphs(struct http_request *request)
{
        list(request, &graphs);
}

void http_get_graph(struct http_request *request)
{
        get(request, &graphs);
}

void http_create_graph(struct http_request *request)
{
        put_graph(request, AIP_PUT_CREATE);
}

void http_put_graph(struct http_request *request)
{
        put_graph(request, AIP_PUT_UPSERT);
}

void http_delete_graph(struct http_request *request)
{
        struct change_work *w = delete_new(request, &graphs);

        if (w)
                aip_catalog_service_delete_graph(http_options(request)->catalog, &w->u.del);
}
