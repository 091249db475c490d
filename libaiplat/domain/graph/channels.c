/*
 * Channels of a graph's state: initial values and writes, a function a kind. Called when a run
 * begins and when a step's writes are merged. Nothing here does I/O or remembers anything.
 */
#include "graph/channels.h"
#include "graph/messages.h"
#include "macros.h"

static int is_number(const aip_value *value)
{
        enum aip_value_type type = aip_value_type(value);
        return type == AIP_VALUE_INT || type == AIP_VALUE_DOUBLE;
}

static int are_integers(const aip_value *a, const aip_value *b)
{
        return aip_value_type(a) == AIP_VALUE_INT && aip_value_type(b) == AIP_VALUE_INT;
}

static int fail_type(const struct aip_graph_channel *channel, const char *wanted,
                     const aip_value *write, aip_error **err)
{
        int code = aip_error_set(err, AIP_EINVAL, "channel \"%s\" takes %s, not a value of type %s",
                                 channel->name, wanted, aip_value_type_name(aip_value_type(write)));
        if (err)
                aip_error_set_kind(*err, AIP_GRAPH_INVALID_UPDATE);
        return code;
}

/* *value becomes `value_new` (consumed); NULL is out of memory and changes nothing. */
static int replace(aip_value **value, aip_value *value_new, aip_error **err)
{
        if (!value_new)
                return aip_error_set_nomem(err);
        aip_value_unref(*value);
        *value = value_new;
        return 0;
}

const char *aip_channel_wants(enum aip_channel_kind kind, const aip_value *value)
{
        switch (kind) {
        case AIP_CHANNEL_APPEND:
        case AIP_CHANNEL_TOPIC:
                return aip_value_type(value) == AIP_VALUE_LIST ? NULL : "a list";
        case AIP_CHANNEL_MESSAGES:
                return aip_messages_are(value) ? NULL : "a list of messages with ids";
        case AIP_CHANNEL_ADD:
        case AIP_CHANNEL_MIN:
        case AIP_CHANNEL_MAX:
                return is_number(value) ? NULL : "numbers";
        case AIP_CHANNEL_MERGE:
                return aip_value_type(value) == AIP_VALUE_OBJECT ? NULL : "objects";
        case AIP_CHANNEL_LAST_VALUE:
        case AIP_CHANNEL_EPHEMERAL:
        case AIP_CHANNEL_UNTRACKED:
        case AIP_CHANNEL_REDUCER:
                return NULL;
        }
        return NULL;
}

int aip_channel_is_single(const struct aip_graph_channel *channel)
{
        enum aip_channel_kind kind = channel->options.kind;
        return kind == AIP_CHANNEL_LAST_VALUE || kind == AIP_CHANNEL_EPHEMERAL ||
               kind == AIP_CHANNEL_UNTRACKED;
}

int aip_channel_is_passing(const struct aip_graph_channel *channel)
{
        enum aip_channel_kind kind = channel->options.kind;
        return kind == AIP_CHANNEL_TOPIC || kind == AIP_CHANNEL_EPHEMERAL;
}

int aip_channel_check(const struct aip_graph_channel *channel, aip_error **err)
{
        const struct aip_channel_options *o = &channel->options;
        if ((unsigned)o->kind > AIP_CHANNEL_UNTRACKED)
                return aip_error_set(err, AIP_EINVAL, "channel \"%s\": no such kind: %d",
                                     channel->name, (int)o->kind);
        if ((o->kind == AIP_CHANNEL_REDUCER) != (o->reduce != NULL))
                return aip_error_set(err, AIP_EINVAL, "channel \"%s\": %s", channel->name,
                                     o->reduce ? "a reducer function is only for the kind reducer"
                                               : "the kind reducer needs a reducer function");
        const char *wanted = o->initial ? aip_channel_wants(o->kind, o->initial) : NULL;
        if (wanted)
                return aip_error_set(err, AIP_EINVAL,
                                     "channel \"%s\": its initial value must be %s, not of type %s",
                                     channel->name, wanted,
                                     aip_value_type_name(aip_value_type(o->initial)));
        return 0;
}

static aip_value *default_of(enum aip_channel_kind kind, int *ret_has_one)
{
        *ret_has_one = 1;
        switch (kind) {
        case AIP_CHANNEL_APPEND:
        case AIP_CHANNEL_MESSAGES:
                return aip_value_list();
        case AIP_CHANNEL_ADD:
                return aip_value_int(0);
        case AIP_CHANNEL_MERGE:
                return aip_value_object();
        case AIP_CHANNEL_LAST_VALUE:
        case AIP_CHANNEL_MIN:
        case AIP_CHANNEL_MAX:
        case AIP_CHANNEL_TOPIC:
        case AIP_CHANNEL_EPHEMERAL:
        case AIP_CHANNEL_UNTRACKED:
        case AIP_CHANNEL_REDUCER:
                break;
        }
        *ret_has_one = 0;
        return NULL;
}

int aip_channel_begin(const struct aip_graph_channel *channel, aip_value **ret_value,
                      aip_error **err)
{
        const struct aip_channel_options *o = &channel->options;
        int has_one = 1;
        aip_value *value =
                o->initial ? aip_value_copy_deep(o->initial) : default_of(o->kind, &has_one);
        if (has_one && !value)
                return aip_error_set_nomem(err);
        *ret_value = value;
        return 0;
}

