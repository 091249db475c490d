/*
 * Tools by name, and the sets of them that nodes call (tool_registry.h). A tool is counted: it lives until
 * the registry has forgotten it, no set has it, and its last call is done.
 */
#include <aiplat/json_schema.h>
#include <aiplat/tool_registry.h>

#include "hash_map.h"
#include "list.h"
#include "macros.h"
#include "mem.h"

#define TYPES_MAX 16

struct entry {
        uint32_t n_refs;
        char *name, *group;
        aip_value *description;  /* as models are told: {"name", "description", "parameters"} */
        aip_json_schema *schema; /* or NULL */
        struct aip_tool tool;
};

struct aip_tool_registry {
        struct aip_loop loop;
        struct aip_hash_map entries;
        uint64_t revision; /* raised when a tool comes or goes */
        struct aip_tool_type types[TYPES_MAX];
        size_t n_types;
};

struct aip_tool_set {
        aip_tool_registry *registry; /* or NULL */
        const aip_value *names;
        struct aip_hash_map described; /* entries of the document's own */
        aip_value *list;               /* as last described, or NULL */
        uint64_t revision;             /* of the registry, then */
        int is_all;
};

/* ── entries ─────────────────────────────────────────────────────────────────────────────────── */

static void entry_unref(struct entry *entry)
{
        if (!entry || --entry->n_refs > 0)
                return;
        if (entry->tool.ops && entry->tool.ops->free)
                entry->tool.ops->free(entry->tool.self);
        aip_free(entry->name);
        aip_free(entry->group);
        aip_value_unref(entry->description);
        aip_json_schema_unref(entry->schema);
        aip_free(entry);
}
AIP_DEFINE_CLEANUP(struct entry *, entry_unref);

/* NULL when out of memory. */
static char *text_of(struct aip_str s)
{
        char *text = aip_calloc(1, s.n + 1);

        if (text && s.n > 0)
                memcpy(text, s.p, s.n);
        return text;
}

static int is_name(struct aip_str name)
{
        for (size_t i = 0; i < name.n; i++) {
                char c = name.p[i];
                if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-'))
                        return 0;
        }
        return name.n > 0 && name.n <= AIP_TOOL_NAME_MAX_BYTES;
}

static aip_value *copy_or_any(const aip_value *parameters)
{
        aip_value *any = NULL;

        if (parameters)
                return aip_value_copy_deep(parameters);
        any = aip_value_object();
        if (any &&
            aip_value_object_set_cstr(&any, "type", aip_value_string(AIP_STR("object"))) == 0)
                return any;
        aip_value_unref(any);
        return NULL;
}

static int describe(struct entry *entry, const struct aip_tool_options *options)
{
        entry->description = aip_value_object();
        if (!entry->description ||
            aip_value_object_set_cstr(&entry->description, "name",
                                      aip_value_string(options->name)) < 0 ||
            aip_value_object_set_cstr(&entry->description, "parameters",
                                      copy_or_any(options->parameters)) < 0)
                return AIP_ENOMEM;
        if (options->description.n == 0)
                return 0;
        return aip_value_object_set_cstr(&entry->description, "description",
                                         aip_value_string(options->description));
}

/* `tool` is consumed on success. */
static int entry_new(const struct aip_tool_options *options, struct entry **ret_entry,
                     aip_error **err)
{
        _cleanup_(entry_unref_p) struct entry *entry = aip_calloc(1, sizeof(*entry));
        int r = 0;

        if (!is_name(options->name))
                return aip_error_set(err, AIP_EINVAL,
                                     "a tool's name has 1 to %d letters, digits, '_' and '-'",
                                     AIP_TOOL_NAME_MAX_BYTES);
        if (!entry)
                return aip_error_set_nomem(err);
        entry->n_refs = 1;
        entry->name = text_of(options->name);
        entry->group = text_of(options->group);
        if (!entry->name || !entry->group || describe(entry, options) < 0)
                return aip_error_set_nomem(err);
        if (options->parameters && !options->is_unchecked)
                r = aip_json_schema_new("parameters", options->parameters, &entry->schema, err);
        if (r < 0)
                return r;
        entry->tool = options->tool;
        *ret_entry = AIP_TAKE(entry);
        return 0;
}

/* ── the registry ────────────────────────────────────────────────────────────────────────────── */

int aip_tool_registry_new(struct aip_loop loop, aip_tool_registry **ret_registry, aip_error **err)
{
        aip_tool_registry *registry = aip_calloc(1, sizeof(*registry));

        if (!registry)
                return aip_error_set_nomem(err);
        registry->loop = loop;
        registry->revision = 1;
        *ret_registry = registry;
        return 0;
}

