/*
 * The loop of one thread for one purpose (thread_loop.h). Called by graph_invoke.c. It must never spin: with
 * nothing queued and no timer due it sleeps, until the next timer or a post.
 */
#include "thread_loop.h"

#include <time.h>

static int64_t ns_of(clockid_t clock)
{
        struct timespec now;

        clock_gettime(clock, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t now_ms(void *self)
{
        (void)self;
        return ns_of(CLOCK_MONOTONIC) / 1000000;
}

static int64_t wall_us(void *self)
{
        (void)self;
        return ns_of(CLOCK_REALTIME) / 1000;
}

static void post(void *self, struct aip_task *task)
{
        struct aip_thread_loop *loop = self;

        if (!task_claim(task))
                return;
        pthread_mutex_lock(&loop->lock);
        task_list_append(&loop->tasks, task);
        pthread_cond_signal(&loop->posted);
        pthread_mutex_unlock(&loop->lock);
}

static void undefer(void *self, struct aip_task *task)
{
        struct aip_thread_loop *loop = self;

        pthread_mutex_lock(&loop->lock);
        if (task_list_remove(&loop->tasks, task))
                task_release(task);
        pthread_mutex_unlock(&loop->lock);
}

static void timer_set(void *self, struct aip_timer *timer, int64_t delay_ms)
{
        struct aip_thread_loop *loop = self;

        aip_timer_queue_set(&loop->timers, timer, now_ms(loop) + (delay_ms > 0 ? delay_ms : 0));
}

static void timer_clear(void *self, struct aip_timer *timer)
{
        struct aip_thread_loop *loop = self;

        aip_timer_queue_remove(&loop->timers, timer);
}

static int watch_set(void *self, struct aip_watch *watch, unsigned events, aip_error **err)
{
        (void)self, (void)watch;
        if (events == 0)
                return 0;
        return aip_error_set(err, AIP_EUNSUPPORTED,
                             "a graph that is invoked has no loop for descriptors: run it on one");
}

static const struct aip_loop_ops ops = {
        .self_size = sizeof(ops),
        .now_ms = now_ms,
        .wall_us = wall_us,
        .defer = post,
        .undefer = undefer,
        .post = post,
        .timer_set = timer_set,
        .timer_clear = timer_clear,
        .watch_set = watch_set,
};

void aip_thread_loop_init(struct aip_thread_loop *loop)
{
        pthread_condattr_t monotonic;

        *loop = (struct aip_thread_loop){0};
        pthread_mutex_init(&loop->lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&loop->posted, &monotonic);
        pthread_condattr_destroy(&monotonic);
}

struct aip_loop aip_thread_loop_port(struct aip_thread_loop *loop)
{
        return (struct aip_loop){&ops, loop};
}

/* Locked. Returns as soon as there may be something to do. */
static void sleep_until_next(struct aip_thread_loop *loop)
{
        const struct aip_timer *next = aip_timer_queue_first(&loop->timers);
        struct timespec due;

        if (!next) {
                pthread_cond_wait(&loop->posted, &loop->lock);
                return;
        }
        due.tv_sec = (time_t)(next->due_ms / 1000);
        due.tv_nsec = (long)(next->due_ms % 1000) * 1000000;
        pthread_cond_timedwait(&loop->posted, &loop->lock, &due);
}

/* NULL: a timer may be due instead. */
static struct aip_task *next_task(struct aip_thread_loop *loop)
{
        struct aip_task *task;
        const struct aip_timer *timer = aip_timer_queue_first(&loop->timers);
        int is_due = timer && timer->due_ms <= now_ms(loop);

        pthread_mutex_lock(&loop->lock);
        if (!loop->tasks.first && !is_due)
                sleep_until_next(loop);
        task = task_list_pop(&loop->tasks);
        pthread_mutex_unlock(&loop->lock);
        if (task)
                task_release(task);
        return task;
}

void aip_thread_loop_run(struct aip_thread_loop *loop, const int *is_done)
{
        while (!*is_done) {
                struct aip_task *task = next_task(loop);
                struct aip_timer *timer;

                if (task)
                        task->run(task);
                if (*is_done)
                        return;
                timer = aip_timer_queue_pop_due(&loop->timers, now_ms(loop),
                                                loop->timers.next_order);
                if (timer)
                        timer->fire(timer);
        }
}

void aip_thread_loop_deinit(struct aip_thread_loop *loop)
{
        pthread_cond_destroy(&loop->posted);
        pthread_mutex_destroy(&loop->lock);
}
