/*
 * Values: the JSON data model as reference-counted trees (aiplat/value.h). Called by everyone who
 * holds structured data. Knows nothing of JSON text; that is json.c.
 *
 * A string is one allocation. null, true and false are static and never counted, so they may be
 * shared by threads. A list is an array; an object is an array of members in insertion order, with
 * an index beside it once it has more than LINEAR_MAX members.
 */
#include "hash.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/value.h>
#include <math.h>

#define LINEAR_MAX        16
#define SMALLEST_CAPACITY 4
#define UNCOUNTED         UINT32_MAX
#define MEMBERS_MAX       ((size_t)1 << 31)

struct member {
        aip_value *key; /* a string */
        aip_value *value;
        uint64_t hash; /* of the key, set while the object has an index */
};

struct aip_value {
        uint32_t n_refs;
        enum aip_value_type type;
        union {
                int64_t integer; /* booleans too */
                double number;
                size_t n;             /* bytes of a string, items of a list, members of an object */
                aip_value *next_dead; /* while being freed */
        } as;
        /* a string's bytes follow, NUL-terminated */
};

struct list {
        struct aip_value base;
        size_t capacity;
        aip_value **items;
};

struct object {
        struct aip_value base;
        size_t capacity;
        struct member *members;
        uint32_t *slots;       /* position in `members` plus 1, 0: free; NULL up to LINEAR_MAX */
        size_t slots_capacity; /* a power of two, at least twice `capacity` */
};

static aip_value the_null = {.n_refs = UNCOUNTED, .type = AIP_VALUE_NULL};
static aip_value the_false = {.n_refs = UNCOUNTED, .type = AIP_VALUE_BOOL};
static aip_value the_true = {.n_refs = UNCOUNTED, .type = AIP_VALUE_BOOL, .as.integer = 1};

static char *string_bytes(const aip_value *value)
{
        return (char *)(value + 1);
}

/* `base` is the first member, so the same pointer serves. */
static struct list *as_list(const aip_value *value)
{
        return (struct list *)value;
}

static struct object *as_object(const aip_value *value)
{
        return (struct object *)value;
}

static aip_value *new_value(enum aip_value_type type, size_t bytes)
{
        aip_value *value = aip_calloc(1, bytes);
        if (!value)
                return NULL;
        value->n_refs = 1;
        value->type = type;
        return value;
}

aip_value *aip_value_null(void)
{
        return &the_null;
}

aip_value *aip_value_bool(int b)
{
        return b ? &the_true : &the_false;
}

aip_value *aip_value_int(int64_t i)
{
        aip_value *value = new_value(AIP_VALUE_INT, sizeof(aip_value));
        if (value)
                value->as.integer = i;
        return value;
}

aip_value *aip_value_double(double d)
{
        aip_value *value = new_value(AIP_VALUE_DOUBLE, sizeof(aip_value));
        if (value)
                value->as.number = d;
        return value;
}

aip_value *aip_value_string(struct aip_str s)
{
        aip_value *value = aip_alloc(sizeof(*value) + s.n + 1);
        if (!value)
                return NULL;
        value->n_refs = 1;
        value->type = AIP_VALUE_STRING;
        value->as.n = s.n;
        if (s.n)
                memcpy(string_bytes(value), s.p, s.n);
        string_bytes(value)[s.n] = '\0';
        return value;
}

aip_value *aip_value_list(void)
{
        return new_value(AIP_VALUE_LIST, sizeof(struct list));
}

aip_value *aip_value_object(void)
{
        return new_value(AIP_VALUE_OBJECT, sizeof(struct object));
}

aip_value *aip_value_ref(const aip_value *value)
{
        aip_value *counted = (aip_value *)value;
        if (counted && counted->n_refs != UNCOUNTED)
                counted->n_refs++;
        return counted;
}