/* A list is appended element by element; one that is written to an empty channel is taken over. */
static int append(aip_value **value, aip_value *write, aip_error **err)
{
        if (aip_value_type(write) != AIP_VALUE_LIST)
                return aip_value_list_append(value, write) < 0 ? aip_error_set_nomem(err) : 0;
        if (aip_value_size(*value) == 0)
                return replace(value, write, err);
        size_t n = aip_value_size(write);
        int code = 0;
        for (size_t i = 0; code == 0 && i < n; i++)
                code = aip_value_list_append(value, aip_value_ref(aip_value_at(write, i)));
        aip_value_unref(write);
        return code < 0 ? aip_error_set_nomem(err) : 0;
}

static int fail_overflow(const struct aip_graph_channel *channel, aip_error **err)
{
        return aip_error_set(err, AIP_ELIMIT,
                             "channel \"%s\": the sum passes the range of integers", channel->name);
}

static int add(const struct aip_graph_channel *channel, aip_value **value, const aip_value *write,
               aip_error **err)
{
        if (!are_integers(*value, write))
                return replace(value,
                               aip_value_double(aip_value_as_double(*value, 0) +
                                                aip_value_as_double(write, 0)),
                               err);
        int64_t sum;
        if (__builtin_add_overflow(aip_value_as_int(*value, 0), aip_value_as_int(write, 0), &sum))
                return fail_overflow(channel, err);
        return replace(value, aip_value_int(sum), err);
}

/* <0, 0, >0 as a is less than, equal to or greater than b. */
static int compare(const aip_value *a, const aip_value *b)
{
        if (are_integers(a, b)) {
                int64_t i = aip_value_as_int(a, 0), j = aip_value_as_int(b, 0);
                return (i > j) - (i < j);
        }
        double x = aip_value_as_double(a, 0), y = aip_value_as_double(b, 0);
        return (x > y) - (x < y);
}

/* direction: -1 keeps the least, 1 the greatest. */
static int keep_extreme(aip_value **value, aip_value *write, int direction, aip_error **err)
{
        if (!*value || compare(write, *value) * direction > 0)
                return replace(value, write, err);
        aip_value_unref(write);
        return 0;
}

static int merge(aip_value **value, aip_value *write, aip_error **err)
{
        if (aip_value_size(*value) == 0)
                return replace(value, write, err);
        size_t n = aip_value_size(write);
        int code = 0;
        for (size_t i = 0; code == 0 && i < n; i++) {
                struct aip_str key;
                const aip_value *member = aip_value_member(write, i, &key);
                code = aip_value_object_set(value, key, aip_value_ref(member));
        }
        aip_value_unref(write);
        return code < 0 ? aip_error_set_nomem(err) : 0;
}

static int reduce(const struct aip_graph_channel *channel, aip_value **value,
                  const aip_value *write, aip_error **err)
{
        aip_error *cause = NULL;
        int code = channel->options.reduce(channel->options.user, value, write, &cause);
        if (code == 0 && !cause)
                return 0;
        if (cause)
                code = aip_error_code(cause);
        return aip_error_wrap(err, cause, code < 0 ? code : AIP_EINTERNAL,
                              "the reducer of channel \"%s\" failed: %s", channel->name,
                              cause ? aip_error_message(cause) : aip_error_code_name(code));
}

/* A topic begins each step as an empty list. */
static int collect(aip_value **value, aip_value *write, aip_error **err)
{
        if (!*value && replace(value, aip_value_list(), err) < 0) {
                aip_value_unref(write);
                return AIP_ENOMEM;
        }
        return append(value, write, err);
}

/* Kinds whose value is not a list that grows. */
static int combine(const struct aip_graph_channel *channel, aip_value **value, aip_value *write,
                   aip_error **err)
{
        enum aip_channel_kind kind = channel->options.kind;
        if (aip_channel_is_single(channel))
                return replace(value, write, err);
        if (kind == AIP_CHANNEL_TOPIC)
                return collect(value, write, err);
        _cleanup_(aip_value_unref_p) aip_value *owned = write;
        const char *wanted = aip_channel_wants(kind, write);
        if (wanted)
                return fail_type(channel, wanted, write, err);
        if (kind == AIP_CHANNEL_ADD)
                return add(channel, value, write, err);
        if (kind == AIP_CHANNEL_REDUCER)
                return reduce(channel, value, write, err);
        owned = NULL;
        if (kind == AIP_CHANNEL_MERGE)
                return merge(value, write, err);
        return keep_extreme(value, write, kind == AIP_CHANNEL_MIN ? -1 : 1, err);
}

int aip_channel_apply(const struct aip_graph_channel *channel, aip_value **value, aip_value *write,
                      aip_error **err)
{
        if (channel->options.kind == AIP_CHANNEL_APPEND)
                return append(value, write, err);
        if (channel->options.kind == AIP_CHANNEL_MESSAGES) {
                int code = aip_messages_merge(value, write, err);
                aip_value_unref(write);
                return code;
        }
        int code = combine(channel, value, write, err);
        return code < 0 ? code : AIP_CHANNEL_REWRITTEN;
}

int aip_channel_overwrite(const struct aip_graph_channel *channel, aip_value **value,
                          aip_value *write, aip_error **err)
{
        const char *wanted = aip_channel_wants(channel->options.kind, write);
        if (!wanted)
                return replace(value, write, err);
        int code = fail_type(channel, wanted, write, err);
        aip_value_unref(write);
        return code;
}
