/*
 * Tools by name: those that a program registers (functions, servers' tools), and those that graph documents
 * describe themselves, which are made by their type. A *set* is what one node of a graph may call. Loop
 * thread only.
 */
#ifndef AIPLAT_TOOL_REGISTRY_H
#define AIPLAT_TOOL_REGISTRY_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/ports/tool.h>

AIP_BEGIN_DECLS

typedef struct aip_tool_registry aip_tool_registry;

#define AIP_TOOL_NAME_MAX_BYTES 64 /* letters, digits, '_' and '-' */

AIP_API int aip_tool_registry_new(struct aip_loop loop, aip_tool_registry **ret_registry,
                                  aip_error **err);
/* No call may be in flight, and no set be left. Accepts NULL. */
AIP_API void aip_tool_registry_free(aip_tool_registry *registry);

/* What a tool is, to those who call it. Borrowed during the call, copied. */
struct aip_tool_options {
        size_t self_size;
        struct aip_str name;
        struct aip_str group; /* "GROUP:*" in a list of names stands for all of one; or empty */
        struct aip_str description;  /* for models; or empty */
        const aip_value *parameters; /* JSON Schema of the arguments; NULL: any object */
        struct aip_tool tool;
        int is_unchecked; /* the tool checks its arguments itself: `parameters` is only shown to models */
};

/* `tool` is consumed on success. AIP_ECONFLICT: the name is taken; AIP_EINVAL: it is no name, or
 * `parameters` no JSON Schema (json_schema.h). */
AIP_API int aip_tool_registry_add(aip_tool_registry *registry,
                                  const struct aip_tool_options *options, aip_error **err);
/* Forget all tools of a group; calls in flight go on. */
AIP_API void aip_tool_registry_remove_group(aip_tool_registry *registry, struct aip_str group);

/*
 * A tool that is a function, which runs to its end on the loop thread. *ret_content (NULL when called) is
 * owned by the engine from then on; a failure is told to the model.
 */
typedef int (*aip_tool_function)(void *user, const aip_value *arguments, aip_value **ret_content,
                                 aip_error **err);

/* `parameters`: JSON Schema as text, or NULL. `free_user` (or NULL) is called when the tool is freed. */
AIP_API int aip_tool_registry_add_function(aip_tool_registry *registry, const char *name,
                                           const char *description, const char *parameters,
                                           aip_tool_function function, void *user,
                                           void (*free_user)(void *user), aip_error **err);

/* A tool as a document describes it: {"type": …, "description": …, "parameters": …, …}. */
struct aip_tool_spec {
        struct aip_str name;
        const aip_value *fields; /* for reading only, during the call */
};

/* How tools of a type are made. Refusals begin with the member's name: "url: must be …". `type` is
 * borrowed as long as the registry. */
struct aip_tool_type {
        const char *type;
        int (*make)(void *self, const struct aip_tool_spec *spec, struct aip_tool *ret_tool,
                    aip_error **err);
        void *self;
};
AIP_API int aip_tool_registry_add_type(aip_tool_registry *registry,
                                       const struct aip_tool_type *type, aip_error **err);

/*
 * Sets.
 */
typedef struct aip_tool_set aip_tool_set;

/*
 * The tools that `names` (a list of strings) name: those that the document describes (`described`: an object
 * of specs by name, or NULL; these are made at once), then the registry's at the time of a call. "*" is
 * all of both, "GROUP:*" all of a group. Both values are for reading only and
 * live as long as the set. `registry` may be NULL: there are none. Errors begin with a JSON pointer
 * into the document: "/tools/weather/url: …".
 */
AIP_API int aip_tool_set_new(aip_tool_registry *registry, const aip_value *names,
                             const aip_value *described, aip_tool_set **ret_set, aip_error **err);
AIP_API void aip_tool_set_free(aip_tool_set *set); /* accepts NULL; calls in flight go on */

/* For aip_llm_call.tools: a list of {"name", "description", "parameters"}, borrowed until the set is used
 * next. AIP_ENOTFOUND names one that is not there. */
AIP_API int aip_tool_set_describe(aip_tool_set *set, const aip_value **ret_list, aip_error **err);
/* Call one of them. The arguments are checked first; AIP_ENOTFOUND and AIP_EINVAL come through `done`, as
 * does everything. */
AIP_API void aip_tool_set_call(aip_tool_set *set, struct aip_loop loop, struct aip_str name,
                               struct aip_tool_call *call);
/* The call ends soon. Not after done. */
AIP_API void aip_tool_call_cancel(struct aip_tool_call *call);

AIP_END_DECLS

#endif
