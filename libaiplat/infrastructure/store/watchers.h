/*
 * The watchers of a store, and the hints that gather for them until the loop's next turn. Used by
 * every store. Hints never fail: when memory is out, or too many gather, they become one
 * on_connected, "look at everything".
 */
#ifndef AIPLAT_STORE_WATCHERS_H
#define AIPLAT_STORE_WATCHERS_H

#include <aiplat/ports/job_repository.h>

#define AIP_HINTS_MAX 16384 /* ids of one kind; beyond: on_connected instead */

struct aip_hint_ids {
        struct aip_id *ids;
        size_t n, capacity;
};

/* Plain data; zeroed memory is empty. Whoever shares it between threads locks it. */
struct aip_hints {
        struct aip_hint_ids ended, cancelled;
        int is_catalog_changed;
        int must_look; /* on_connected */
};

/* What `transition` means to watchers, if anything. */
void aip_hints_note(struct aip_hints *hints, const struct aip_transition *transition);
/* Move all hints of `from` to `to`; `from` is empty afterwards. */
void aip_hints_move(struct aip_hints *to, struct aip_hints *from);
int aip_hints_is_empty(const struct aip_hints *hints);
void aip_hints_deinit(struct aip_hints *hints); /* empty and usable afterwards */

/* Loop thread only. Zeroed memory is empty. */
struct aip_watchers {
        struct aip_store_watcher *first;
        struct aip_store_watcher *upcoming; /* while telling: the next one to be told */
};

void aip_watchers_add(struct aip_watchers *watchers, struct aip_store_watcher *watcher);
/* Also from inside a watcher's call. */
void aip_watchers_remove(struct aip_watchers *watchers, struct aip_store_watcher *watcher);
/* Tell everybody; `hints` is borrowed. */
void aip_watchers_tell(struct aip_watchers *watchers, const struct aip_hints *hints);

#endif
