/* Unacknowledged deliveries of one channel (see rabbitmq_outstanding.h). */
#include "rabbitmq_outstanding.h"

#include "mem.h"

#include <aiplat/error.h>

int rabbitmq_outstanding_init(struct rabbitmq_outstanding *outstanding, size_t n)
{
        /* Twice: the holes of those acknowledged out of order are squeezed out when it is full. */
        *outstanding = (struct rabbitmq_outstanding){.capacity = 2 * n};
        outstanding->tags = aip_calloc(outstanding->capacity, sizeof(*outstanding->tags));
        return outstanding->tags ? 0 : AIP_ENOMEM;
}

void rabbitmq_outstanding_deinit(struct rabbitmq_outstanding *outstanding)
{
        aip_free(outstanding->tags);
        *outstanding = (struct rabbitmq_outstanding){0};
}

static void squeeze(struct rabbitmq_outstanding *outstanding)
{
        size_t to = 0;
        for (size_t i = outstanding->first; i < outstanding->end; i++)
                if (!outstanding->tags[i].is_acknowledged)
                        outstanding->tags[to++] = outstanding->tags[i];
        outstanding->first = 0;
        outstanding->end = to;
}

int rabbitmq_outstanding_add(struct rabbitmq_outstanding *outstanding, uint64_t tag)
{
        if (outstanding->end == outstanding->capacity)
                squeeze(outstanding);
        if (outstanding->end == outstanding->capacity)
                return AIP_ELIMIT;
        outstanding->tags[outstanding->end++] = (struct rabbitmq_outstanding_tag){.tag = tag};
        return 0;
}

static int compare_tags(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
        return (x > y) - (x < y);
}

/* Index of the first outstanding tag at or above `tag`, from `from` on. */
static size_t find(const struct rabbitmq_outstanding *outstanding, size_t from, uint64_t tag)
{
        size_t low = from, high = outstanding->end;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (outstanding->tags[middle].tag < tag)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* Mark the longest run of `tags` that begins at the front; the last of them stands for all. Returns
 * how many of `tags` were used up. */
static size_t take_front(struct rabbitmq_outstanding *outstanding, const uint64_t *tags, size_t n,
                         uint64_t *ret_last)
{
        size_t used = 0;
        *ret_last = 0;
        while (outstanding->first < outstanding->end) {
                const struct rabbitmq_outstanding_tag *front;
                front = &outstanding->tags[outstanding->first];
                while (used < n && tags[used] < front->tag)
                        used++;
                int is_named = used < n && tags[used] == front->tag;
                if (!is_named && !front->is_acknowledged)
                        break;
                if (is_named && !front->is_acknowledged)
                        *ret_last = front->tag;
                outstanding->first++;
        }
        return used;
}

int rabbitmq_outstanding_acknowledge(struct rabbitmq_outstanding *outstanding, uint64_t *tags,
                                     size_t n,
                                     int (*send)(void *user, uint64_t tag, int is_multiple),
                                     void *user)
{
        qsort(tags, n, sizeof(*tags), compare_tags);
        uint64_t last;
        size_t used = take_front(outstanding, tags, n, &last);
        int r = last ? send(user, last, 1) : 0;
        size_t at = outstanding->first;
        for (size_t i = used; i < n && r >= 0; i++) {
                at = find(outstanding, at, tags[i]);
                if (at == outstanding->end)
                        break;
                struct rabbitmq_outstanding_tag *found = &outstanding->tags[at];
                if (found->tag != tags[i] || found->is_acknowledged)
                        continue;
                found->is_acknowledged = 1;
                r = send(user, tags[i], 0);
        }
        return r;
}
