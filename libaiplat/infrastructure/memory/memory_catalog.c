/*
 * Configurations, templates and graphs of the in-memory store, with the rows that every store ships. Called by
 * memory_store.c. Must never change an object that it gave out: a change is a new object.
 */
#include "macros.h"
#include "mem.h"
#include "memory/memory_store.h"

typedef struct aip_str name_of(const void *item);

static struct aip_str config_name(const void *item)
{
        return aip_llm_config_fields(item)->name;
}

static struct aip_str template_name(const void *item)
{
        return aip_prompt_template_fields(item)->name;
}

static struct aip_str graph_name(const void *item)
{
        return aip_graph_document_name(((const struct aip_graph_entry *)item)->document);
}

static int compare_names(struct aip_str a, struct aip_str b)
{
        int r = memcmp(a.p, b.p, AIP_MIN(a.n, b.n));

        return r != 0 ? r : (a.n > b.n) - (a.n < b.n);
}

/* Where `name` is (*ret_is_there), or belongs. */
static size_t find_name(const struct memory_names *names, name_of *name_of_item,
                        struct aip_str name, int *ret_is_there)
{
        size_t at = 0;
        int r = -1;

        while (at < names->n && (r = compare_names(name_of_item(names->items[at]), name)) < 0)
                at++;
        *ret_is_there = at < names->n && r == 0;
        return at;
}

static int reserve_name(struct memory_names *names, aip_error **err)
{
        size_t capacity = AIP_MAX(2 * names->capacity, (size_t)16);
        void **grown;

        if (names->n < names->capacity)
                return 0;
        grown = aip_realloc_array(names->items, capacity, sizeof(void *));
        if (!grown)
                return aip_error_set_nomem(err);
        names->items = grown;
        names->capacity = capacity;
        return 0;
}

static void insert_name(struct memory_names *names, size_t at, void *item)
{
        memmove(names->items + at + 1, names->items + at, (names->n - at) * sizeof(void *));
        names->items[at] = item;
        names->n++;
}

static void *remove_name(struct memory_names *names, size_t at)
{
        void *item = names->items[at];

        memmove(names->items + at, names->items + at + 1, (names->n - at - 1) * sizeof(void *));
        names->n--;
        return item;
}

static void catalog_changed(struct memory_store *store)
{
        store->catalog_revision++;
        store->hints.is_catalog_changed = 1;
}

static int check_mode(enum aip_put_mode mode, int is_there, const char *what, struct aip_str name,
                      aip_error **err)
{
        if (mode == AIP_PUT_CREATE && is_there)
                return aip_error_set(err, AIP_ECONFLICT, "%s \"%.*s\" exists already", what,
                                     AIP_STR_ARG(name));
        if (mode == AIP_PUT_REPLACE && !is_there)
                return aip_error_set(err, AIP_ENOTFOUND, "there is no %s \"%.*s\"", what,
                                     AIP_STR_ARG(name));
        return 0;
}

static int run_load(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_catalog_load *load = AIP_CONTAINER_OF(op, struct aip_catalog_load, op);
        struct aip_graph_entry *graphs = aip_calloc(store->graphs.n + 1, sizeof(*graphs));
        int r;

        if (!graphs)
                return aip_error_set_nomem(err);
        for (size_t i = 0; i < store->graphs.n; i++)
                graphs[i] = *(const struct aip_graph_entry *)store->graphs.items[i];
        r = aip_catalog_new(
                store->catalog_revision, (const aip_llm_config *const *)store->configs.items,
                store->configs.n, (const aip_prompt_template *const *)store->templates.items,
                store->templates.n, graphs, store->graphs.n, &load->ret_catalog, err);
        aip_free(graphs);
        if (r >= 0)
                load->ret_n_invalid = 0;
        return r;
}

const struct memory_call aip_memory_load = {run_load};