void aip_tool_registry_free(aip_tool_registry *registry)
{
        size_t cursor = 0;
        struct entry *entry;

        if (!registry)
                return;
        while ((entry = aip_hash_map_next(&registry->entries, &cursor, NULL)))
                entry_unref(entry);
        aip_hash_map_deinit(&registry->entries);
        aip_free(registry);
}

int aip_tool_registry_add(aip_tool_registry *registry, const struct aip_tool_options *options,
                          aip_error **err)
{
        struct entry *entry = NULL;
        int r;

        if (aip_hash_map_get(&registry->entries, options->name))
                return aip_error_set(err, AIP_ECONFLICT, "there is a tool '%.*s' already",
                                     AIP_STR_ARG(options->name));
        if ((r = entry_new(options, &entry, err)) < 0)
                return r;
        if (aip_hash_map_set(&registry->entries, options->name, entry, NULL) < 0) {
                entry->tool = (struct aip_tool){NULL, NULL}; /* still the caller's */
                entry_unref(entry);
                return aip_error_set_nomem(err);
        }
        registry->revision++;
        return 0;
}

void aip_tool_registry_remove_group(aip_tool_registry *registry, struct aip_str group)
{
        size_t cursor = 0;
        struct entry *entry;
        struct aip_str name;

        while ((entry = aip_hash_map_next(&registry->entries, &cursor, &name))) {
                if (!aip_str_eq(aip_str_of(entry->group), group))
                        continue;
                aip_hash_map_remove(&registry->entries, name);
                entry_unref(entry);
                registry->revision++;
        }
}

int aip_tool_registry_add_type(aip_tool_registry *registry, const struct aip_tool_type *type,
                               aip_error **err)
{
        if (registry->n_types == TYPES_MAX)
                return aip_error_set(err, AIP_ELIMIT, "there are %d types of tools already",
                                     TYPES_MAX);
        registry->types[registry->n_types++] = *type;
        return 0;
}

/* ── functions ───────────────────────────────────────────────────────────────────────────────── */

struct function_tool {
        struct aip_loop loop;
        aip_tool_function function;
        void *user;
        void (*free_user)(void *user);
};

static void function_call(void *self, struct aip_tool_call *call)
{
        const struct function_tool *tool = self;
        _cleanup_(aip_value_unref_p) aip_value *content = NULL;
        aip_error *err = NULL;
        int r = tool->function(tool->user, call->arguments, &content, &err);

        if (r < 0 && !err)
                aip_error_set(&err, r, "the function failed (%s)", aip_error_code_name(r));
        if (!err && !content && !(content = aip_value_null()))
                aip_error_set_nomem(&err);
        if (!err)
                call->ret_content = AIP_TAKE(content);
        aip_op_finish(tool->loop, &call->op, err);
}

static void function_cancel(void *self, struct aip_tool_call *call)
{
        (void)self, (void)call; /* it has ended already */
}

static void function_free(void *self)
{
        struct function_tool *tool = self;

        if (tool->free_user)
                tool->free_user(tool->user);
        aip_free(tool);
}

static const struct aip_tool_ops function_ops = {sizeof(function_ops), function_call,
                                                 function_cancel, function_free};

int aip_tool_registry_add_function(aip_tool_registry *registry, const char *name,
                                   const char *description, const char *parameters,
                                   aip_tool_function function, void *user,
                                   void (*free_user)(void *user), aip_error **err)
{
        _cleanup_(aip_free_p) struct function_tool *tool = aip_calloc(1, sizeof(*tool));
        _cleanup_(aip_value_unref_p) aip_value *schema = NULL;
        struct aip_tool_options options = {.self_size = sizeof(options), .name = aip_str_of(name)};
        int r;

        if (!tool)
                return aip_error_set_nomem(err);
        *tool = (struct function_tool){registry->loop, function, user, free_user};
        if (parameters && (r = aip_value_parse(aip_str_of(parameters), &schema, err)) < 0)
                return r;
        options.description = aip_str_of(description ? description : "");
        options.parameters = schema;
        options.tool = (struct aip_tool){&function_ops, tool};
        if ((r = aip_tool_registry_add(registry, &options, err)) == 0)
                (void)AIP_TAKE(tool);
        return r;
}

/* ── sets: the document's own tools ──────────────────────────────────────────────────────────── */

static const struct aip_tool_type *find_type(const aip_tool_registry *registry, struct aip_str type)
{
        for (size_t i = 0; registry && i < registry->n_types; i++)
                if (aip_str_eq(aip_str_of(registry->types[i].type), type))
                        return &registry->types[i];
        return NULL;
}

