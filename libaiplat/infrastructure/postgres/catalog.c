/* Configurations, templates and graphs. Triggers of the database raise the revision and notify, so that a
 * change made by hand is told like one made here. */
#include "pg.h"

/* One layout for the rows of all tables and of the revision, so that one statement, and hence one
 * snapshot, reads all. */
enum {
        KIND,
        ID,
        NAME,
        TEXT_1,
        TEXT_2,
        TEXT_3,
        TEXT_4,
        TEMPERATURE,
        MAX_TOKENS,
        TIMEOUT_MS,
        IS_ACTIVE,
        CREATED_AT,
        UPDATED_AT,
        IS_NEW,
        VERSION = TIMEOUT_MS /* of a graph */
};

#define CONFIG_COLUMNS                                                                             \
        "'c'::text, id::bigint, name::text, provider::text, model_name::text, api_key_env::text, " \
        "base_url::text, temperature, max_tokens, round(timeout_seconds * 1000)::bigint, "         \
        "is_active, created_at, updated_at"
#define TEMPLATE_COLUMNS                                                                           \
        "'t'::text, id::bigint, name::text, content, user_content, description, NULL::text, "      \
        "NULL::double precision, NULL::integer, NULL::bigint, NULL::boolean, created_at, "         \
        "updated_at"

/* Not text: it is kept as json, whose members stay in their order. */
#define GRAPH_COLUMNS                                                                              \
        "'g'::text, id::bigint, name::text, document::text, NULL::text, NULL::text, NULL::text, "  \
        "NULL::double precision, NULL::integer, version::bigint, NULL::boolean, created_at, "      \
        "updated_at"

static const struct pg_statement load_statement = {
        PG_STATEMENT_LOAD,
        "SELECT 'r'::text, revision, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, "
        "NULL::double precision, NULL::integer, NULL::bigint, NULL::boolean, NULL::timestamptz, "
        "NULL::timestamptz FROM catalog_revision "
        "UNION ALL SELECT " CONFIG_COLUMNS " FROM llm_configs "
        "UNION ALL SELECT " TEMPLATE_COLUMNS " FROM prompt_templates "
        "UNION ALL SELECT " GRAPH_COLUMNS " FROM graphs",
};

static int get_config(const PGresult *result, int row, aip_llm_config **ret_config, aip_error **err)
{
        struct aip_llm_config_fields f = AIP_LLM_CONFIG_FIELDS_INIT;
        f.id = pg_get_int8(result, row, ID);
        f.name = pg_get_text(result, row, NAME);
        f.provider = pg_get_text(result, row, TEXT_1);
        f.model_name = pg_get_text(result, row, TEXT_2);
        f.api_key_env = pg_get_text(result, row, TEXT_3);
        f.base_url = pg_get_text(result, row, TEXT_4);
        f.temperature = pg_get_float8(result, row, TEMPERATURE);
        f.max_tokens = pg_get_int4(result, row, MAX_TOKENS);
        f.timeout_ms = (int32_t)AIP_MIN(pg_get_int8(result, row, TIMEOUT_MS), (int64_t)INT32_MAX);
        f.is_active = pg_get_bool(result, row, IS_ACTIVE);
        f.created_at_us = pg_get_time(result, row, CREATED_AT);
        f.updated_at_us = pg_get_time(result, row, UPDATED_AT);
        return aip_llm_config_new(&f, ret_config, err);
}

static int get_template(const PGresult *result, int row, aip_prompt_template **ret_template,
                        aip_error **err)
{
        struct aip_prompt_template_fields f = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        f.id = pg_get_int8(result, row, ID);
        f.name = pg_get_text(result, row, NAME);
        f.content = pg_get_text(result, row, TEXT_1);
        f.user_content = pg_get_text(result, row, TEXT_2);
        f.description = pg_get_text(result, row, TEXT_3);
        f.created_at_us = pg_get_time(result, row, CREATED_AT);
        f.updated_at_us = pg_get_time(result, row, UPDATED_AT);
        return aip_prompt_template_new(&f, ret_template, err);
}

