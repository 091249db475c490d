/*
 * A saver of your own: a run is kept in a journal, a line a save, and goes on from it after a crash, without
 * any service. Kill this program while it counts, start it again, and it goes on where it was: at the last
 * step that was kept, with what had finished of the step after it.
 *
 *     cc graph_saver.c $(pkg-config --cflags --libs aiplat) -o graph_saver
 *     ./graph_saver journal & sleep 1; kill -9 $!
 *     ./graph_saver journal
 */
#define _POSIX_C_SOURCE 200809L /* getline, fsync, ftruncate */
#include <aiplat/aiplat.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS 10

/* ---- the graph: __start__ → (fast, slow) → count → (fast, slow) … → __end__ ---- */

/* One execution of a worker; `user` is how many milliseconds it takes. */
struct work {
        struct aip_timer timer;
        aip_graph_task *task;
};

static void worked(struct aip_timer *timer)
{
        aip_graph_task *task = AIP_CONTAINER_OF(timer, struct work, timer)->task;

        printf("%s in step %d\n", aip_graph_task_node(task), (int)aip_graph_task_step(task));
        fflush(stdout);
        aip_graph_task_write(task, "sum", aip_value_int(1));
        aip_graph_task_finish(task, NULL, NULL);
}

static void start(void *user, aip_graph_task *task)
{
        struct work *work = aip_graph_task_memory(task);

        work->task = task;
        work->timer.fire = worked;
        aip_timer_set(aip_graph_task_loop(task), &work->timer, *(const int *)user);
}

static void cancel(void *user, aip_graph_task *task)
{
        struct work *work = aip_graph_task_memory(task);
        aip_error *err = NULL;

        (void)user;
        aip_timer_clear(aip_graph_task_loop(task), &work->timer);
        aip_error_set(&err, AIP_ECANCELLED, "stopped");
        aip_graph_task_finish(task, NULL, err);
}

static int count(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        aip_graph_task_write(task, "rounds", aip_value_int(1));
        return 0;
}

static int again_or_end(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user, (void)err;
        if (aip_value_as_int(aip_graph_route_get(route, "rounds"), 0) < ROUNDS) {
                aip_graph_route_to(route, "fast");
                aip_graph_route_to(route, "slow");
        } else {
                aip_graph_route_to(route, AIP_GRAPH_END);
        }
        return 0;
}

static int build(aip_graph **ret_graph, aip_error **err)
{
        static const char *const workers[] = {"fast", "slow"};
        static const char *const targets[] = {"fast", "slow", AIP_GRAPH_END};
        static int ms[] = {10, 100};
        struct aip_node_options node = AIP_NODE_OPTIONS_INIT;
        struct aip_router_options router = AIP_ROUTER_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();

        aip_graph_builder_add_channel(b, "sum", AIP_CHANNEL_ADD);
        aip_graph_builder_add_channel(b, "rounds", AIP_CHANNEL_ADD);
        node.start = start;
        node.cancel = cancel;
        node.task_bytes = sizeof(struct work);
        for (int i = 0; i < 2; i++) {
                node.user = &ms[i];
                aip_graph_builder_add_node(b, workers[i], &node);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, workers[i]);
        }
        aip_graph_builder_add_function(b, "count", count, NULL);
        aip_graph_builder_add_join(b, workers, 2, "count");
        router.route = again_or_end;
        router.targets = targets;
        router.n_targets = 3;
        aip_graph_builder_add_router(b, "count", &router);
        return aip_graph_compile(b, ret_graph, err);
}

/* ---- the saver: each save is a line of JSON, on the disk before the save is done ---- */

struct journal {
        struct aip_loop loop;
        FILE *file;
};

/* {"place": …, "changes": …} of a step, {"tasks": …} of finished tasks. (A saver that sets wants_whole now and
 * then has steps whose changes are all there is, and needs no line before them.) */
static int print_save(const struct aip_graph_save *save, struct aip_buf *text, aip_error **err)
{
        aip_value *line = aip_value_object();
        int code = line ? 0 : AIP_ENOMEM;

        if (code == 0 && save->kind == AIP_GRAPH_SAVE_TASKS)
                code = aip_value_object_set_cstr(&line, "tasks", aip_value_ref(save->tasks));
        if (code == 0 && save->kind == AIP_GRAPH_SAVE_STEP)
                code = aip_value_object_set_cstr(&line, "place", aip_value_ref(save->place));
        if (code == 0 && save->kind == AIP_GRAPH_SAVE_STEP)
                code = aip_value_object_set_cstr(&line, "changes", aip_value_ref(save->changes));
        code = code < 0 ? aip_error_set_nomem(err) : aip_value_print(line, text, err);
        aip_value_unref(line);
        return code;
}

static void save(void *self, struct aip_graph_save *save)
{
        struct journal *journal = self;
        struct aip_buf text = AIP_BUF_INIT(1 << 20);
        aip_error *err = NULL;

        if (print_save(save, &text, &err) == 0 &&
            (fprintf(journal->file, "%s\n", text.p) < 0 || fflush(journal->file) != 0 ||
             fsync(fileno(journal->file)) != 0))
                aip_error_set(&err, AIP_EIO, "the journal cannot be written");
        aip_buf_deinit(&text);
        aip_op_finish(journal->loop, &save->op, err); /* with an error the run fails */
}