static int fail_at(struct aip_str name, aip_error *cause, aip_error **err)
{
        int r = aip_error_code(cause) == AIP_ENOMEM ? AIP_ENOMEM : AIP_EINVAL;

        aip_error_set(err, r, "/tools/%.*s/%s", AIP_STR_ARG(name), aip_error_message(cause));
        aip_error_free(cause);
        return r;
}

static int make_tool(aip_tool_registry *registry, struct aip_str name, const aip_value *fields,
                     struct entry **ret_entry, aip_error **err)
{
        struct aip_tool_spec spec = {name, fields};
        struct aip_tool_options options = {.self_size = sizeof(options), .name = name};
        struct aip_str type = aip_value_as_string(aip_value_get_cstr(fields, "type"));
        const struct aip_tool_type *maker = find_type(registry, type);
        int r;

        if (!maker)
                return aip_error_set(err, AIP_EINVAL, "type: there are no tools of type \"%.*s\"",
                                     AIP_STR_ARG(type));
        options.description = aip_value_as_string(aip_value_get_cstr(fields, "description"));
        options.parameters = aip_value_get_cstr(fields, "parameters");
        if ((r = maker->make(maker->self, &spec, &options.tool, err)) < 0)
                return r;
        r = entry_new(&options, ret_entry, err);
        if (r < 0 && options.tool.ops->free)
                options.tool.ops->free(options.tool.self);
        return r;
}

static int add_described(aip_tool_set *set, struct aip_str name, const aip_value *fields,
                         aip_error **err)
{
        struct entry *entry = NULL;
        aip_error *cause = NULL;

        if (aip_hash_map_get(&set->described, name))
                return 0; /* named twice */
        if (make_tool(set->registry, name, fields, &entry, &cause) < 0)
                return fail_at(name, cause, err);
        if (aip_hash_map_set(&set->described, name, entry, NULL) == 0)
                return 0;
        entry_unref(entry);
        return aip_error_set_nomem(err);
}

static int add_all_described(aip_tool_set *set, const aip_value *described, aip_error **err)
{
        size_t n = aip_value_size(described);
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_str name;
                const aip_value *fields = aip_value_member(described, i, &name);
                r = add_described(set, name, fields, err);
        }
        return r;
}

static int add_named(aip_tool_set *set, const aip_value *described, aip_error **err)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < aip_value_size(set->names); i++) {
                struct aip_str name = aip_value_as_string(aip_value_at(set->names, i));
                const aip_value *fields = aip_value_get(described, name);

                if (aip_str_eq(name, AIP_STR("*"))) {
                        set->is_all = 1;
                        r = add_all_described(set, described, err);
                } else if (fields) {
                        r = add_described(set, name, fields, err);
                }
        }
        return r;
}

int aip_tool_set_new(aip_tool_registry *registry, const aip_value *names,
                     const aip_value *described, aip_tool_set **ret_set, aip_error **err)
{
        aip_tool_set *set = aip_calloc(1, sizeof(*set));
        int r;

        if (!set)
                return aip_error_set_nomem(err);
        set->registry = registry;
        set->names = names;
        r = add_named(set, described, err);
        if (r < 0)
                aip_tool_set_free(set);
        else
                *ret_set = set;
        return r;
}

void aip_tool_set_free(aip_tool_set *set)
{
        size_t cursor = 0;
        struct entry *entry;

        if (!set)
                return;
        while ((entry = aip_hash_map_next(&set->described, &cursor, NULL)))
                entry_unref(entry);
        aip_hash_map_deinit(&set->described);
        aip_value_unref(set->list);
        aip_free(set);
}

/* ── sets: who is in them ────────────────────────────────────────────────────────────────────── */

/* "GROUP:*" */
static int names_group(struct aip_str name, struct aip_str *ret_group)
{
        if (name.n < 3 || memcmp(name.p + name.n - 2, ":*", 2) != 0)
                return 0;
        *ret_group = aip_str_make(name.p, name.n - 2);
        return 1;
}

static int is_in(const aip_tool_set *set, const struct entry *entry)
{
        struct aip_str group;

        if (set->is_all)
                return 1;
        for (size_t i = 0; i < aip_value_size(set->names); i++) {
                struct aip_str name = aip_value_as_string(aip_value_at(set->names, i));
                if (names_group(name, &group) ? aip_str_eq(group, aip_str_of(entry->group))
                                              : aip_str_eq(name, aip_str_of(entry->name)))
                        return 1;
        }
        return 0;
}

static struct entry *find(const aip_tool_set *set, struct aip_str name)
{
        struct entry *entry = aip_hash_map_get(&set->described, name);

        if (entry || !set->registry)
                return entry;
        entry = aip_hash_map_get(&set->registry->entries, name);
        return entry && is_in(set, entry) ? entry : NULL;
}