static int get_graph(const PGresult *result, int row, struct aip_graph_entry *ret_entry,
                     aip_error **err)
{
        struct aip_graph_entry entry = {0};
        aip_graph_document *document = NULL;
        int r = aip_graph_document_parse(pg_get_text(result, row, NAME),
                                     pg_get_text(result, row, TEXT_1), &document, err);
        if (r < 0)
                return r;
        entry.document = document;
        entry.id = pg_get_int8(result, row, ID);
        entry.version = pg_get_int8(result, row, VERSION);
        entry.created_at_us = pg_get_time(result, row, CREATED_AT);
        entry.updated_at_us = pg_get_time(result, row, UPDATED_AT);
        *ret_entry = entry;
        return 0;
}

/* ---- load ---- */

struct loaded {
        int64_t revision;
        aip_llm_config **configs;
        aip_prompt_template **templates;
        struct aip_graph_entry *graphs;
        size_t n_configs, n_templates, n_graphs, n_invalid;
        struct aip_buf *invalid; /* the caller's */
};

static void loaded_deinit(struct loaded *loaded)
{
        for (size_t i = 0; i < loaded->n_configs; i++)
                aip_llm_config_unref(loaded->configs[i]);
        for (size_t i = 0; i < loaded->n_templates; i++)
                aip_prompt_template_unref(loaded->templates[i]);
        for (size_t i = 0; i < loaded->n_graphs; i++)
                aip_graph_document_unref((aip_graph_document *)loaded->graphs[i].document);
        free(loaded->configs);
        free(loaded->templates);
        free(loaded->graphs);
}

/* The count is exact even when the caller's buffer is too small for every line. */
static void note_invalid(struct loaded *loaded, const char *what, struct aip_str name,
                         const aip_error *why)
{
        loaded->n_invalid++;
        if (loaded->invalid->max_bytes > 0 &&
            aip_buf_printf(loaded->invalid, "%s %.*s: %s\n", what, AIP_STR_ARG(name),
                           aip_error_message(why)) < 0)
                return;
}

static const char *kind_name(char kind)
{
        return kind == 'c' ? "configuration" : kind == 't' ? "template" : "graph";
}

static int load_row(struct loaded *loaded, const PGresult *result, int row, aip_error **err)
{
        struct aip_str kind = pg_get_text(result, row, KIND);
        aip_error *error = NULL;
        int r = 0;
        if (kind.n != 1 || *kind.p == 'r') {
                loaded->revision = pg_get_int8(result, row, ID);
        } else if (*kind.p == 'c') {
                r = get_config(result, row, &loaded->configs[loaded->n_configs], &error);
                loaded->n_configs += r == 0;
        } else if (*kind.p == 't') {
                r = get_template(result, row, &loaded->templates[loaded->n_templates], &error);
                loaded->n_templates += r == 0;
        } else {
                r = get_graph(result, row, &loaded->graphs[loaded->n_graphs], &error);
                loaded->n_graphs += r == 0;
        }
        if (r == AIP_ENOMEM)
                return aip_error_propagate(err, error);
        if (r < 0)
                note_invalid(loaded, kind_name(*kind.p), pg_get_text(result, row, NAME), error);
        aip_error_free(error);
        return 0;
}

static int read_catalog(struct aip_catalog_load *load, const PGresult *result, aip_error **err)
{
        _cleanup_(loaded_deinit) struct loaded loaded = {.invalid = &load->ret_invalid};
        size_t max = (size_t)PQntuples(result) + 1;
        loaded.configs = calloc(max, sizeof(aip_llm_config *));
        loaded.templates = calloc(max, sizeof(aip_prompt_template *));
        loaded.graphs = calloc(max, sizeof(struct aip_graph_entry));
        if (!loaded.configs || !loaded.templates || !loaded.graphs)
                return aip_error_set_nomem(err);
        for (int row = 0; row < PQntuples(result); row++) {
                int r = load_row(&loaded, result, row, err);
                if (r < 0)
                        return r;
        }
        int r = aip_catalog_new(loaded.revision, (const aip_llm_config *const *)loaded.configs,
                                loaded.n_configs,
                                (const aip_prompt_template *const *)loaded.templates,
                                loaded.n_templates, loaded.graphs, loaded.n_graphs,
                                &load->ret_catalog, err);
        if (r == 0)
                load->ret_n_invalid = loaded.n_invalid;
        return r;
}

