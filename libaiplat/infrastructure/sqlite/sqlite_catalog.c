/*
 * Configurations, templates and graphs: load, revision, put, delete. Run by the store's threads; load reads
 * everything in one transaction. A row that breaks the domain's rules is left out and counted.
 * Times and the revision are kept by the schema's triggers.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"

#define INVALID_MAX_BYTES (64u << 10) /* of the text about rows that were left out */

/* Out of every range where the column was filled by hand: then the domain refuses the row. */
static int32_t seconds_to_ms(double seconds)
{
        return (int32_t)AIP_MAX(-1.0, AIP_MIN(seconds * 1000 + 0.5, 2e9));
}

static int config_read(sqlite3_stmt *row, aip_llm_config **ret_config, aip_error **err)
{
        struct aip_llm_config_fields f = AIP_LLM_CONFIG_FIELDS_INIT;

        f.id = sqlite3_column_int64(row, 0);
        f.name = aip_sqlite_text(row, 1);
        f.provider = aip_sqlite_text(row, 2);
        f.model_name = aip_sqlite_text(row, 3);
        f.api_key_env = aip_sqlite_text(row, 4);
        f.temperature = sqlite3_column_double(row, 5);
        f.max_tokens = sqlite3_column_int(row, 6);
        f.is_active = sqlite3_column_int(row, 7);
        f.timeout_ms = seconds_to_ms(sqlite3_column_double(row, 8));
        f.base_url = aip_sqlite_text(row, 9);
        f.created_at_us = sqlite3_column_int64(row, 10);
        f.updated_at_us = sqlite3_column_int64(row, 11);
        return aip_llm_config_new(&f, ret_config, err);
}

static int template_read(sqlite3_stmt *row, aip_prompt_template **ret_template, aip_error **err)
{
        struct aip_prompt_template_fields f = AIP_PROMPT_TEMPLATE_FIELDS_INIT;

        f.id = sqlite3_column_int64(row, 0);
        f.name = aip_sqlite_text(row, 1);
        f.content = aip_sqlite_text(row, 2);
        f.user_content = aip_sqlite_text(row, 3);
        f.description = aip_sqlite_text(row, 4);
        f.created_at_us = sqlite3_column_int64(row, 5);
        f.updated_at_us = sqlite3_column_int64(row, 6);
        return aip_prompt_template_new(&f, ret_template, err);
}

static int graph_read(sqlite3_stmt *row, struct aip_graph_entry *ret_entry, aip_error **err)
{
        struct aip_graph_entry entry = {0};
        aip_graph_document *document = NULL;
        int r = aip_graph_document_parse(aip_sqlite_text(row, 1), aip_sqlite_text(row, 2), &document,
                                     err);

        if (r < 0)
                return r;
        entry.document = document;
        entry.id = sqlite3_column_int64(row, 0);
        entry.version = sqlite3_column_int64(row, 3);
        entry.created_at_us = sqlite3_column_int64(row, 4);
        entry.updated_at_us = sqlite3_column_int64(row, 5);
        *ret_entry = entry;
        return 0;
}

/* What load gathers. Rows of the three tables are read by one loop, as untyped objects. */
struct named {
        void **items;
        size_t n, capacity;
        void (*unref)(void *item);
};

static void config_unref(void *item)
{
        aip_llm_config_unref(item);
}

static void template_unref(void *item)
{
        aip_prompt_template_unref(item);
}

static int read_config_item(sqlite3_stmt *row, void **ret_item, aip_error **err)
{
        aip_llm_config *config = NULL;
        int r = config_read(row, &config, err);

        *ret_item = config;
        return r;
}

static int read_template_item(sqlite3_stmt *row, void **ret_item, aip_error **err)
{
        aip_prompt_template *prompt_template = NULL;
        int r = template_read(row, &prompt_template, err);

        *ret_item = prompt_template;
        return r;
}

static void graph_free(void *item)
{
        struct aip_graph_entry *entry = item;

        aip_graph_document_unref((aip_graph_document *)entry->document);
        aip_free(entry);
}

static int read_graph_item(sqlite3_stmt *row, void **ret_item, aip_error **err)
{
        struct aip_graph_entry *entry = aip_calloc(1, sizeof(*entry));
        int r = entry ? graph_read(row, entry, err) : aip_error_set_nomem(err);

        if (r < 0)
                aip_free(entry);
        else
                *ret_item = entry;
        return r;
}

static void named_deinit(struct named *named)
{
        for (size_t i = 0; i < named->n; i++)
                named->unref(named->items[i]);
        aip_free(named->items);
}

