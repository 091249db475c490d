/*
 * The loop of programs, on libuv. Made by the composition root; everything else knows only the
 * port.
 *
 * One turn of libuv, and what hangs where:
 *
 *     timers ──► [fire_due]  all timers of ours that are due; one uv_timer stands for the whole
 * heap prepare ─► [prepare]   arm that uv_timer for the earliest timer; while tasks wait, keep an
 *                            idle handle so that the poll below does not sleep
 *     poll ────► [poll_ready, take_posted, signals]
 *     check ───► [run_tasks] the tasks queued so far, as one batch; what they queue waits a turn
 *
 * So a task never runs inside the call that queued it, input and output are looked at between two
 * batches, and a loop with nothing to do sleeps. Nothing here blocks.
 */
#include "mem.h"
#include "task_list.h"
#include "timer_queue.h"
#include <aiplat/loops.h>
#include <aiplat/op.h>
#include <assert.h>
#include <pthread.h>
#include <time.h>
#include <uv.h>

#define NOT_ARMED INT64_MAX

struct signal_handler {
        struct signal_handler *next;
        uv_signal_t handle;
        void (*on_signal)(int signal_number, void *user);
        void *user;
};

/* The part of a watch that libuv must keep until its asynchronous close. */
struct watched {
        uv_poll_t handle;
        struct aip_watch *watch; /* NULL once stopped */
};

struct aip_uv_loop {
        /* loop thread only */
        uv_loop_t uv;
        uv_timer_t timer;
        uv_prepare_t prepare;
        uv_idle_t idle;
        uv_check_t check;
        struct aip_timer_queue timers;
        int64_t armed_for_ms;     /* due time the uv_timer is set for, or NOT_ARMED */
        struct task_list tasks;   /* queued */
        struct task_list running; /* the rest of the batch being run */
        struct signal_handler *signal_handlers;

        /* any thread */
        uv_async_t wakeup;
        int must_stop; /* atomic */

        /* locked */
        pthread_mutex_t lock;
        struct task_list posted;
};

/* ---- clock ---- */

static int64_t loop_now_ms(void *self)
{
        (void)self;
        return (int64_t)(uv_hrtime() / 1000000);
}

