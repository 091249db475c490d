/*
 * Slots by configuration (fair_share.h). A list: a worker has few configurations at work at once.
 */
#include "fair_share.h"

#include "macros.h"
#include "mem.h"

static struct aip_slot_holder *holder_of(struct aip_list *node)
{
        return AIP_LIST_ENTRY(node, struct aip_slot_holder, link);
}

static struct aip_str name_of(const struct aip_slot_holder *holder)
{
        return aip_str_make(holder->name, holder->name_bytes);
}

void aip_fair_share_init(struct aip_fair_share *shares)
{
        aip_list_init(&shares->holders);
        shares->n_holders = 0;
}

static struct aip_slot_holder *holder_new(struct aip_fair_share *shares, struct aip_str name)
{
        struct aip_slot_holder *holder = aip_calloc(1, sizeof(*holder) + name.n);

        if (!holder)
                return NULL;
        memcpy(holder->name, name.p, name.n);
        holder->name_bytes = name.n;
        aip_list_append(&shares->holders, &holder->link);
        shares->n_holders++;
        return holder;
}

struct aip_slot_holder *aip_fair_share_enter(struct aip_fair_share *shares, struct aip_str name)
{
        struct aip_slot_holder *holder = NULL;

        AIP_LIST_FOREACH (node, &shares->holders)
                if (aip_str_eq(name_of(holder_of(node)), name))
                        holder = holder_of(node);
        if (!holder)
                holder = holder_new(shares, name);
        if (holder)
                holder->n++;
        return holder;
}

void aip_fair_share_leave(struct aip_fair_share *shares, struct aip_slot_holder *holder)
{
        if (!holder || --holder->n > 0)
                return;
        aip_list_remove(&holder->link);
        shares->n_holders--;
        aip_free(holder);
}

size_t aip_fair_share_most(const struct aip_fair_share *shares)
{
        size_t most = 0;

        AIP_LIST_FOREACH (node, &shares->holders)
                most = AIP_MAX(most, holder_of(node)->n);
        return most;
}

size_t aip_fair_share_full(const struct aip_fair_share *shares, size_t slots,
                           struct aip_str **ret_names)
{
        size_t part = (slots + shares->n_holders) / (shares->n_holders + 1), n = 0, bytes = 0;
        struct aip_str *names;
        char *text;

        AIP_LIST_FOREACH (node, &shares->holders)
                bytes += holder_of(node)->name_bytes;
        names = aip_alloc(shares->n_holders * sizeof(*names) + bytes + 1);
        if (!names)
                return 0;
        text = (char *)(names + shares->n_holders);
        AIP_LIST_FOREACH (node, &shares->holders) {
                const struct aip_slot_holder *holder = holder_of(node);

                if (holder->n < part)
                        continue;
                memcpy(text, holder->name, holder->name_bytes);
                names[n++] = aip_str_make(text, holder->name_bytes);
                text += holder->name_bytes;
        }
        *ret_names = names;
        return n;
}