static int named_reserve(struct named *named)
{
        void **grown;

        if (named->n < named->capacity)
                return 0;
        grown = aip_realloc_array(named->items, 2 * named->capacity + 16, sizeof(void *));
        if (!grown)
                return AIP_ENOMEM;
        named->items = grown;
        named->capacity = 2 * named->capacity + 16;
        return 0;
}

/* Count a row that breaks the rules, and say why, as far as there is room. `reason` is consumed. */
static void note_invalid(struct sqlite_answer *answer, const char *kind, sqlite3_stmt *row,
                         aip_error *reason)
{
        size_t n_before = answer->invalid.n;

        answer->number++;
        if (aip_buf_printf(&answer->invalid, "%s %.*s: %s\n", kind,
                           AIP_STR_ARG(aip_sqlite_text(row, 1)), aip_error_message(reason)) < 0)
                answer->invalid.n = n_before;
        aip_error_free(reason);
}

static int load_named(struct sqlite_db *db, enum sqlite_sql sql, const char *kind,
                      int (*read)(sqlite3_stmt *row, void **ret_item, aip_error **err),
                      struct named *named, struct sqlite_answer *answer, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, sql, &s, err);

        if (r < 0)
                return r;
        while ((r = aip_sqlite_step(db, s, err)) > 0) {
                aip_error *reason = NULL;
                if (named_reserve(named) < 0) {
                        r = aip_error_set_nomem(err);
                        break;
                }
                r = read(s, &named->items[named->n], &reason);
                if (r == AIP_ENOMEM) {
                        aip_error_propagate(err, reason);
                        break;
                }
                if (r < 0)
                        note_invalid(answer, kind, s, reason);
                else
                        named->n++;
        }
        sqlite3_reset(s);
        return r;
}

struct loaded {
        int64_t revision;
        struct named configs, templates, graphs;
};

static int make_catalog(const struct loaded *loaded, aip_catalog **ret_catalog, aip_error **err)
{
        struct aip_graph_entry *graphs = aip_calloc(loaded->graphs.n + 1, sizeof(*graphs));
        int r;

        if (!graphs)
                return aip_error_set_nomem(err);
        for (size_t i = 0; i < loaded->graphs.n; i++)
                graphs[i] = *(const struct aip_graph_entry *)loaded->graphs.items[i];
        r = aip_catalog_new(loaded->revision,
                            (const aip_llm_config *const *)loaded->configs.items,
                            loaded->configs.n,
                            (const aip_prompt_template *const *)loaded->templates.items,
                            loaded->templates.n, graphs, loaded->graphs.n, ret_catalog, err);
        aip_free(graphs);
        return r;
}

static int read_catalog(struct sqlite_db *db, struct sqlite_answer *answer, struct loaded *loaded,
                        aip_error **err)
{
        int r = aip_sqlite_read_int(db, SQL_REVISION, &loaded->revision, err);

        if (r >= 0)
                r = load_named(db, SQL_CONFIGS, "config", read_config_item, &loaded->configs,
                               answer, err);
        if (r >= 0)
                r = load_named(db, SQL_TEMPLATES, "template", read_template_item,
                               &loaded->templates, answer, err);
        if (r >= 0)
                r = load_named(db, SQL_GRAPHS, "graph", read_graph_item, &loaded->graphs, answer,
                               err);
        return r < 0 ? r : make_catalog(loaded, &answer->catalog, err);
}

static int run_load(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct loaded loaded = {.configs = {.unref = config_unref},
                                .templates = {.unref = template_unref},
                                .graphs = {.unref = graph_free}};
        int r = aip_sqlite_run(db, SQL_BEGIN_READ, err);

        if (r < 0)
                return r;
        aip_buf_init(&rq->answer.invalid, INVALID_MAX_BYTES);
        r = read_catalog(db, &rq->answer, &loaded, err);
        aip_sqlite_run(db, SQL_COMMIT, NULL);
        named_deinit(&loaded.configs);
        named_deinit(&loaded.templates);
        named_deinit(&loaded.graphs);
        return r;
}

static void deliver_load(struct sqlite_request *rq)
{
        struct aip_catalog_load *load = AIP_CONTAINER_OF(rq->op, struct aip_catalog_load, op);

        load->ret_catalog = AIP_TAKE(rq->answer.catalog);
        load->ret_n_invalid = (size_t)rq->answer.number;
        /* The caller's buffer may be smaller than what there is to say: the number tells. */
        if (aip_buf_append(&load->ret_invalid, aip_buf_str(&rq->answer.invalid)) < 0)
                aip_buf_clear(&load->ret_invalid);
}

const struct sqlite_call aip_sqlite_load = {0, run_load, deliver_load};