/* `config` as the store keeps it: with id and times, in place of `old` (NULL: new). */
static int stored_config(struct memory_store *store, const aip_llm_config *config,
                         const aip_llm_config *old, aip_llm_config **ret_config, aip_error **err)
{
        struct aip_llm_config_fields fields = *aip_llm_config_fields(config);

        fields.updated_at_us = aip_wall_us(store->loop);
        fields.created_at_us = fields.updated_at_us;
        fields.id = store->last_config_id + 1;
        if (old) {
                fields.id = aip_llm_config_fields(old)->id;
                fields.created_at_us = aip_llm_config_fields(old)->created_at_us;
        }
        return aip_llm_config_new(&fields, ret_config, err);
}

static int put_config(struct memory_store *store, const aip_llm_config *config,
                      enum aip_put_mode mode, aip_llm_config **ret_config, int *ret_is_new,
                      aip_error **err)
{
        struct aip_str name = aip_llm_config_fields(config)->name;
        int is_there;
        size_t at = find_name(&store->configs, config_name, name, &is_there);
        aip_llm_config *old = is_there ? store->configs.items[at] : NULL;
        aip_llm_config *stored = NULL;
        int r;

        r = check_mode(mode, is_there, "configuration", name, err);
        if (r < 0)
                return r;
        r = reserve_name(&store->configs, err);
        if (r < 0)
                return r;
        r = stored_config(store, config, old, &stored, err);
        if (r < 0)
                return r;
        if (is_there) {
                store->configs.items[at] = stored;
                aip_llm_config_unref(old);
        } else {
                insert_name(&store->configs, at, stored);
                store->last_config_id++;
        }
        catalog_changed(store);
        *ret_config = stored;
        *ret_is_new = !is_there;
        return 0;
}

static int run_put_config(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_config_put *put = AIP_CONTAINER_OF(op, struct aip_config_put, op);
        aip_llm_config *stored = NULL;
        int r = put_config(store, put->config, put->mode, &stored, &put->ret_is_new, err);

        if (r >= 0)
                put->ret_config = aip_llm_config_ref(stored);
        return r;
}

const struct memory_call aip_memory_put_config = {run_put_config};

static int run_delete_config(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_catalog_delete *del = AIP_CONTAINER_OF(op, struct aip_catalog_delete, op);
        int is_there;
        size_t at = find_name(&store->configs, config_name, del->name, &is_there);

        if (!is_there)
                return aip_error_set(err, AIP_ENOTFOUND, "there is no configuration \"%.*s\"",
                                     AIP_STR_ARG(del->name));
        aip_llm_config_unref(remove_name(&store->configs, at));
        catalog_changed(store);
        return 0;
}

const struct memory_call aip_memory_delete_config = {run_delete_config};

static int stored_template(struct memory_store *store, const aip_prompt_template *prompt_template,
                           const aip_prompt_template *old, aip_prompt_template **ret_template,
                           aip_error **err)
{
        struct aip_prompt_template_fields fields = *aip_prompt_template_fields(prompt_template);

        fields.updated_at_us = aip_wall_us(store->loop);
        fields.created_at_us = fields.updated_at_us;
        fields.id = store->last_template_id + 1;
        if (old) {
                fields.id = aip_prompt_template_fields(old)->id;
                fields.created_at_us = aip_prompt_template_fields(old)->created_at_us;
        }
        return aip_prompt_template_new(&fields, ret_template, err);
}

static int put_template(struct memory_store *store, const aip_prompt_template *prompt_template,
                        enum aip_put_mode mode, aip_prompt_template **ret_template, int *ret_is_new,
                        aip_error **err)
{
        struct aip_str name = aip_prompt_template_fields(prompt_template)->name;
        int is_there;
        size_t at = find_name(&store->templates, template_name, name, &is_there);
        aip_prompt_template *old = is_there ? store->templates.items[at] : NULL;
        aip_prompt_template *stored = NULL;
        int r;

        r = check_mode(mode, is_there, "template", name, err);
        if (r < 0)
                return r;
        r = reserve_name(&store->templates, err);
        if (r < 0)
                return r;
        r = stored_template(store, prompt_template, old, &stored, err);
        if (r < 0)
                return r;
        if (is_there) {
                store->templates.items[at] = stored;
                aip_prompt_template_unref(old);
        } else {
                insert_name(&store->templates, at, stored);
                store->last_template_id++;
        }
        catalog_changed(store);
        *ret_template = stored;
        *ret_is_new = !is_there;
        return 0;
}