/* Drop one reference; a value that has none left is put on the list of the dead. */
static void drop(aip_value *value, aip_value **dead)
{
        if (!value || value->n_refs == UNCOUNTED || --value->n_refs > 0)
                return;
        if (value->type < AIP_VALUE_LIST) {
                aip_free(value);
                return;
        }
        /* The link takes the place of `n`, which is kept in the count that nobody needs any more:
         * freeing is iterative, for trees made by programs may be deeper than the stack. */
        value->n_refs = (uint32_t)aip_value_size(value);
        value->as.next_dead = *dead;
        *dead = value;
}

static void drop_list(aip_value *value, aip_value **dead)
{
        for (uint32_t i = 0; i < value->n_refs; i++)
                drop(as_list(value)->items[i], dead);
        aip_free(as_list(value)->items);
}

static void drop_object(aip_value *value, aip_value **dead)
{
        for (uint32_t i = 0; i < value->n_refs; i++) {
                drop(as_object(value)->members[i].key, dead);
                drop(as_object(value)->members[i].value, dead);
        }
        aip_free(as_object(value)->members);
        aip_free(as_object(value)->slots);
}

void aip_value_unref(aip_value *value)
{
        aip_value *dead = NULL;
        drop(value, &dead);
        while (dead) {
                aip_value *next = dead;
                dead = next->as.next_dead;
                if (next->type == AIP_VALUE_LIST)
                        drop_list(next, &dead);
                else
                        drop_object(next, &dead);
                aip_free(next);
        }
}

enum aip_value_type aip_value_type(const aip_value *value)
{
        return value ? value->type : AIP_VALUE_NULL;
}

const char *aip_value_type_name(enum aip_value_type type)
{
        static const char *const names[] = {
                [AIP_VALUE_NULL] = "null",     [AIP_VALUE_BOOL] = "boolean",
                [AIP_VALUE_INT] = "integer",   [AIP_VALUE_DOUBLE] = "number",
                [AIP_VALUE_STRING] = "string", [AIP_VALUE_LIST] = "list",
                [AIP_VALUE_OBJECT] = "object",
        };
        return (size_t)type < AIP_ARRAY_SIZE(names) ? names[type] : "unknown";
}

int aip_value_as_bool(const aip_value *value, int fallback)
{
        return aip_value_type(value) == AIP_VALUE_BOOL ? (int)value->as.integer : fallback;
}

/* -2^63 and 2^63 are exact as doubles; the latter is out of range. */
static int is_integral(double d)
{
        return d >= -0x1p63 && d < 0x1p63 && d == trunc(d);
}

int64_t aip_value_as_int(const aip_value *value, int64_t fallback)
{
        if (aip_value_type(value) == AIP_VALUE_INT)
                return value->as.integer;
        if (aip_value_type(value) == AIP_VALUE_DOUBLE && is_integral(value->as.number))
                return (int64_t)value->as.number;
        return fallback;
}

double aip_value_as_double(const aip_value *value, double fallback)
{
        if (aip_value_type(value) == AIP_VALUE_DOUBLE)
                return value->as.number;
        if (aip_value_type(value) == AIP_VALUE_INT)
                return (double)value->as.integer;
        return fallback;
}

struct aip_str aip_value_as_string(const aip_value *value)
{
        if (aip_value_type(value) != AIP_VALUE_STRING)
                return aip_str_make(NULL, 0);
        return aip_str_make(string_bytes(value), value->as.n);
}

size_t aip_value_size(const aip_value *value)
{
        return aip_value_type(value) >= AIP_VALUE_LIST ? value->as.n : 0;
}

const aip_value *aip_value_at(const aip_value *list, size_t index)
{
        if (aip_value_type(list) != AIP_VALUE_LIST || index >= list->as.n)
                return NULL;
        return as_list(list)->items[index];
}

static struct aip_str key_of(const struct member *member)
{
        return aip_value_as_string(member->key);
}

static struct member *find_linear(const struct object *object, struct aip_str key)
{
        for (size_t i = 0; i < object->base.as.n; i++)
                if (aip_str_eq(key_of(&object->members[i]), key))
                        return &object->members[i];
        return NULL;
}