static int run_revision(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        int r = aip_sqlite_read_int(db, SQL_REVISION, &rq->answer.number, err);

        return r < 0 ? r : 0;
}

static void deliver_revision(struct sqlite_request *rq)
{
        *rq->ret_revision = rq->answer.number;
}

const struct sqlite_call aip_sqlite_revision = {0, run_revision, deliver_revision};

/* Prepare a statement whose first parameter is a name. */
static int prepare_named(struct sqlite_db *db, enum sqlite_sql sql, struct aip_str name,
                         sqlite3_stmt **ret_statement, aip_error **err)
{
        int r = aip_sqlite_prepare(db, sql, ret_statement, err);

        if (r >= 0)
                aip_sqlite_bind_text(*ret_statement, 1, name);
        return r;
}

/* May this put go on? 1: as an insertion; 0: as an update. `fetch` finds the row by name. */
static int choose_put(struct sqlite_db *db, enum sqlite_sql fetch, enum aip_put_mode mode,
                      const char *what, struct aip_str name, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = prepare_named(db, fetch, name, &s, err), is_there;

        if (r < 0)
                return r;
        is_there = aip_sqlite_step(db, s, err);
        sqlite3_reset(s);
        if (is_there < 0)
                return is_there;
        if (mode == AIP_PUT_CREATE && is_there)
                return aip_error_set(err, AIP_ECONFLICT, "%s \"%.*s\" exists already", what,
                                     AIP_STR_ARG(name));
        if (mode == AIP_PUT_REPLACE && !is_there)
                return aip_error_set(err, AIP_ENOTFOUND, "there is no %s \"%.*s\"", what,
                                     AIP_STR_ARG(name));
        return !is_there;
}

static struct aip_str none_if_empty(struct aip_str text)
{
        return aip_str_is_empty(text) ? aip_str_make(NULL, 0) : text;
}

/* Views of empty strings may be NULL; columns that must not be NULL want "". */
static struct aip_str never_null(struct aip_str text)
{
        return aip_str_is_empty(text) ? AIP_STR("") : text;
}