static int run_put_template(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_template_put *put = AIP_CONTAINER_OF(op, struct aip_template_put, op);
        aip_prompt_template *stored = NULL;
        int r = put_template(store, put->prompt_template, put->mode, &stored, &put->ret_is_new,
                             err);

        if (r >= 0)
                put->ret_template = aip_prompt_template_ref(stored);
        return r;
}

const struct memory_call aip_memory_put_template = {run_put_template};

static int run_delete_template(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_catalog_delete *del = AIP_CONTAINER_OF(op, struct aip_catalog_delete, op);
        int is_there;
        size_t at = find_name(&store->templates, template_name, del->name, &is_there);

        if (!is_there)
                return aip_error_set(err, AIP_ENOTFOUND, "there is no template \"%.*s\"",
                                     AIP_STR_ARG(del->name));
        aip_prompt_template_unref(remove_name(&store->templates, at));
        catalog_changed(store);
        return 0;
}

const struct memory_call aip_memory_delete_template = {run_delete_template};

static void graph_free(struct aip_graph_entry *entry)
{
        if (!entry)
                return;
        aip_graph_document_unref((aip_graph_document *)entry->document);
        aip_free(entry);
}

/* `document` as the store keeps it, in place of `old` (NULL: new). */
static int stored_graph(struct memory_store *store, const aip_graph_document *document,
                        const struct aip_graph_entry *old, struct aip_graph_entry **ret_entry,
                        aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text =
                AIP_BUF_INIT(AIP_GRAPH_DOCUMENT_MAX_BYTES + 1);
        struct aip_graph_entry *entry;
        int r = aip_graph_text_print(document, &text, err);

        if (r < 0)
                return r;
        entry = aip_calloc(1, sizeof(*entry));
        if (!entry)
                return aip_error_set_nomem(err);
        entry->document = aip_graph_document_ref(document);
        entry->updated_at_us = aip_wall_us(store->loop);
        entry->created_at_us = old ? old->created_at_us : entry->updated_at_us;
        entry->id = old ? old->id : store->last_graph_id + 1;
        entry->version = old ? old->version + 1 : 1;
        *ret_entry = entry;
        return 0;
}

static int run_put_graph(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_graph_put *put = AIP_CONTAINER_OF(op, struct aip_graph_put, op);
        struct aip_str name = aip_graph_document_name(put->document);
        int is_there;
        size_t at = find_name(&store->graphs, graph_name, name, &is_there);
        struct aip_graph_entry *old = is_there ? store->graphs.items[at] : NULL, *stored = NULL;
        int r = check_mode(put->mode, is_there, "graph", name, err);

        if (r >= 0)
                r = reserve_name(&store->graphs, err);
        if (r >= 0)
                r = stored_graph(store, put->document, old, &stored, err);
        if (r < 0)
                return r;
        if (is_there) {
                store->graphs.items[at] = stored;
                graph_free(old);
        } else {
                insert_name(&store->graphs, at, stored);
                store->last_graph_id++;
        }
        catalog_changed(store);
        put->ret_entry = *stored;
        put->ret_entry.document = aip_graph_document_ref(stored->document);
        put->ret_is_new = !is_there;
        return 0;
}

const struct memory_call aip_memory_put_graph = {run_put_graph};

static int run_delete_graph(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_catalog_delete *del = AIP_CONTAINER_OF(op, struct aip_catalog_delete, op);
        int is_there;
        size_t at = find_name(&store->graphs, graph_name, del->name, &is_there);

        if (!is_there)
                return aip_error_set(err, AIP_ENOTFOUND, "there is no graph \"%.*s\"",
                                     AIP_STR_ARG(del->name));
        graph_free(remove_name(&store->graphs, at));
        catalog_changed(store);
        return 0;
}