static int64_t loop_wall_us(void *self)
{
        (void)self;
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- tasks ---- */

static void loop_defer(void *self, struct aip_task *task)
{
        struct aip_uv_loop *loop = self;
        if (task_claim(task))
                task_list_append(&loop->tasks, task);
}

static int remove_posted(struct aip_uv_loop *loop, struct aip_task *task)
{
        pthread_mutex_lock(&loop->lock);
        int was_there = task_list_remove(&loop->posted, task);
        pthread_mutex_unlock(&loop->lock);
        return was_there;
}

static void loop_undefer(void *self, struct aip_task *task)
{
        struct aip_uv_loop *loop = self;
        if (!__atomic_load_n(&task->is_queued, __ATOMIC_ACQUIRE))
                return;
        if (task_list_remove(&loop->running, task) || task_list_remove(&loop->tasks, task) ||
            remove_posted(loop, task))
                task_release(task);
}

static void loop_post(void *self, struct aip_task *task)
{
        struct aip_uv_loop *loop = self;
        if (!task_claim(task))
                return;
        pthread_mutex_lock(&loop->lock);
        task_list_append(&loop->posted, task);
        pthread_mutex_unlock(&loop->lock);
        uv_async_send(&loop->wakeup);
}

static void take_posted(uv_async_t *wakeup)
{
        struct aip_uv_loop *loop = wakeup->data;
        pthread_mutex_lock(&loop->lock);
        task_list_append_all(&loop->tasks, &loop->posted);
        pthread_mutex_unlock(&loop->lock);
        if (__atomic_exchange_n(&loop->must_stop, 0, __ATOMIC_ACQ_REL))
                uv_stop(&loop->uv);
}

static void run_tasks(uv_check_t *check)
{
        struct aip_uv_loop *loop = check->data;
        task_list_append_all(&loop->running, &loop->tasks);
        for (struct aip_task *task; (task = task_list_pop(&loop->running));) {
                task_release(task);
                task->run(task);
        }
}

static void do_nothing(uv_idle_t *idle)
{
        (void)idle;
}

/* ---- timers ---- */

static void loop_timer_set(void *self, struct aip_timer *timer, int64_t delay_ms)
{
        struct aip_uv_loop *loop = self;
        int64_t now_ms = loop_now_ms(loop);
        delay_ms = delay_ms < 0 ? 0 : delay_ms;
        int64_t due_ms = delay_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + delay_ms;
        aip_timer_queue_set(&loop->timers, timer, due_ms);
}

static void loop_timer_clear(void *self, struct aip_timer *timer)
{
        struct aip_uv_loop *loop = self;
        aip_timer_queue_remove(&loop->timers, timer);
}

static void fire_due(uv_timer_t *uv_timer)
{
        struct aip_uv_loop *loop = uv_timer->data;
        loop->armed_for_ms = NOT_ARMED;
        int64_t now_ms = loop_now_ms(loop);
        uint64_t order_limit = loop->timers.next_order;
        struct aip_timer *timer;
        while ((timer = aip_timer_queue_pop_due(&loop->timers, now_ms, order_limit)))
                timer->fire(timer);
}

/* Wake for the earliest timer. A uv_timer set too early is left alone: it costs one empty turn,
 * where setting it anew at each change (every request has a deadline) would cost more. */
static void arm_uv_timer(struct aip_uv_loop *loop)
{
        const struct aip_timer *first = aip_timer_queue_first(&loop->timers);
        if (!first || first->due_ms >= loop->armed_for_ms)
                return;
        uv_update_time(&loop->uv);
        int64_t delay_ms = first->due_ms - loop_now_ms(loop);
        uv_timer_start(&loop->timer, fire_due, delay_ms > 0 ? (uint64_t)delay_ms : 0, 0);
        loop->armed_for_ms = first->due_ms;
}

static void prepare(uv_prepare_t *handle)
{
        struct aip_uv_loop *loop = handle->data;
        arm_uv_timer(loop);
        if (loop->tasks.first)
                uv_idle_start(&loop->idle, do_nothing);
        else
                uv_idle_stop(&loop->idle);
}

/* ---- watches ---- */

static int to_uv_events(unsigned events)
{
        return (events & AIP_READABLE ? UV_READABLE : 0) |
               (events & AIP_WRITABLE ? UV_WRITABLE : 0);
}

/* libuv stops a watch whose descriptor is in error. Its owner learns of the error by reading or
 * writing, so it is told that both will not block, and the watch stays level-triggered. */
static void poll_ready(uv_poll_t *handle, int status, int uv_events)
{
        struct watched *watched = AIP_CONTAINER_OF(handle, struct watched, handle);
        struct aip_watch *watch = watched->watch;
        if (!watch)
                return;
        unsigned events = AIP_READABLE | AIP_WRITABLE;
        if (status < 0)
                uv_poll_start(handle, to_uv_events(watch->events), poll_ready);
        else
                events = (uv_events & UV_READABLE ? AIP_READABLE : 0) |
                         (uv_events & UV_WRITABLE ? AIP_WRITABLE : 0);
        watch->ready(watch, events);
}

static void free_watched(uv_handle_t *handle)
{
        aip_free(AIP_CONTAINER_OF((uv_poll_t *)handle, struct watched, handle));
}

static void stop_watch(struct aip_watch *watch)
{
        struct watched *watched = watch->impl;
        watch->impl = NULL;
        watch->events = 0;
        if (!watched)
                return;
        watched->watch = NULL;
        uv_poll_stop(&watched->handle);
        uv_close((uv_handle_t *)&watched->handle, free_watched);
}

static int start_watch(struct aip_uv_loop *loop, struct aip_watch *watch, aip_error **err)
{
        struct watched *watched = aip_calloc(1, sizeof(*watched));
        if (!watched)
                return aip_error_set_nomem(err);
        int r = uv_poll_init(&loop->uv, &watched->handle, watch->fd);
        if (r < 0) {
                aip_free(watched);
                return aip_error_set(err, r == UV_ENOMEM ? AIP_ENOMEM : AIP_EIO,
                                     "cannot watch descriptor %d: %s", watch->fd, uv_strerror(r));
        }
        watched->watch = watch;
        watch->impl = watched;
        return 0;
}

static int loop_watch_set(void *self, struct aip_watch *watch, unsigned events, aip_error **err)
{
        if ((events & (AIP_READABLE | AIP_WRITABLE)) == 0) {
                stop_watch(watch);
                return 0;
        }
        if (!watch->impl) {
                int r = start_watch(self, watch, err);
                if (r < 0)
                        return r;
        }
        struct watched *watched = watch->impl;
        watch->events = events;
        uv_poll_start(&watched->handle, to_uv_events(events), poll_ready);
        return 0;
}

/* ---- life ---- */

static const struct aip_loop_ops uv_ops = {
        .self_size = sizeof(uv_ops),
        .now_ms = loop_now_ms,
        .wall_us = loop_wall_us,
        .defer = loop_defer,
        .undefer = loop_undefer,
        .post = loop_post,
        .timer_set = loop_timer_set,
        .timer_clear = loop_timer_clear,
        .watch_set = loop_watch_set,
};

/* None of these can fail. */
static void start_handles(aip_uv_loop *loop)
{
        loop->timer.data = loop->prepare.data = loop->check.data = loop->wakeup.data = loop;
        uv_timer_init(&loop->uv, &loop->timer);
        uv_prepare_init(&loop->uv, &loop->prepare);
        uv_idle_init(&loop->uv, &loop->idle);
        uv_check_init(&loop->uv, &loop->check);
        uv_prepare_start(&loop->prepare, prepare);
        uv_check_start(&loop->check, run_tasks);
}

static int open_uv(aip_uv_loop *loop)
{
        int r = uv_loop_init(&loop->uv);
        if (r < 0)
                return r;
        r = uv_async_init(&loop->uv, &loop->wakeup, take_posted);
        if (r < 0)
                uv_loop_close(&loop->uv);
        return r;
}

int aip_uv_loop_new(aip_uv_loop **ret_loop, aip_error **err)
{
        aip_uv_loop *loop = aip_calloc(1, sizeof(*loop));
        if (!loop)
                return aip_error_set_nomem(err);
        int r = open_uv(loop);
        if (r < 0) {
                aip_free(loop);
                return aip_error_set(err, r == UV_ENOMEM ? AIP_ENOMEM : AIP_EIO,
                                     "cannot make an event loop: %s", uv_strerror(r));
        }
        pthread_mutex_init(&loop->lock, NULL);
        loop->armed_for_ms = NOT_ARMED;
        start_handles(loop);
        *ret_loop = loop;
        return 0;
}

struct aip_loop aip_uv_loop_port(aip_uv_loop *loop)
{
        return (struct aip_loop){&uv_ops, loop};
}

void aip_uv_loop_run(aip_uv_loop *loop)
{
        uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void aip_uv_loop_stop(aip_uv_loop *loop)
{
        __atomic_store_n(&loop->must_stop, 1, __ATOMIC_RELEASE);
        uv_async_send(&loop->wakeup);
}

static void got_signal(uv_signal_t *handle, int signal_number)
{
        struct signal_handler *handler = AIP_CONTAINER_OF(handle, struct signal_handler, handle);
        handler->on_signal(signal_number, handler->user);
}

static void free_signal_handler(uv_handle_t *handle)
{
        aip_free(AIP_CONTAINER_OF((uv_signal_t *)handle, struct signal_handler, handle));
}

int aip_uv_loop_on_signal(aip_uv_loop *loop, int signal_number,
                          void (*on_signal)(int signal_number, void *user), void *user,
                          aip_error **err)
{
        struct signal_handler *handler = aip_calloc(1, sizeof(*handler));
        if (!handler)
                return aip_error_set_nomem(err);
        handler->on_signal = on_signal;
        handler->user = user;
        int r = uv_signal_init(&loop->uv, &handler->handle);
        if (r < 0) {
                aip_free(handler);
                return aip_error_set(err, AIP_EIO, "cannot watch signals: %s", uv_strerror(r));
        }
        r = uv_signal_start(&handler->handle, got_signal, signal_number);
        if (r < 0) {
                uv_close((uv_handle_t *)&handler->handle, free_signal_handler);
                return aip_error_set(err, r == UV_EINVAL ? AIP_EINVAL : AIP_EIO,
                                     "cannot watch signal %d: %s", signal_number, uv_strerror(r));
        }
        handler->next = loop->signal_handlers;
        loop->signal_handlers = handler;
        return 0;
}

static void close_handles(aip_uv_loop *loop)
{
        uv_close((uv_handle_t *)&loop->timer, NULL);
        uv_close((uv_handle_t *)&loop->prepare, NULL);
        uv_close((uv_handle_t *)&loop->idle, NULL);
        uv_close((uv_handle_t *)&loop->check, NULL);
        uv_close((uv_handle_t *)&loop->wakeup, NULL);
        while (loop->signal_handlers) {
                struct signal_handler *handler = loop->signal_handlers;
                loop->signal_handlers = handler->next;
                uv_close((uv_handle_t *)&handler->handle, free_signal_handler);
        }
}

/* A watch that somebody forgot would keep uv_run() below from returning. */
static void close_forgotten(uv_handle_t *handle, void *user)
{
        (void)user;
        assert(uv_is_closing(handle) && "something is still watched");
        if (!uv_is_closing(handle))
                uv_close(handle, free_watched);
}

void aip_uv_loop_free(aip_uv_loop *loop)
{
        if (!loop)
                return;
        close_handles(loop);
        uv_walk(&loop->uv, close_forgotten, NULL);
        uv_run(&loop->uv, UV_RUN_DEFAULT); /* the closes happen here, those of old watches too */
        uv_loop_close(&loop->uv);
        pthread_mutex_destroy(&loop->lock);
        aip_free(loop);
}