static int send_load(struct pg_lane *lane, struct pg_batch *batch)
{
        return pg_lane_send(lane, batch, &load_statement);
}

static void load_answered(struct pg_store *store, struct pg_batch *batch)
{
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (!batch->slots[i])
                        continue;
                aip_error *error = NULL;
                read_catalog(AIP_CONTAINER_OF(batch->slots[i], struct aip_catalog_load, op),
                             batch->results[0], &error);
                pg_batch_finish(store, batch, i, error);
        }
}

const struct pg_kind pg_load_kind = {
        .lane = PG_READ,
        .max_rows = 16,
        .is_repeatable = 1,
        .send = send_load,
        .answered = load_answered,
};

/* ---- revision ---- */

static const struct pg_statement revision_statement = {
        PG_STATEMENT_REVISION,
        "SELECT revision FROM catalog_revision",
};

static int send_revision(struct pg_lane *lane, struct pg_batch *batch)
{
        return pg_lane_send(lane, batch, &revision_statement);
}

static void revision_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (PQntuples(batch->results[0]) != 1)
                return;
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (!batch->slots[i])
                        continue;
                struct pg_request *request =
                        AIP_CONTAINER_OF(batch->slots[i], struct pg_request, op);
                *request->ret_revision = pg_get_int8(batch->results[0], 0, 0);
                pg_batch_finish(store, batch, i, NULL);
        }
}

const struct pg_kind pg_revision_kind = {
        .lane = PG_READ,
        .max_rows = AIP_STORE_BATCH_MAX,
        .is_repeatable = 1,
        .send = send_revision,
        .answered = revision_answered,
};

/* ---- put ---- */

#define CONFIG_INSERT                                                                              \
        "INSERT INTO llm_configs (name, provider, model_name, api_key_env, base_url, "             \
        "temperature, max_tokens, timeout_seconds, is_active) VALUES ($1::text, $2::text, "        \
        "$3::text, $4::text, $5::text, $6::double precision, $7::integer, "                        \
        "$8::double precision, $9::boolean) ON CONFLICT (name) "
#define CONFIG_SET                                                                                 \
        "SET provider = $2::text, model_name = $3::text, api_key_env = $4::text, "                 \
        "base_url = $5::text, temperature = $6::double precision, max_tokens = $7::integer, "      \
        "timeout_seconds = $8::double precision, is_active = $9::boolean "
#define TEMPLATE_INSERT                                                                            \
        "INSERT INTO prompt_templates (name, content, user_content, description) "                 \
        "VALUES ($1::text, $2::text, $3::text, $4::text) ON CONFLICT (name) "
#define TEMPLATE_SET "SET content = $2::text, user_content = $3::text, description = $4::text "

#define GRAPH_INSERT                                                                               \
        "INSERT INTO graphs (name, document) VALUES ($1::text, $2::text::json) "                   \
        "ON CONFLICT (name) "
#define GRAPH_SET "SET document = $2::text::json "

