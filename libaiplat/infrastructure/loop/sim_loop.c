/*
 * The loop on a virtual clock. Used by simulations and tests, which drive it one event at a time.
 * It reads no real clock and waits for nothing; time moves only from one timer to the next. post()
 * may be called from other threads, as on a real loop, though then a run is no longer reproducible.
 */
#include "mem.h"
#include "task_list.h"
#include "timer_queue.h"
#include <aiplat/loops.h>
#include <pthread.h>

struct aip_sim_loop {
        int64_t now_ms;
        int64_t wall_start_us;
        struct aip_timer_queue timers;
        pthread_mutex_t lock;
        struct task_list tasks; /* locked */
};

static int64_t sim_now_ms(void *self)
{
        struct aip_sim_loop *loop = self;
        return loop->now_ms;
}

static int64_t sim_wall_us(void *self)
{
        struct aip_sim_loop *loop = self;
        return loop->wall_start_us + loop->now_ms * 1000;
}

static void sim_post(void *self, struct aip_task *task)
{
        struct aip_sim_loop *loop = self;
        if (!task_claim(task))
                return;
        pthread_mutex_lock(&loop->lock);
        task_list_append(&loop->tasks, task);
        pthread_mutex_unlock(&loop->lock);
}

static void sim_undefer(void *self, struct aip_task *task)
{
        struct aip_sim_loop *loop = self;
        pthread_mutex_lock(&loop->lock);
        if (task_list_remove(&loop->tasks, task))
                task_release(task);
        pthread_mutex_unlock(&loop->lock);
}

static void sim_timer_set(void *self, struct aip_timer *timer, int64_t delay_ms)
{
        struct aip_sim_loop *loop = self;
        aip_timer_queue_set(&loop->timers, timer, loop->now_ms + (delay_ms > 0 ? delay_ms : 0));
}

static void sim_timer_clear(void *self, struct aip_timer *timer)
{
        struct aip_sim_loop *loop = self;
        aip_timer_queue_remove(&loop->timers, timer);
}

static int sim_watch_set(void *self, struct aip_watch *watch, unsigned events, aip_error **err)
{
        (void)self;
        (void)watch;
        if (events == 0)
                return 0;
        return aip_error_set(err, AIP_EUNSUPPORTED, "the virtual loop has no file descriptors");
}

static const struct aip_loop_ops sim_ops = {
        .self_size = sizeof(sim_ops),
        .now_ms = sim_now_ms,
        .wall_us = sim_wall_us,
        .defer = sim_post,
        .undefer = sim_undefer,
        .post = sim_post,
        .timer_set = sim_timer_set,
        .timer_clear = sim_timer_clear,
        .watch_set = sim_watch_set,
};

int aip_sim_loop_new(int64_t wall_us, aip_sim_loop **ret_loop, aip_error **err)
{
        aip_sim_loop *loop = aip_calloc(1, sizeof(*loop));
        if (!loop)
                return aip_error_set_nomem(err);
        loop->wall_start_us = wall_us;
        pthread_mutex_init(&loop->lock, NULL);
        *ret_loop = loop;
        return 0;
}

struct aip_loop aip_sim_loop_port(aip_sim_loop *loop)
{
        return (struct aip_loop){&sim_ops, loop};
}

static struct aip_task *take_task(aip_sim_loop *loop)
{
        pthread_mutex_lock(&loop->lock);
        struct aip_task *task = task_list_pop(&loop->tasks);
        pthread_mutex_unlock(&loop->lock);
        if (task)
                task_release(task);
        return task;
}

/* The clock never steps back: a timer that is overdue fires now. */
static int fire_next_timer(aip_sim_loop *loop)
{
        struct aip_timer *timer = aip_timer_queue_first(&loop->timers);
        if (!timer)
                return 0;
        aip_timer_queue_remove(&loop->timers, timer);
        if (timer->due_ms > loop->now_ms)
                loop->now_ms = timer->due_ms;
        timer->fire(timer);
        return 1;
}

int aip_sim_loop_step(aip_sim_loop *loop)
{
        struct aip_task *task = take_task(loop);
        if (!task)
                return fire_next_timer(loop);
        task->run(task);
        return 1;
}

static int has_step_until(aip_sim_loop *loop, int64_t until_ms)
{
        pthread_mutex_lock(&loop->lock);
        int has_task = loop->tasks.first != NULL;
        pthread_mutex_unlock(&loop->lock);
        const struct aip_timer *timer = aip_timer_queue_first(&loop->timers);
        return has_task || (timer && timer->due_ms <= until_ms);
}

void aip_sim_loop_run_until(aip_sim_loop *loop, int64_t until_ms)
{
        while (has_step_until(loop, until_ms))
                aip_sim_loop_step(loop);
        if (loop->now_ms < until_ms)
                loop->now_ms = until_ms;
}

void aip_sim_loop_free(aip_sim_loop *loop)
{
        if (!loop)
                return;
        pthread_mutex_destroy(&loop->lock);
        aip_free(loop);
}