static struct member *find_hashed(const struct object *object, struct aip_str key)
{
        uint64_t hash = aip_hash_bytes(key.p, key.n);
        size_t mask = object->slots_capacity - 1;
        for (size_t slot = hash & mask; object->slots[slot]; slot = (slot + 1) & mask) {
                struct member *member = &object->members[object->slots[slot] - 1];
                if (member->hash == hash && aip_str_eq(key_of(member), key))
                        return member;
        }
        return NULL;
}

static struct member *find(const struct object *object, struct aip_str key)
{
        return object->slots ? find_hashed(object, key) : find_linear(object, key);
}

const aip_value *aip_value_get(const aip_value *object, struct aip_str key)
{
        if (aip_value_type(object) != AIP_VALUE_OBJECT)
                return NULL;
        struct member *member = find(as_object(object), key);
        return member ? member->value : NULL;
}

const aip_value *aip_value_get_cstr(const aip_value *object, const char *key)
{
        return aip_value_get(object, aip_str_of(key));
}

const aip_value *aip_value_member(const aip_value *object, size_t index, struct aip_str *ret_key)
{
        if (aip_value_type(object) != AIP_VALUE_OBJECT || index >= object->as.n)
                return NULL;
        const struct member *member = &as_object(object)->members[index];
        if (ret_key)
                *ret_key = key_of(member);
        return member->value;
}

/* ---- changes ---- */

static void index_member(struct object *object, size_t position)
{
        struct aip_str key = key_of(&object->members[position]);
        uint64_t hash = aip_hash_bytes(key.p, key.n);
        size_t mask = object->slots_capacity - 1;
        size_t slot = hash & mask;
        while (object->slots[slot])
                slot = (slot + 1) & mask;
        object->slots[slot] = (uint32_t)position + 1;
        object->members[position].hash = hash;
}

static void index_all(struct object *object)
{
        memset(object->slots, 0, object->slots_capacity * sizeof(*object->slots));
        for (size_t i = 0; i < object->base.as.n; i++)
                index_member(object, i);
}

/* An index for `capacity` members (a power of two), at most half full. */
static int make_index(struct object *object, size_t capacity)
{
        uint32_t *slots = aip_calloc(capacity * 2, sizeof(*slots));
        if (!slots)
                return AIP_ENOMEM;
        aip_free(object->slots);
        object->slots = slots;
        object->slots_capacity = capacity * 2;
        index_all(object);
        return 0;
}

static int reserve_member(struct object *object)
{
        if (object->base.as.n < object->capacity)
                return 0;
        if (object->base.as.n >= MEMBERS_MAX)
                return AIP_ENOMEM;
        size_t capacity = AIP_MAX(object->capacity * 2, (size_t)SMALLEST_CAPACITY);
        struct member *members = aip_realloc_array(object->members, capacity, sizeof(*members));
        if (!members)
                return AIP_ENOMEM;
        object->members = members;
        if (capacity > LINEAR_MAX && make_index(object, capacity) < 0)
                return AIP_ENOMEM; /* `capacity` stays: the longer block does no harm */
        object->capacity = capacity;
        return 0;
}

static int reserve_item(struct list *list)
{
        if (list->base.as.n < list->capacity)
                return 0;
        if (list->base.as.n >= MEMBERS_MAX)
                return AIP_ENOMEM;
        size_t capacity = AIP_MAX(list->capacity * 2, (size_t)SMALLEST_CAPACITY);
        aip_value **items = aip_realloc_array(list->items, capacity, sizeof(*items));
        if (!items)
                return AIP_ENOMEM;
        list->items = items;
        list->capacity = capacity;
        return 0;
}

/* Consumes `key` and `value` on success. The key must be new. */
static int add_member(struct object *object, aip_value *key, aip_value *value)
{
        if (reserve_member(object) < 0)
                return AIP_ENOMEM;
        object->members[object->base.as.n++] = (struct member){.key = key, .value = value};
        if (object->slots)
                index_member(object, object->base.as.n - 1);
        return 0;
}

