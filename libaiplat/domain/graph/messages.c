/*
 * The messages of a chat (messages.h). A message that is new is appended in place, so a conversation
 * that only grows costs the same at any length; replacing and removing make a new list.
 */
#include "graph/messages.h"
#include "macros.h"
#include <aiplat/graph.h>
#include <stdio.h>

#define ID_MAX_BYTES 255

static struct aip_str id_of(const aip_value *message)
{
        return aip_value_as_string(aip_value_get_cstr(message, "id"));
}

static int says_remove(const aip_value *message, const char *member)
{
        return aip_str_eq(aip_value_as_string(aip_value_get_cstr(message, member)),
                          aip_str_of("remove"));
}

static int is_removal(const aip_value *message)
{
        return says_remove(message, "role") || says_remove(message, "type");
}

int aip_messages_are(const aip_value *value)
{
        size_t n = aip_value_size(value);
        if (aip_value_type(value) != AIP_VALUE_LIST)
                return 0;
        for (size_t i = 0; i < n; i++) {
                const aip_value *message = aip_value_at(value, i);
                if (id_of(message).n == 0 || is_removal(message))
                        return 0;
        }
        return 1;
}

static int fail_message(const char *what, aip_error **err)
{
        int code = aip_error_set(err, AIP_EINVAL, "a message %s", what);
        if (err)
                aip_error_set_kind(*err, AIP_GRAPH_INVALID_UPDATE);
        return code;
}

/* The message that a string stands for; NULL when out of memory. */
static aip_value *from_text(struct aip_str text)
{
        aip_value *message = aip_value_object();
        if (message &&
            aip_value_object_set_cstr(&message, "role", aip_value_string(aip_str_of("user"))) ==
                    0 &&
            aip_value_object_set_cstr(&message, "content", aip_value_string(text)) == 0)
                return message;
        aip_value_unref(message);
        return NULL;
}

static int give_id(aip_value **message, const char *prefix, size_t nth, aip_error **err)
{
        char id[ID_MAX_BYTES + 1];
        int n = snprintf(id, sizeof(id), "%s.%zu", prefix, nth);
        struct aip_str text = aip_str_make(id, AIP_MIN((size_t)n, sizeof(id) - 1));
        if (aip_value_object_set_cstr(message, "id", aip_value_string(text)) < 0)
                return aip_error_set_nomem(err);
        return 0;
}

/* One message with an id, owned by the caller in *ret_message, also on failure. */
static int normalize_one(const aip_value *written, const char *prefix, size_t nth,
                         aip_value **ret_message, aip_error **err)
{
        enum aip_value_type type = aip_value_type(written);
        if (type != AIP_VALUE_OBJECT && type != AIP_VALUE_STRING)
                return fail_message("is an object or a string", err);
        const aip_value *id = aip_value_get_cstr(written, "id");
        if (id && aip_value_type(id) != AIP_VALUE_NULL) {
                struct aip_str text = aip_value_as_string(id);
                if (text.n == 0 || text.n > ID_MAX_BYTES)
                        return fail_message("has an id that is not a string of 1 to 255 bytes",
                                            err);
                *ret_message = aip_value_ref(written);
                return 0;
        }
        if (is_removal(written))
                return fail_message("that removes another needs that one's id", err);
        *ret_message = type == AIP_VALUE_STRING ? from_text(aip_value_as_string(written))
                                                : aip_value_ref(written);
        return *ret_message ? give_id(ret_message, prefix, nth, err) : aip_error_set_nomem(err);
}

int aip_messages_normalize(const aip_value *write, const char *prefix, aip_value **ret_messages,
                           aip_error **err)
{
        int is_list = aip_value_type(write) == AIP_VALUE_LIST;
        size_t n = is_list ? aip_value_size(write) : 1;
        _cleanup_(aip_value_unref_p) aip_value *messages = aip_value_list();
        if (!messages)
                return aip_error_set_nomem(err);
        for (size_t i = 0; i < n; i++) {
                aip_value *message = NULL;
                int code = normalize_one(is_list ? aip_value_at(write, i) : write, prefix, i,
                                         &message, err);
                if (code < 0) {
                        aip_value_unref(message);
                        return code;
                }
                if (aip_value_list_append(&messages, message) < 0)
                        return aip_error_set_nomem(err);
        }
        *ret_messages = AIP_TAKE(messages);
        return 0;
}

/* The place of the message that has this id; the list's size when there is none. */
static size_t find(const aip_value *list, struct aip_str id)
{
        size_t n = aip_value_size(list);
        for (size_t i = n; i > 0; i--) { /* what is changed is mostly near the end */
                if (aip_str_eq(id_of(aip_value_at(list, i - 1)), id))
                        return i - 1;
        }
        return n;
}

/* *list without its `nth` element, or with `instead` there. Returns 1: more than added. */
static int put_at(aip_value **list, size_t nth, const aip_value *instead, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *changed = aip_value_list();
        size_t n = aip_value_size(*list);
        int code = changed ? 0 : AIP_ENOMEM;
        for (size_t i = 0; code == 0 && i < n; i++) {
                const aip_value *message = i == nth ? instead : aip_value_at(*list, i);
                if (message)
                        code = aip_value_list_append(&changed, aip_value_ref(message));
        }
        if (code < 0)
                return aip_error_set_nomem(err);
        aip_value_unref(*list);
        *list = AIP_TAKE(changed);
        return 1;
}

static int remove_all(aip_value **list, aip_error **err)
{
        aip_value *empty = aip_value_list();
        if (!empty)
                return aip_error_set_nomem(err);
        aip_value_unref(*list);
        *list = empty;
        return 1;
}

static int remove_one(aip_value **list, struct aip_str id, aip_error **err)
{
        size_t at = find(*list, id);
        if (aip_str_eq(id, aip_str_of(AIP_GRAPH_REMOVE_ALL)))
                return remove_all(list, err);
        if (at < aip_value_size(*list))
                return put_at(list, at, NULL, err);
        int code =
                aip_error_set(err, AIP_EINVAL, "there is no message with the id \"%.*s\" to remove",
                              AIP_STR_ARG(id));
        if (err)
                aip_error_set_kind(*err, AIP_GRAPH_INVALID_UPDATE);
        return code;
}

static int merge_one(aip_value **list, const aip_value *message, aip_error **err)
{
        struct aip_str id = id_of(message);
        if (is_removal(message))
                return remove_one(list, id, err);
        size_t at = find(*list, id);
        if (at < aip_value_size(*list))
                return put_at(list, at, message, err);
        return aip_value_list_append(list, aip_value_ref(message)) < 0 ? aip_error_set_nomem(err)
                                                                       : 0;
}

int aip_messages_merge(aip_value **value, const aip_value *messages, aip_error **err)
{
        size_t n = aip_value_size(messages);
        int is_rewritten = 0;
        for (size_t i = 0; i < n; i++) {
                int code = merge_one(value, aip_value_at(messages, i), err);
                if (code < 0)
                        return code;
                is_rewritten |= code;
        }
        return is_rewritten;
}