static const struct aip_graph_saver_ops saver_ops = {sizeof(saver_ops), save};

/* ---- and back: an image of what the journal says ---- */

/* One line: a step takes the place of what stood there, and of the tasks said since. */
static int apply(const aip_value *line, aip_value **image, aip_value **channels,
                 aip_value **pending, aip_error **err)
{
        const aip_value *tasks = aip_value_get_cstr(line, "tasks");

        for (size_t i = 0; i < aip_value_size(tasks); i++)
                if (aip_value_list_append(pending, aip_value_ref(aip_value_at(tasks, i))) < 0)
                        return aip_error_set_nomem(err);
        if (tasks)
                return 0;
        aip_value_unref(*image);
        aip_value_unref(*pending);
        *image = aip_value_ref(aip_value_get_cstr(line, "place"));
        *pending = aip_value_list();
        if (!*pending)
                return aip_error_set_nomem(err);
        return aip_graph_apply_changes(channels, aip_value_get_cstr(line, "changes"), err);
}

static int apply_text(struct aip_str text, aip_value **image, aip_value **channels,
                      aip_value **pending, aip_error **err)
{
        aip_value *line = NULL;
        int code = aip_value_parse(text, &line, err);

        if (code == 0)
                code = apply(line, image, channels, pending, err);
        aip_value_unref(line);
        return code;
}

/* All lines. A last one without its end was being written when we died: it is cut off. */
static int replay(FILE *file, aip_value **image, aip_value **channels, aip_value **pending,
                  aip_error **err)
{
        char *text = NULL;
        size_t capacity = 0;
        ssize_t n;
        long good = 0;
        int code = 0;

        while (code == 0 && (n = getline(&text, &capacity, file)) > 0 && text[n - 1] == '\n') {
                code = apply_text((struct aip_str){text, (size_t)n}, image, channels, pending, err);
                good = ftell(file);
        }
        free(text);
        if (code == 0 && ftruncate(fileno(file), good) != 0)
                code = aip_error_set(err, AIP_EIO, "the journal cannot be mended");
        return code;
}

/* NULL in *ret_image: nothing was kept. */
static int load(FILE *file, aip_value **ret_image, aip_error **err)
{
        aip_value *image = NULL, *channels = aip_value_object(), *pending = aip_value_list();
        int code = channels && pending ? 0 : aip_error_set_nomem(err);

        if (code == 0)
                code = replay(file, &image, &channels, &pending, err);
        if (code == 0 && image &&
            (aip_value_object_set_cstr(&image, "channels", aip_value_ref(channels)) < 0 ||
             aip_value_object_set_cstr(&image, "pending", aip_value_ref(pending)) < 0))
                code = aip_error_set_nomem(err);
        aip_value_unref(channels);
        aip_value_unref(pending);
        if (code == 0)
                *ret_image = image;
        else
                aip_value_unref(image);
        return code;
}

/* ---- the program ---- */

static void run_done(struct aip_op *op)
{
        aip_uv_loop_stop(op->user);
}

static int run_on(aip_uv_loop *loop, const aip_graph *graph, const char *path, aip_error **err)
{
        struct journal journal = {.loop = aip_uv_loop_port(loop)};
        struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
        aip_value *image = NULL;

        journal.file = fopen(path, "a+"); /* is read first, and only ever added to */
        if (!journal.file)
                return aip_error_set(err, AIP_EIO, "%s cannot be opened", path);
        rewind(journal.file);
        if (load(journal.file, &image, err) < 0) {
                fclose(journal.file);
                return aip_error_code(*err);
        }
        printf("%s\n", image ? "going on" : "it is new");
        fflush(stdout);
        run.op.done = run_done;
        run.op.user = loop;
        run.graph = graph;
        run.image = image;
        run.saver = (struct aip_graph_saver){&saver_ops, &journal};
        aip_graph_run_start(journal.loop, &run);
        aip_uv_loop_run(loop);
        *err = run.op.err;
        if (!*err)
                printf("the sum is %d\n",
                       (int)aip_value_as_int(aip_value_get_cstr(run.ret_state, "sum"), -1));
        fclose(journal.file);
        aip_value_unref(run.ret_state);
        aip_value_unref(image);
        return aip_error_code(*err);
}

int main(int argc, char **argv)
{
        aip_uv_loop *loop = NULL;
        aip_graph *graph = NULL;
        aip_error *err = NULL;

        if (aip_uv_loop_new(&loop, &err) == 0 && build(&graph, &err) == 0)
                run_on(loop, graph, argc > 1 ? argv[1] : "journal", &err);
        int is_good = err == NULL;
        if (err)
                fprintf(stderr, "graph_saver: %s\n", aip_error_message(err));
        aip_graph_unref(graph);
        aip_uv_loop_free(loop);
        aip_error_free(err);
        return is_good ? 0 : 1;
}
