/*
 * Watchers and hints; see watchers.h. Called by the stores. Must never lose a change silently: what
 * cannot be told exactly is told as "look at everything".
 */
#include "store/watchers.h"

#include "macros.h"
#include "mem.h"

static int ids_add(struct aip_hint_ids *list, const struct aip_id *ids, size_t n)
{
        if (list->n + n > AIP_HINTS_MAX)
                return AIP_ELIMIT;
        if (list->n + n > list->capacity) {
                size_t capacity = AIP_MAX(2 * list->capacity, list->n + n);
                struct aip_id *grown = aip_realloc_array(list->ids, capacity, sizeof(*list->ids));
                if (!grown)
                        return AIP_ENOMEM;
                list->ids = grown;
                list->capacity = capacity;
        }
        if (n > 0)
                memcpy(list->ids + list->n, ids, n * sizeof(*ids));
        list->n += n;
        return 0;
}

static void ids_deinit(struct aip_hint_ids *list)
{
        aip_free(list->ids);
        *list = (struct aip_hint_ids){0};
}

void aip_hints_note(struct aip_hints *hints, const struct aip_transition *transition)
{
        if (!aip_job_status_is_at_rest(transition->to))
                return;
        if (ids_add(&hints->ended, &transition->job_id, 1) < 0)
                hints->must_look = 1;
        if (transition->to == AIP_JOB_CANCELLED &&
            ids_add(&hints->cancelled, &transition->job_id, 1) < 0)
                hints->must_look = 1;
}

void aip_hints_move(struct aip_hints *to, struct aip_hints *from)
{
        if (aip_hints_is_empty(to)) {
                aip_hints_deinit(to);
                *to = *from;
                *from = (struct aip_hints){0};
                return;
        }
        if (ids_add(&to->ended, from->ended.ids, from->ended.n) < 0 ||
            ids_add(&to->cancelled, from->cancelled.ids, from->cancelled.n) < 0)
                to->must_look = 1;
        to->is_catalog_changed |= from->is_catalog_changed;
        to->must_look |= from->must_look;
        aip_hints_deinit(from);
}

int aip_hints_is_empty(const struct aip_hints *hints)
{
        return hints->ended.n == 0 && hints->cancelled.n == 0 && !hints->is_catalog_changed &&
               !hints->must_look;
}

void aip_hints_deinit(struct aip_hints *hints)
{
        ids_deinit(&hints->ended);
        ids_deinit(&hints->cancelled);
        hints->is_catalog_changed = hints->must_look = 0;
}

void aip_watchers_add(struct aip_watchers *watchers, struct aip_store_watcher *watcher)
{
        watcher->next = watchers->first;
        watchers->first = watcher;
}

void aip_watchers_remove(struct aip_watchers *watchers, struct aip_store_watcher *watcher)
{
        struct aip_store_watcher **link = &watchers->first;

        while (*link && *link != watcher)
                link = &(*link)->next;
        if (!*link)
                return;
        if (watchers->upcoming == watcher)
                watchers->upcoming = watcher->next;
        *link = watcher->next;
        watcher->next = NULL;
}

static int is_watching(const struct aip_watchers *watchers, const struct aip_store_watcher *watcher)
{
        const struct aip_store_watcher *w = watchers->first;

        while (w && w != watcher)
                w = w->next;
        return w != NULL;
}

/* One watcher; each of its calls may unwatch it, and with that free it. */
static void tell_one(struct aip_watchers *watchers, struct aip_store_watcher *watcher,
                     const struct aip_hints *hints)
{
        if (hints->must_look && watcher->on_connected)
                watcher->on_connected(watcher);
        if (hints->is_catalog_changed && is_watching(watchers, watcher) &&
            watcher->on_catalog_changed)
                watcher->on_catalog_changed(watcher);
        if (hints->cancelled.n > 0 && is_watching(watchers, watcher) && watcher->on_jobs_cancelled)
                watcher->on_jobs_cancelled(watcher, hints->cancelled.ids, hints->cancelled.n);
        if (hints->ended.n > 0 && is_watching(watchers, watcher) && watcher->on_jobs_ended)
                watcher->on_jobs_ended(watcher, hints->ended.ids, hints->ended.n);
}

void aip_watchers_tell(struct aip_watchers *watchers, const struct aip_hints *hints)
{
        struct aip_store_watcher *watcher = watchers->first;

        while (watcher) {
                watchers->upcoming = watcher->next;
                tell_one(watchers, watcher, hints);
                watcher = watchers->upcoming;
        }
        watchers->upcoming = NULL;
}
