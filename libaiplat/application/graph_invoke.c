/*
 * Invokes graphs whose nodes are asynchronous or graphs themselves, or whose run is watched: as runs like any
 * other, on a loop of their own in the calling thread (graph_invoke.h). Called by the graph runner. It must never
 * return before the run is over.
 */
#include "graph_invoke.h"

#include "macros.h"
#include "thread_loop.h"

struct invocation {
        struct aip_graph_run run;
        int is_done;
};

static void done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct invocation, run.op)->is_done = 1;
}

static void fill(struct invocation *i, const aip_graph *graph, const aip_value *input,
                 const struct aip_graph_invoke_options *o)
{
        *i = (struct invocation){.run = AIP_GRAPH_RUN_INIT};
        i->run.op.done = done;
        i->run.graph = graph;
        i->run.input = input;
        i->run.context = o->context;
        i->run.step_limit = o->step_limit;
        i->run.image = o->image;
        i->run.answers = o->answers;
        i->run.wants_image = o->ret_image != NULL;
        i->run.interrupt_before = o->interrupt_before;
        i->run.n_interrupt_before = o->n_interrupt_before;
        i->run.interrupt_after = o->interrupt_after;
        i->run.n_interrupt_after = o->n_interrupt_after;
        i->run.observer = o->observer;
}

int aip_graph_invoke_unexpected(aip_error **err)
{
        return aip_error_set(err, AIP_ESTATE,
                             "the run was interrupted, and its caller expects no questions");
}

/* What the run has left behind goes to the caller, or nothing of it does. */
static int hand_out(struct aip_graph_run *run, const struct aip_graph_invoke_options *o,
                    aip_value **ret_state, aip_error **err)
{
        if (run->op.err)
                return aip_error_propagate(err, AIP_TAKE(run->op.err));
        if (run->ret_outcome == AIP_GRAPH_INTERRUPTED && !o->ret_questions)
                return aip_graph_invoke_unexpected(err);
        *ret_state = AIP_TAKE(run->ret_state);
        if (o->ret_questions && run->ret_questions)
                *o->ret_questions = AIP_TAKE(run->ret_questions);
        if (o->ret_image)
                *o->ret_image = AIP_TAKE(run->ret_image);
        return 0;
}

int aip_graph_invoke_on_loop(const aip_graph *graph, const aip_value *input,
                             const struct aip_graph_invoke_options *o, aip_value **ret_state,
                             aip_error **err)
{
        struct aip_thread_loop loop;
        struct invocation i;
        int r;

        fill(&i, graph, input, o);
        aip_thread_loop_init(&loop);
        aip_graph_run_start(aip_thread_loop_port(&loop), &i.run);
        aip_thread_loop_run(&loop, &i.is_done);
        aip_thread_loop_deinit(&loop);
        if (o->ret_steps)
                *o->ret_steps = i.run.ret_steps;
        r = hand_out(&i.run, o, ret_state, err);
        aip_value_unref(i.run.ret_state);
        aip_value_unref(i.run.ret_questions);
        aip_value_unref(i.run.ret_image);
        return r;
}