static int copy_items(const struct list *from, struct list *to)
{
        for (size_t i = 0; i < from->base.as.n; i++) {
                if (reserve_item(to) < 0)
                        return AIP_ENOMEM;
                to->items[to->base.as.n++] = aip_value_ref(from->items[i]);
        }
        return 0;
}

static int copy_members(const struct object *from, struct object *to)
{
        for (size_t i = 0; i < from->base.as.n; i++) {
                if (reserve_member(to) < 0)
                        return AIP_ENOMEM;
                add_member(to, aip_value_ref(from->members[i].key),
                           aip_value_ref(from->members[i].value));
        }
        return 0;
}

/* The value itself when nobody else holds it, else a shallow copy; NULL when out of memory. */
static aip_value *to_change(aip_value *value)
{
        if (value->n_refs == 1)
                return value;
        aip_value *copy = value->type == AIP_VALUE_LIST ? aip_value_list() : aip_value_object();
        if (!copy)
                return NULL;
        int r = value->type == AIP_VALUE_LIST ? copy_items(as_list(value), as_list(copy))
                                              : copy_members(as_object(value), as_object(copy));
        if (r == 0)
                return copy;
        aip_value_unref(copy);
        return NULL;
}

/* End a change of *value made on `changed`, which came from to_change(). */
static int commit(aip_value **value, aip_value *changed)
{
        if (changed != *value) {
                aip_value_unref(*value);
                *value = changed;
        }
        return 0;
}

static int abandon(aip_value *const *value, aip_value *changed)
{
        if (changed != *value)
                aip_value_unref(changed);
        return AIP_ENOMEM;
}

int aip_value_list_append(aip_value **value, aip_value *child)
{
        assert(aip_value_type(*value) == AIP_VALUE_LIST);
        _cleanup_(aip_value_unref_p) aip_value *owned = child;
        aip_value *changed = owned ? to_change(*value) : NULL;
        if (!changed)
                return AIP_ENOMEM;
        if (reserve_item(as_list(changed)) < 0)
                return abandon(value, changed);
        as_list(changed)->items[changed->as.n++] = AIP_TAKE(owned);
        return commit(value, changed);
}

/* Consumes `child` on success. */
static int set_member(struct object *object, struct aip_str key, aip_value *child)
{
        struct member *member = find(object, key);
        if (member) {
                aip_value_unref(member->value);
                member->value = child;
                return 0;
        }
        aip_value *key_value = aip_value_string(key);
        if (!key_value)
                return AIP_ENOMEM;
        if (add_member(object, key_value, child) < 0) {
                aip_value_unref(key_value);
                return AIP_ENOMEM;
        }
        return 0;
}

int aip_value_object_set(aip_value **value, struct aip_str key, aip_value *child)
{
        assert(aip_value_type(*value) == AIP_VALUE_OBJECT);
        _cleanup_(aip_value_unref_p) aip_value *owned = child;
        aip_value *changed = owned ? to_change(*value) : NULL;
        if (!changed)
                return AIP_ENOMEM;
        if (set_member(as_object(changed), key, owned) < 0)
                return abandon(value, changed);
        owned = NULL;
        return commit(value, changed);
}

int aip_value_object_set_cstr(aip_value **value, const char *key, aip_value *child)
{
        return aip_value_object_set(value, aip_str_of(key), child);
}

int aip_value_object_remove(aip_value **value, struct aip_str key)
{
        assert(aip_value_type(*value) == AIP_VALUE_OBJECT);
        if (!find(as_object(*value), key))
                return 0;
        aip_value *changed = to_change(*value);
        if (!changed)
                return AIP_ENOMEM;
        struct object *object = as_object(changed);
        struct member *member = find(object, key);
        struct member gone = *member;
        size_t n_after = (size_t)(object->members + object->base.as.n - member) - 1;
        memmove(member, member + 1, n_after * sizeof(*member));
        object->base.as.n--;
        if (object->slots)
                index_all(object);
        aip_value_unref(gone.key);
        aip_value_unref(gone.value);
        return commit(value, changed);
}