static int fail_missing(struct aip_str name, aip_error **err)
{
        aip_error_set(err, AIP_ENOTFOUND, "there is no tool \"%.*s\" here", AIP_STR_ARG(name));
        if (err)
                aip_error_set_kind(*err, "caller_tool_not_found");
        return AIP_ENOTFOUND;
}

/* Each that is named by its name is there. */
static int check_names(const aip_tool_set *set, aip_error **err)
{
        struct aip_str group;

        for (size_t i = 0; i < aip_value_size(set->names); i++) {
                struct aip_str name = aip_value_as_string(aip_value_at(set->names, i));
                if (!aip_str_eq(name, AIP_STR("*")) && !names_group(name, &group) &&
                    !find(set, name))
                        return fail_missing(name, err);
        }
        return 0;
}

static int list_entries(const aip_tool_set *set, const struct aip_hash_map *entries,
                        int are_described, aip_value **list)
{
        size_t cursor = 0;
        const struct entry *entry;
        struct aip_str name;
        int r = 0;

        while (r == 0 && (entry = aip_hash_map_next(entries, &cursor, &name)))
                if (are_described ||
                    (is_in(set, entry) && !aip_hash_map_get(&set->described, name)))
                        r = aip_value_list_append(list, aip_value_ref(entry->description));
        return r;
}

int aip_tool_set_describe(aip_tool_set *set, const aip_value **ret_list, aip_error **err)
{
        uint64_t revision = set->registry ? set->registry->revision : 0;
        int r = check_names(set, err);

        if (r < 0)
                return r;
        if (!set->list || set->revision != revision) {
                aip_value *list = aip_value_list();
                if (!list || list_entries(set, &set->described, 1, &list) < 0 ||
                    (set->registry && list_entries(set, &set->registry->entries, 0, &list) < 0)) {
                        aip_value_unref(list);
                        return aip_error_set_nomem(err);
                }
                aip_value_unref(set->list);
                set->list = list;
                set->revision = revision;
        }
        *ret_list = set->list;
        return 0;
}

/* ── calls ───────────────────────────────────────────────────────────────────────────────────── */

/* Between the caller and the tool: holds the tool until its call is done. */
struct use {
        struct aip_tool_call inner;
        struct entry *entry;
        struct aip_tool_call *outer;
        aip_value *none; /* arguments, when the caller gave none */
};

static void use_done(struct aip_op *op)
{
        struct use *use = AIP_CONTAINER_OF(op, struct use, inner.op);
        struct aip_tool_call *outer = use->outer;

        outer->op.err = use->inner.op.err;
        outer->ret_content = use->inner.ret_content;
        outer->ret_is_error = use->inner.ret_is_error;
        outer->entry = NULL;
        entry_unref(use->entry);
        aip_value_unref(use->none);
        aip_free(use);
        outer->op.done(&outer->op);
}

static int use_new(struct entry *entry, struct aip_tool_call *call, struct use **ret_use,
                   aip_error **err)
{
        struct use *use = aip_calloc(1, sizeof(*use));
        const aip_value *arguments = call->arguments;
        int r = 0;

        if (!use || !(use->none = aip_value_object())) {
                aip_free(use);
                return aip_error_set_nomem(err);
        }
        arguments = arguments ? arguments : use->none;
        if (aip_value_type(arguments) != AIP_VALUE_OBJECT)
                r = aip_error_set(err, AIP_EINVAL, "arguments: must be an object");
        else if (entry->schema)
                r = aip_json_schema_check(entry->schema, "arguments", arguments, err);
        if (r < 0) {
                aip_value_unref(use->none);
                aip_free(use);
                return r;
        }
        use->inner = *call;
        use->inner.arguments = arguments;
        use->inner.op = (struct aip_op){.done = use_done, .deadline_ms = call->op.deadline_ms};
        use->outer = call;
        entry->n_refs++;
        use->entry = entry;
        *ret_use = use;
        return 0;
}

void aip_tool_set_call(aip_tool_set *set, struct aip_loop loop, struct aip_str name,
                       struct aip_tool_call *call)
{
        struct entry *entry = find(set, name);
        struct use *use = NULL;
        aip_error *err = NULL;

        call->entry = NULL;
        if (!entry)
                fail_missing(name, &err);
        else
                (void)use_new(entry, call, &use, &err);
        if (err) {
                aip_op_finish(loop, &call->op, err);
                return;
        }
        call->entry = use;
        entry->tool.ops->call(entry->tool.self, &use->inner);
}

void aip_tool_call_cancel(struct aip_tool_call *call)
{
        struct use *use = call->entry;

        if (use)
                use->entry->tool.ops->cancel(use->entry->tool.self, &use->inner);
}