/* By enum aip_put_mode. A row of an upsert that was not there has no xmax. */
static const struct pg_statement config_statements[] = {
        {PG_STATEMENT_CONFIG_CREATE, CONFIG_INSERT "DO NOTHING RETURNING " CONFIG_COLUMNS ", true"},
        {PG_STATEMENT_CONFIG_REPLACE, "UPDATE llm_configs " CONFIG_SET
                                      "WHERE name = $1::text RETURNING " CONFIG_COLUMNS ", false"},
        {PG_STATEMENT_CONFIG_UPSERT,
         CONFIG_INSERT "DO UPDATE " CONFIG_SET "RETURNING " CONFIG_COLUMNS ", xmax = 0"},
};
static const struct pg_statement template_statements[] = {
        {PG_STATEMENT_TEMPLATE_CREATE,
         TEMPLATE_INSERT "DO NOTHING RETURNING " TEMPLATE_COLUMNS ", true"},
        {PG_STATEMENT_TEMPLATE_REPLACE,
         "UPDATE prompt_templates " TEMPLATE_SET "WHERE name = $1::text RETURNING " TEMPLATE_COLUMNS
         ", false"},
        {PG_STATEMENT_TEMPLATE_UPSERT,
         TEMPLATE_INSERT "DO UPDATE " TEMPLATE_SET "RETURNING " TEMPLATE_COLUMNS ", xmax = 0"},
};

static const struct pg_statement graph_statements[] = {
        {PG_STATEMENT_GRAPH_CREATE, GRAPH_INSERT "DO NOTHING RETURNING " GRAPH_COLUMNS ", true"},
        {PG_STATEMENT_GRAPH_REPLACE,
         "UPDATE graphs " GRAPH_SET "WHERE name = $1::text RETURNING " GRAPH_COLUMNS ", false"},
        {PG_STATEMENT_GRAPH_UPSERT,
         GRAPH_INSERT "DO UPDATE " GRAPH_SET "RETURNING " GRAPH_COLUMNS ", xmax = 0"},
};

static struct aip_config_put *config_put_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_config_put, op);
}

static struct aip_template_put *template_put_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_template_put, op);
}

static struct aip_graph_put *graph_put_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_graph_put, op);
}

static void put_text(struct pg_params *p, struct aip_str s)
{
        pg_scalar(p);
        pg_put_text(p, s);
}

static void put_text_unless_empty(struct pg_params *p, struct aip_str s)
{
        pg_scalar(p);
        pg_put_text_or_null(p, s.n ? s : aip_str_make(NULL, 0));
}

static int send_put_config(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_config_put *put = config_put_of(batch);
        const struct aip_llm_config_fields *f = aip_llm_config_fields(put->config);
        put_text(p, f->name);
        put_text(p, f->provider);
        put_text(p, f->model_name);
        put_text(p, f->api_key_env);
        put_text_unless_empty(p, f->base_url);
        pg_scalar(p);
        pg_put_float8(p, f->temperature);
        pg_scalar(p);
        pg_put_int4(p, f->max_tokens);
        pg_scalar(p);
        pg_put_float8(p, (double)f->timeout_ms / 1000.0);
        pg_scalar(p);
        pg_put_bool(p, f->is_active);
        return pg_lane_send(lane, batch, &config_statements[put->mode]);
}

static int send_put_template(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_template_put *put = template_put_of(batch);
        const struct aip_prompt_template_fields *f =
                aip_prompt_template_fields(put->prompt_template);
        put_text(p, f->name);
        put_text(p, f->content);
        put_text_unless_empty(p, f->user_content);
        put_text_unless_empty(p, f->description);
        return pg_lane_send(lane, batch, &template_statements[put->mode]);
}

static int send_put_graph(struct pg_lane *lane, struct pg_batch *batch)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text =
                AIP_BUF_INIT(AIP_GRAPH_DOCUMENT_MAX_BYTES + 1);
        const struct aip_graph_put *put = graph_put_of(batch);
        int r = aip_graph_text_print(put->document, &text, NULL);
        if (r < 0)
                return r;
        put_text(&lane->params, aip_graph_document_name(put->document));
        put_text(&lane->params, aip_buf_str(&text));
        return pg_lane_send(lane, batch, &graph_statements[put->mode]);
}