/* ---- equality ---- */

static int lists_equal(const struct list *a, const struct list *b)
{
        for (size_t i = 0; i < a->base.as.n; i++)
                if (!aip_value_equal(a->items[i], b->items[i]))
                        return 0;
        return 1;
}

static int objects_equal(const struct object *a, const struct object *b)
{
        for (size_t i = 0; i < a->base.as.n; i++) {
                const struct member *other = find(b, key_of(&a->members[i]));
                if (!other || !aip_value_equal(a->members[i].value, other->value))
                        return 0;
        }
        return 1;
}

static int is_number(enum aip_value_type type)
{
        return type == AIP_VALUE_INT || type == AIP_VALUE_DOUBLE;
}

/* An integer and a double are equal when the double is that very integer. */
static int numbers_equal(const aip_value *a, const aip_value *b)
{
        if (a->type == b->type)
                return a->type == AIP_VALUE_INT ? a->as.integer == b->as.integer
                                                : a->as.number == b->as.number;
        const aip_value *integer = a->type == AIP_VALUE_INT ? a : b;
        double number = a->type == AIP_VALUE_DOUBLE ? a->as.number : b->as.number;
        return is_integral(number) && (int64_t)number == integer->as.integer;
}

int aip_value_equal(const aip_value *a, const aip_value *b)
{
        enum aip_value_type type = aip_value_type(a);
        if (is_number(type) && is_number(aip_value_type(b)))
                return numbers_equal(a, b);
        if (type != aip_value_type(b) || aip_value_size(a) != aip_value_size(b))
                return 0;
        if (type == AIP_VALUE_NULL || a == b)
                return 1;
        if (type == AIP_VALUE_BOOL)
                return a->as.integer == b->as.integer;
        if (type == AIP_VALUE_STRING)
                return aip_str_eq(aip_value_as_string(a), aip_value_as_string(b));
        return type == AIP_VALUE_LIST ? lists_equal(as_list(a), as_list(b))
                                      : objects_equal(as_object(a), as_object(b));
}

/* Copies. */

static aip_value *copy_list(const aip_value *list)
{
        aip_value *copy = aip_value_list();
        size_t n = aip_value_size(list);
        for (size_t i = 0; copy && i < n; i++) {
                if (aip_value_list_append(&copy, aip_value_copy_deep(aip_value_at(list, i))) < 0) {
                        aip_value_unref(copy);
                        return NULL;
                }
        }
        return copy;
}

static aip_value *copy_object(const aip_value *object)
{
        aip_value *copy = aip_value_object();
        size_t n = aip_value_size(object);
        for (size_t i = 0; copy && i < n; i++) {
                struct aip_str key;
                const aip_value *member = aip_value_member(object, i, &key);
                if (aip_value_object_set(&copy, key, aip_value_copy_deep(member)) < 0) {
                        aip_value_unref(copy);
                        return NULL;
                }
        }
        return copy;
}

aip_value *aip_value_copy_deep(const aip_value *value)
{
        switch (aip_value_type(value)) {
        case AIP_VALUE_NULL:
                return aip_value_null();
        case AIP_VALUE_BOOL:
                return aip_value_bool(aip_value_as_bool(value, 0));
        case AIP_VALUE_INT:
                return aip_value_int(aip_value_as_int(value, 0));
        case AIP_VALUE_DOUBLE:
                return aip_value_double(aip_value_as_double(value, 0));
        case AIP_VALUE_STRING:
                return aip_value_string(aip_value_as_string(value));
        case AIP_VALUE_LIST:
                return copy_list(value);
        case AIP_VALUE_OBJECT:
                return copy_object(value);
        }
        return NULL;
}
