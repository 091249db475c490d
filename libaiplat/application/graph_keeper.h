/*
 * Those who watch a run (its observer) and who keep it (its saver): what they are told, and the save in
 * flight. For the graph runner alone, which says when; loop thread only. Costs nothing but a test of a flag
 * when a run has neither.
 */
#ifndef AIPLAT_APPLICATION_GRAPH_KEEPER_H
#define AIPLAT_APPLICATION_GRAPH_KEEPER_H

#include "graph/graph_step.h"
#include <aiplat/graph_run.h>

struct aip_graph_keeper {
        struct aip_graph_run *run;     /* borrowed */
        struct aip_graph_state *state; /* borrowed */
        struct aip_loop loop;
        /* A save has ended; `err` says how. Never from within a call. */
        void (*saved)(struct aip_graph_keeper *keeper);

        int is_needed;    /* there is an observer or a saver */
        int is_saving;    /* one in flight */
        int has_unsaved;  /* steps that were merged and not saved: durability exit */
        int is_incomplete; /* their changes were told to the observer: only a whole save holds them all */
        aip_error *err;   /* of a save that failed; owned */
        struct aip_graph_save save;
        aip_value *place, *changes, *tasks; /* the save's */
};

void aip_graph_keeper_init(struct aip_graph_keeper *keeper, struct aip_loop loop,
                           struct aip_graph_run *run, struct aip_graph_state *state);
/* No save may be in flight. */
void aip_graph_keeper_deinit(struct aip_graph_keeper *keeper);

/* Whether steps are to be kept as they pass, or when the run ends. */
static inline int aip_graph_keeper_saves(const struct aip_graph_keeper *keeper)
{
        return keeper->run->saver.ops != NULL;
}

int aip_graph_keeper_tell_started(struct aip_graph_keeper *keeper, aip_error **err);
int aip_graph_keeper_tell_ended(struct aip_graph_keeper *keeper, const aip_graph_task *task,
                                aip_error **err);
void aip_graph_keeper_tell_custom(struct aip_graph_keeper *keeper, const aip_graph_task *task,
                                  const aip_value *value);

/* The input was written, or a step was merged: tell, and begin to save. No save may be in flight. */
int aip_graph_keeper_step(struct aip_graph_keeper *keeper, int is_input, aip_error **err);
/* The run is about to end: what is not saved yet. None may be in flight. */
int aip_graph_keeper_last(struct aip_graph_keeper *keeper, aip_error **err);
/* Begin to save what tasks of this step have said. Does nothing when there is nothing, or a save is in flight. */
int aip_graph_keeper_tasks(struct aip_graph_keeper *keeper, aip_error **err);
/* Whether some have said what is not on its way to the saver. */
int aip_graph_keeper_has_tasks(const struct aip_graph_keeper *keeper);

#endif