static int write_config(struct sqlite_db *db, enum sqlite_sql sql,
                        const struct aip_llm_config_fields *f, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = prepare_named(db, sql, f->name, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_text(s, 2, f->provider);
        aip_sqlite_bind_text(s, 3, f->model_name);
        aip_sqlite_bind_text(s, 4, never_null(f->api_key_env));
        sqlite3_bind_double(s, 5, f->temperature);
        sqlite3_bind_int(s, 6, f->max_tokens);
        sqlite3_bind_int(s, 7, f->is_active != 0);
        sqlite3_bind_double(s, 8, f->timeout_ms / 1000.0);
        aip_sqlite_bind_text(s, 9, none_if_empty(f->base_url));
        return aip_sqlite_step(db, s, err);
}

static int run_put_config(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_config_put *put = AIP_CONTAINER_OF(rq->op, struct aip_config_put, op);
        const struct aip_llm_config_fields *f = aip_llm_config_fields(put->config);
        sqlite3_stmt *s = NULL;
        int r = choose_put(db, SQL_CONFIG_FETCH, put->mode, "configuration", f->name, err);

        if (r < 0)
                return r;
        rq->answer.flag = r;
        r = write_config(db, r ? SQL_CONFIG_INSERT : SQL_CONFIG_UPDATE, f, err);
        if (r >= 0)
                r = prepare_named(db, SQL_CONFIG_FETCH, f->name, &s, err);
        if (r >= 0)
                r = aip_sqlite_step(db, s, err);
        if (r > 0) {
                r = config_read(s, &rq->answer.config, err);
                sqlite3_reset(s);
        }
        db->hints.is_catalog_changed = 1;
        return r;
}

static void deliver_put_config(struct sqlite_request *rq)
{
        struct aip_config_put *put = AIP_CONTAINER_OF(rq->op, struct aip_config_put, op);

        put->ret_config = AIP_TAKE(rq->answer.config);
        put->ret_is_new = rq->answer.flag;
}

const struct sqlite_call aip_sqlite_put_config = {1, run_put_config, deliver_put_config};

static int write_template(struct sqlite_db *db, enum sqlite_sql sql,
                          const struct aip_prompt_template_fields *f, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = prepare_named(db, sql, f->name, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_text(s, 2, f->content);
        aip_sqlite_bind_text(s, 3, none_if_empty(f->user_content));
        aip_sqlite_bind_text(s, 4, none_if_empty(f->description));
        return aip_sqlite_step(db, s, err);
}

static int run_put_template(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_template_put *put = AIP_CONTAINER_OF(rq->op, struct aip_template_put, op);
        const struct aip_prompt_template_fields *f =
                aip_prompt_template_fields(put->prompt_template);
        sqlite3_stmt *s = NULL;
        int r = choose_put(db, SQL_TEMPLATE_FETCH, put->mode, "template", f->name, err);

        if (r < 0)
                return r;
        rq->answer.flag = r;
        r = write_template(db, r ? SQL_TEMPLATE_INSERT : SQL_TEMPLATE_UPDATE, f, err);
        if (r >= 0)
                r = prepare_named(db, SQL_TEMPLATE_FETCH, f->name, &s, err);
        if (r >= 0)
                r = aip_sqlite_step(db, s, err);
        if (r > 0) {
                r = template_read(s, &rq->answer.prompt_template, err);
                sqlite3_reset(s);
        }
        db->hints.is_catalog_changed = 1;
        return r;
}

static void deliver_put_template(struct sqlite_request *rq)
{
        struct aip_template_put *put = AIP_CONTAINER_OF(rq->op, struct aip_template_put, op);

        put->ret_template = AIP_TAKE(rq->answer.prompt_template);
        put->ret_is_new = rq->answer.flag;
}

const struct sqlite_call aip_sqlite_put_template = {1, run_put_template, deliver_put_template};

static int write_graph(struct sqlite_db *db, enum sqlite_sql sql,
                       const aip_graph_document *document, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text =
                AIP_BUF_INIT(AIP_GRAPH_DOCUMENT_MAX_BYTES + 1);
        sqlite3_stmt *s = NULL;
        int r = aip_graph_text_print(document, &text, err);

        if (r >= 0)
                r = prepare_named(db, sql, aip_graph_document_name(document), &s, err);
        if (r < 0)
                return r;
        aip_sqlite_bind_text(s, 2, aip_buf_str(&text));
        return aip_sqlite_step(db, s, err);
}

/* The document is read on this thread only: the caller waits for the operation's end. */
static int run_put_graph(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_graph_put *put = AIP_CONTAINER_OF(rq->op, struct aip_graph_put, op);
        struct aip_str name = aip_graph_document_name(put->document);
        sqlite3_stmt *s = NULL;
        int r = choose_put(db, SQL_GRAPH_FETCH, put->mode, "graph", name, err);

        if (r < 0)
                return r;
        rq->answer.flag = r;
        r = write_graph(db, r ? SQL_GRAPH_INSERT : SQL_GRAPH_UPDATE, put->document, err);
        if (r >= 0)
                r = prepare_named(db, SQL_GRAPH_FETCH, name, &s, err);
        if (r >= 0)
                r = aip_sqlite_step(db, s, err);
        if (r > 0) {
                r = graph_read(s, &rq->answer.graph, err);
                sqlite3_reset(s);
        }
        db->hints.is_catalog_changed = 1;
        return r;
}

static void deliver_put_graph(struct sqlite_request *rq)
{
        struct aip_graph_put *put = AIP_CONTAINER_OF(rq->op, struct aip_graph_put, op);

        put->ret_entry = rq->answer.graph;
        put->ret_is_new = rq->answer.flag;
        rq->answer.graph.document = NULL;
}

const struct sqlite_call aip_sqlite_put_graph = {1, run_put_graph, deliver_put_graph};

static int delete_named(struct sqlite_db *db, struct sqlite_request *rq, enum sqlite_sql sql,
                        const char *what, aip_error **err)
{
        const struct aip_catalog_delete *del =
                AIP_CONTAINER_OF(rq->op, struct aip_catalog_delete, op);
        sqlite3_stmt *s = NULL;
        int r = prepare_named(db, sql, del->name, &s, err);

        if (r >= 0)
                r = aip_sqlite_step(db, s, err);
        if (r < 0)
                return r;
        if (sqlite3_changes(db->handle) == 0)
                return aip_error_set(err, AIP_ENOTFOUND, "there is no %s \"%.*s\"", what,
                                     AIP_STR_ARG(del->name));
        db->hints.is_catalog_changed = 1;
        return 0;
}

static int run_delete_config(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        return delete_named(db, rq, SQL_CONFIG_DELETE, "configuration", err);
}

const struct sqlite_call aip_sqlite_delete_config = {1, run_delete_config, NULL};

static int run_delete_template(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        return delete_named(db, rq, SQL_TEMPLATE_DELETE, "template", err);
}

const struct sqlite_call aip_sqlite_delete_template = {1, run_delete_template, NULL};

static int run_delete_graph(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        return delete_named(db, rq, SQL_GRAPH_DELETE, "graph", err);
}

const struct sqlite_call aip_sqlite_delete_graph = {1, run_delete_graph, NULL};