const struct memory_call aip_memory_delete_graph = {run_delete_graph};

/* What is shipped: the same rows as the first migrations of sql/ insert. */
static const struct {
        const char *name, *provider, *model_name, *api_key_env;
} shipped_configs[] = {
        {"default-smart", "openai", "gpt-4-turbo-preview", "OPENAI_API_KEY"},
        {"default-fast", "openai", "gpt-3.5-turbo", "OPENAI_API_KEY"},
        {"claude-opus", "anthropic", "claude-3-opus-20240229", "ANTHROPIC_API_KEY"},
        {"claude-sonnet", "anthropic", "claude-3-5-sonnet-20241022", "ANTHROPIC_API_KEY"},
        {"simulated", "simulated", "simulated", ""},
};

static const struct {
        const char *name, *description, *content;
} shipped_templates[] = {
        {"default-assistant", "General questions",
         "You are a careful, friendly assistant. Answer what was asked, plainly and correctly. "
         "When you are not sure, say so; when the question is ambiguous, state the reading you "
         "chose."},
        {"code-assistant", "Programming help",
         "You are an experienced software engineer. Give working, idiomatic code with the error "
         "handling it needs, name the language and version you assume, and explain in a few "
         "sentences why it is done this way. Point out mistakes in the code you are shown."},
        {"creative-writer", "Stories, poems, copy",
         "You are a writer with a sure feeling for rhythm, image and tone. Follow the form and "
         "length that were asked for, prefer the concrete to the general, and avoid worn phrases."},
};

static int ship_config(struct memory_store *store, size_t i, aip_error **err)
{
        struct aip_llm_config_fields fields = AIP_LLM_CONFIG_FIELDS_INIT;
        aip_llm_config *config = NULL, *stored = NULL;
        int is_new, r;

        fields.name = aip_str_of(shipped_configs[i].name);
        fields.provider = aip_str_of(shipped_configs[i].provider);
        fields.model_name = aip_str_of(shipped_configs[i].model_name);
        fields.api_key_env = aip_str_of(shipped_configs[i].api_key_env);
        r = aip_llm_config_new(&fields, &config, err);
        if (r < 0)
                return r;
        r = put_config(store, config, AIP_PUT_CREATE, &stored, &is_new, err);
        aip_llm_config_unref(config);
        return r;
}

static int ship_template(struct memory_store *store, size_t i, aip_error **err)
{
        struct aip_prompt_template_fields fields = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        aip_prompt_template *prompt_template = NULL, *stored = NULL;
        int is_new, r;

        fields.name = aip_str_of(shipped_templates[i].name);
        fields.description = aip_str_of(shipped_templates[i].description);
        fields.content = aip_str_of(shipped_templates[i].content);
        r = aip_prompt_template_new(&fields, &prompt_template, err);
        if (r < 0)
                return r;
        r = put_template(store, prompt_template, AIP_PUT_CREATE, &stored, &is_new, err);
        aip_prompt_template_unref(prompt_template);
        return r;
}

int aip_memory_catalog_init(struct memory_store *store, aip_error **err)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < AIP_ARRAY_SIZE(shipped_configs); i++)
                r = ship_config(store, i, err);
        for (size_t i = 0; r >= 0 && i < AIP_ARRAY_SIZE(shipped_templates); i++)
                r = ship_template(store, i, err);
        store->hints.is_catalog_changed = 0; /* nobody saw it otherwise */
        return r;
}

void aip_memory_catalog_deinit(struct memory_store *store)
{
        for (size_t i = 0; i < store->configs.n; i++)
                aip_llm_config_unref(store->configs.items[i]);
        for (size_t i = 0; i < store->templates.n; i++)
                aip_prompt_template_unref(store->templates.items[i]);
        for (size_t i = 0; i < store->graphs.n; i++)
                graph_free(store->graphs.items[i]);
        aip_free(store->graphs.items);
        aip_free(store->configs.items);
        aip_free(store->templates.items);
}