/* No row came back: the mode did not allow it. */
static int refuse(enum aip_put_mode mode, const char *what, struct aip_str name, aip_error **err)
{
        if (mode == AIP_PUT_CREATE)
                return aip_error_set(err, AIP_ECONFLICT, "%s \"%.*s\" exists already", what,
                                     AIP_STR_ARG(name));
        return aip_error_set(err, AIP_ENOTFOUND, "there is no %s \"%.*s\"", what,
                             AIP_STR_ARG(name));
}

static void put_config_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0])
                return;
        struct aip_config_put *put = config_put_of(batch);
        const PGresult *result = batch->results[0];
        aip_error *error = NULL;
        if (PQntuples(result) == 0)
                refuse(put->mode, "configuration", aip_llm_config_fields(put->config)->name,
                       &error);
        else if (get_config(result, 0, &put->ret_config, &error) == 0)
                put->ret_is_new = pg_get_bool(result, 0, IS_NEW);
        pg_batch_finish(store, batch, 0, error);
}

static void put_template_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0])
                return;
        struct aip_template_put *put = template_put_of(batch);
        const PGresult *result = batch->results[0];
        aip_error *error = NULL;
        if (PQntuples(result) == 0)
                refuse(put->mode, "template",
                       aip_prompt_template_fields(put->prompt_template)->name, &error);
        else if (get_template(result, 0, &put->ret_template, &error) == 0)
                put->ret_is_new = pg_get_bool(result, 0, IS_NEW);
        pg_batch_finish(store, batch, 0, error);
}

static void put_graph_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0])
                return;
        struct aip_graph_put *put = graph_put_of(batch);
        const PGresult *result = batch->results[0];
        aip_error *error = NULL;
        if (PQntuples(result) == 0)
                refuse(put->mode, "graph", aip_graph_document_name(put->document), &error);
        else if (get_graph(result, 0, &put->ret_entry, &error) == 0)
                put->ret_is_new = pg_get_bool(result, 0, IS_NEW);
        pg_batch_finish(store, batch, 0, error);
}

const struct pg_kind pg_put_config_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .send = send_put_config,
        .answered = put_config_answered,
};

const struct pg_kind pg_put_template_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .send = send_put_template,
        .answered = put_template_answered,
};

const struct pg_kind pg_put_graph_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .send = send_put_graph,
        .answered = put_graph_answered,
};

/* ---- delete ---- */

static const struct pg_statement config_delete = {
        PG_STATEMENT_CONFIG_DELETE,
        "DELETE FROM llm_configs WHERE name = $1::text RETURNING 1",
};
static const struct pg_statement template_delete = {
        PG_STATEMENT_TEMPLATE_DELETE,
        "DELETE FROM prompt_templates WHERE name = $1::text RETURNING 1",
};
static const struct pg_statement graph_delete = {
        PG_STATEMENT_GRAPH_DELETE,
        "DELETE FROM graphs WHERE name = $1::text RETURNING 1",
};

static struct aip_catalog_delete *delete_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_catalog_delete, op);
}

static int send_delete(struct pg_lane *lane, struct pg_batch *batch)
{
        put_text(&lane->params, delete_of(batch)->name);
        return pg_lane_send(lane, batch,
                            batch->kind == PG_DELETE_CONFIG     ? &config_delete
                            : batch->kind == PG_DELETE_TEMPLATE ? &template_delete
                                                                : &graph_delete);
}

static void delete_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0])
                return;
        char kind = batch->kind == PG_DELETE_CONFIG     ? 'c'
                    : batch->kind == PG_DELETE_TEMPLATE ? 't'
                                                        : 'g';
        aip_error *error = NULL;
        if (PQntuples(batch->results[0]) == 0)
                refuse(AIP_PUT_REPLACE, kind_name(kind), delete_of(batch)->name, &error);
        pg_batch_finish(store, batch, 0, error);
}

const struct pg_kind pg_delete_config_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .send = send_delete,
        .answered = delete_answered,
};

const struct pg_kind pg_delete_template_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .send = send_delete,
        .answered = delete_answered,
};

const struct pg_kind pg_delete_graph_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .send = send_delete,
        .answered = delete_answered,
};
