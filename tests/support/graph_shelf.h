/*
 * A saver of graph runs for tests: it keeps what a store would, as text, and can die at any moment. Needs
 * graph_fixture.h; a run goes on from shelf_image().
 */
#ifndef TESTS_SUPPORT_GRAPH_SHELF_H
#define TESTS_SUPPORT_GRAPH_SHELF_H

#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/graph_run.h>

/* A saver that takes its time, and dies with the process: what is in flight then is lost. */
struct shelf {
        struct aip_loop loop;
        aip_value *place, *channels, *pending; /* NULL: nothing was saved */
        struct aip_graph_save *save;           /* in flight */
        struct aip_timer timer;
        int64_t delay_ms;
        int is_dead, n_saves, n_fail_at, wants_whole;
};

/* As a store would have it: through text. */
static inline aip_value *through_text(const aip_value *value)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 20);
        aip_value *copy = NULL;
        cr_assert_eq(aip_value_print(value, &text, NULL), 0);
        cr_assert_eq(aip_value_parse(aip_buf_str(&text), &copy, NULL), 0);
        aip_buf_deinit(&text);
        return copy;
}

static inline void keep_step(struct shelf *shelf, const struct aip_graph_save *save)
{
        aip_value *changes = through_text(save->changes);
        if (!shelf->channels || save->is_whole) {
                aip_value_unref(shelf->channels);
                shelf->channels = aip_value_object();
        }
        cr_assert_eq(aip_graph_apply_changes(&shelf->channels, changes, NULL), 0);
        aip_value_unref(changes);
        aip_value_unref(shelf->place);
        aip_value_unref(AIP_TAKE(shelf->pending));
        shelf->place = through_text(save->place);
}

static inline void keep_tasks(struct shelf *shelf, const struct aip_graph_save *save)
{
        aip_value *tasks = through_text(save->tasks);
        if (!shelf->pending)
                shelf->pending = aip_value_list();
        for (size_t i = 0; i < aip_value_size(tasks); i++)
                cr_assert_eq(aip_value_list_append(&shelf->pending,
                                                   aip_value_ref(aip_value_at(tasks, i))),
                             0);
        aip_value_unref(tasks);
}

static inline void shelf_saved(struct aip_timer *timer)
{
        struct shelf *shelf = AIP_CONTAINER_OF(timer, struct shelf, timer);
        struct aip_graph_save *save = AIP_TAKE(shelf->save);
        aip_error *err = NULL;
        int is_refused = shelf->is_dead || ++shelf->n_saves == shelf->n_fail_at;

        if (is_refused)
                aip_error_set(&err, AIP_ESTATE, "refused");
        else if (save->kind == AIP_GRAPH_SAVE_STEP)
                keep_step(shelf, save);
        else
                keep_tasks(shelf, save);
        save->wants_whole = shelf->wants_whole && shelf->n_saves % 2;
        aip_op_finish(shelf->loop, &save->op, err);
}

static inline void shelf_save(void *self, struct aip_graph_save *save)
{
        struct shelf *shelf = self;
        cr_assert_null(shelf->save, "two saves at once");
        shelf->save = save;
        shelf->timer.fire = shelf_saved;
        aip_timer_set(shelf->loop, &shelf->timer, shelf->delay_ms);
}

static const struct aip_graph_saver_ops shelf_ops = {sizeof(shelf_ops), shelf_save};

/* The image of what was saved; NULL: nothing was. Owned by caller. */
static inline aip_value *shelf_image(const struct shelf *shelf)
{
        if (!shelf->place)
                return NULL;
        aip_value *image = through_text(shelf->place);
        cr_assert_eq(aip_value_object_set_cstr(&image, "channels", aip_value_ref(shelf->channels)),
                     0);
        if (shelf->pending)
                cr_assert_eq(
                        aip_value_object_set_cstr(&image, "pending", aip_value_ref(shelf->pending)),
                        0);
        return image;
}

static inline void shelf_clear(struct shelf *shelf)
{
        aip_value_unref(AIP_TAKE(shelf->place));
        aip_value_unref(AIP_TAKE(shelf->channels));
        aip_value_unref(AIP_TAKE(shelf->pending));
}

#endif
