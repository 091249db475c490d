/* The libuv loop: tasks, timers, watches, posts from threads, signals, and rest when idle. */
#include <aiplat/loops.h>
#include <aiplat/op.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static aip_uv_loop *uv;
static struct aip_loop loop;

static void start(void)
{
        cr_assert_eq(aip_uv_loop_new(&uv, NULL), 0);
        loop = aip_uv_loop_port(uv);
}

static void stop(void)
{
        aip_uv_loop_free(uv);
}

TestSuite(uv_loop, .init = start, .fini = stop, .timeout = 30);

struct probe {
        struct aip_task task;
        struct aip_timer timer;
        struct aip_watch watch;
        int n;       /* times it ran */
        int n_limit; /* the loop stops when it is reached */
        unsigned events;
        int64_t at_ms;
        struct probe *other;
};

static void count(struct probe *probe)
{
        probe->at_ms = aip_now_ms(loop);
        if (++probe->n == probe->n_limit)
                aip_uv_loop_stop(uv);
}

static void ran(struct aip_task *task)
{
        count(AIP_CONTAINER_OF(task, struct probe, task));
}

static void ran_again(struct aip_task *task)
{
        count(AIP_CONTAINER_OF(task, struct probe, task));
        aip_defer(loop, task);
}

static void fired(struct aip_timer *timer)
{
        count(AIP_CONTAINER_OF(timer, struct probe, timer));
}

static void ready(struct aip_watch *watch, unsigned events)
{
        struct probe *probe = AIP_CONTAINER_OF(watch, struct probe, watch);
        probe->events = events;
        count(probe);
}

Test(uv_loop, a_task_runs_once_and_never_inside_defer)
{
        struct probe a = {.task.run = ran, .n_limit = 1};
        aip_defer(loop, &a.task);
        aip_defer(loop, &a.task);
        cr_assert_eq(a.n, 0);
        aip_uv_loop_run(uv);
        cr_assert_eq(a.n, 1);
}

Test(uv_loop, a_task_that_defers_itself_starves_neither_timers_nor_input)
{
        int ends[2];
        cr_assert_eq(pipe(ends), 0);
        cr_assert_eq(write(ends[1], "x", 1), 1);
        struct probe spinner = {.task.run = ran_again};
        struct probe input = {.watch = {.ready = ready, .fd = ends[0]}, .n_limit = -1};
        struct probe timer = {.timer.fire = fired, .n_limit = 1};
        cr_assert_eq(aip_watch_set(loop, &input.watch, AIP_READABLE, NULL), 0);
        aip_timer_set(loop, &timer.timer, 200); /* long enough for valgrind */
        aip_defer(loop, &spinner.task);
        aip_uv_loop_run(uv);
        cr_assert_gt(spinner.n, 10);
        cr_assert_gt(input.n, 10);
        aip_undefer(loop, &spinner.task);
        aip_watch_set(loop, &input.watch, 0, NULL);
        close(ends[0]);
        close(ends[1]);
}

static void undefer_other(struct aip_task *task)
{
        struct probe *probe = AIP_CONTAINER_OF(task, struct probe, task);
        aip_undefer(loop, &probe->other->task);
        count(probe);
}

Test(uv_loop, a_task_may_take_back_another_of_its_batch)
{
        struct probe b = {.task.run = ran}, c = {.task.run = ran, .n_limit = 1};
        struct probe a = {.task.run = undefer_other, .other = &b};
        aip_defer(loop, &a.task);
        aip_defer(loop, &b.task);
        aip_defer(loop, &c.task);
        aip_uv_loop_run(uv);
        cr_assert_eq(a.n, 1);
        cr_assert_eq(b.n, 0);
        aip_post(loop, &b.task);
        aip_undefer(loop, &b.task);
        aip_uv_loop_stop(uv);
        aip_uv_loop_run(uv);
        cr_assert_eq(b.n, 0);
}

Test(uv_loop, timers_fire_in_order_and_not_early)
{
        struct probe timers[4] = {{.n = 0}, {.n = 0}, {.n = 0}, {.n = 0}};
        static const int64_t delays[4] = {30, 10, 20, 10};
        int64_t start_ms = aip_now_ms(loop);
        for (int i = 0; i < 4; i++) {
                timers[i].timer.fire = fired;
                timers[i].n_limit = i == 0;
                aip_timer_set(loop, &timers[i].timer, delays[i]);
        }
        aip_uv_loop_run(uv);
        for (int i = 0; i < 4; i++) {
                cr_assert_eq(timers[i].n, 1);
                cr_assert_geq(timers[i].at_ms - start_ms, delays[i]);
        }
        cr_assert_leq(timers[1].at_ms, timers[2].at_ms);
        cr_assert_leq(timers[2].at_ms, timers[0].at_ms);
}

Test(uv_loop, a_timer_may_be_armed_earlier_later_or_not_at_all)
{
        struct probe a = {.timer.fire = fired}, b = {.timer.fire = fired, .n_limit = 1},
                     c = {.timer.fire = fired};
        int64_t start_ms = aip_now_ms(loop);
        aip_timer_set(loop, &a.timer, 5);
        aip_timer_set(loop, &b.timer, 100000);
        aip_timer_set(loop, &c.timer, 1);
        aip_timer_set(loop, &c.timer, INT64_MAX);
        aip_timer_set(loop, &b.timer, 40);
        aip_timer_clear(loop, &a.timer);
        aip_timer_clear(loop, &a.timer);
        aip_uv_loop_run(uv);
        cr_assert_eq(a.n, 0);
        cr_assert_eq(c.n, 0);
        cr_assert_geq(b.at_ms - start_ms, 40);
        aip_timer_clear(loop, &c.timer);
}

Test(uv_loop, watches_tell_which_event)
{
        int ends[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        struct probe a = {.watch = {.ready = ready, .fd = ends[0]}, .n_limit = 1};
        cr_assert_eq(aip_watch_set(loop, &a.watch, AIP_READABLE | AIP_WRITABLE, NULL), 0);
        aip_uv_loop_run(uv);
        cr_assert_eq(a.events, AIP_WRITABLE);

        cr_assert_eq(aip_watch_set(loop, &a.watch, AIP_READABLE, NULL), 0);
        cr_assert_eq(write(ends[1], "x", 1), 1);
        a.n = 0;
        aip_uv_loop_run(uv);
        cr_assert_eq(a.events, AIP_READABLE);

        aip_watch_set(loop, &a.watch, 0, NULL);
        aip_watch_set(loop, &a.watch, 0, NULL);
        cr_assert_eq(aip_watch_set(loop, &a.watch, AIP_READABLE, NULL), 0);
        a.n = 0;
        aip_uv_loop_run(uv);
        cr_assert_geq(a.n, 1);
        aip_watch_set(loop, &a.watch, 0, NULL);
        close(ends[0]);
        close(ends[1]);
}

static void ready_then_stop_watching(struct aip_watch *watch, unsigned events)
{
        ready(watch, events);
        aip_watch_set(loop, watch, 0, NULL);
        close(watch->fd);
}

Test(uv_loop, a_watch_may_be_stopped_and_its_descriptor_closed_and_reused_inside_ready)
{
        for (int i = 0; i < 3; i++) {
                int ends[2];
                cr_assert_eq(pipe(ends), 0);
                struct probe a = {.watch = {.ready = ready_then_stop_watching, .fd = ends[0]},
                                  .n_limit = 1};
                cr_assert_eq(aip_watch_set(loop, &a.watch, AIP_READABLE, NULL), 0);
                cr_assert_eq(write(ends[1], "x", 1), 1);
                aip_uv_loop_run(uv);
                cr_assert_eq(a.n, 1);
                close(ends[1]);
        }
}

Test(uv_loop, an_error_on_a_descriptor_is_told_again_and_again)
{
        int ends[2];
        cr_assert_eq(pipe(ends), 0);
        struct probe a = {.watch = {.ready = ready, .fd = ends[1]}, .n_limit = 3};
        close(ends[0]); /* writing now fails with EPIPE, which poll() reports as an error */
        cr_assert_eq(aip_watch_set(loop, &a.watch, AIP_WRITABLE, NULL), 0);
        aip_uv_loop_run(uv);
        cr_assert_geq(a.n, 3);
        cr_assert(a.events & AIP_WRITABLE);
        aip_watch_set(loop, &a.watch, 0, NULL);
        close(ends[1]);
}

Test(uv_loop, what_cannot_be_watched_is_refused)
{
        struct aip_watch watch = {.ready = ready, .fd = -1};
        aip_error *err = NULL;
        cr_assert_eq(aip_watch_set(loop, &watch, AIP_READABLE, &err), AIP_EIO);
        cr_assert_null(watch.impl);
        aip_error_free(err);
        watch.fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
        int regular = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
        close(watch.fd);
        watch.fd = regular;
        cr_assert_eq(aip_watch_set(loop, &watch, AIP_READABLE, NULL), AIP_EIO);
        close(regular);
}

#define N_THREADS 4
#define N_POSTS   2000

struct poster {
        pthread_t thread;
        struct probe probes[N_POSTS];
};

static int n_posted_ran;

static void posted_ran(struct aip_task *task)
{
        count(AIP_CONTAINER_OF(task, struct probe, task));
        if (++n_posted_ran == N_THREADS * N_POSTS)
                aip_uv_loop_stop(uv);
}

static void *post_all(void *user)
{
        struct poster *poster = user;
        for (int i = 0; i < N_POSTS; i++) {
                poster->probes[i].task.run = posted_ran;
                aip_post(loop, &poster->probes[i].task);
        }
        return NULL;
}

Test(uv_loop, threads_post_and_nothing_is_lost)
{
        static struct poster posters[N_THREADS];
        for (int i = 0; i < N_THREADS; i++)
                pthread_create(&posters[i].thread, NULL, post_all, &posters[i]);
        aip_uv_loop_run(uv);
        for (int i = 0; i < N_THREADS; i++) {
                pthread_join(posters[i].thread, NULL);
                for (int k = 0; k < N_POSTS; k++)
                        cr_assert_eq(posters[i].probes[k].n, 1);
        }
}

static void *stop_soon(void *user)
{
        (void)user;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        aip_uv_loop_stop(uv);
        return NULL;
}

Test(uv_loop, stops_from_another_thread_and_runs_again)
{
        for (int i = 0; i < 2; i++) {
                pthread_t thread;
                pthread_create(&thread, NULL, stop_soon, NULL);
                aip_uv_loop_run(uv);
                pthread_join(thread, NULL);
        }
        aip_uv_loop_stop(uv);
        aip_uv_loop_run(uv);
}

static void on_signal(int signal_number, void *user)
{
        struct probe *probe = user;
        probe->events = (unsigned)signal_number;
        count(probe);
}

Test(uv_loop, signals_arrive_on_the_loop)
{
        struct probe a = {.n_limit = 2};
        cr_assert_eq(aip_uv_loop_on_signal(uv, SIGUSR1, on_signal, &a, NULL), 0);
        cr_assert_eq(aip_uv_loop_on_signal(uv, SIGUSR2, on_signal, &a, NULL), 0);
        raise(SIGUSR1);
        raise(SIGUSR2);
        aip_uv_loop_run(uv);
        cr_assert_eq(a.n, 2);
        aip_error *err = NULL;
        cr_assert_eq(aip_uv_loop_on_signal(uv, SIGKILL, on_signal, &a, &err), AIP_EINVAL);
        aip_error_free(err);
}

static int64_t cpu_us(void)
{
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
               usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

Test(uv_loop, an_idle_loop_sleeps)
{
        struct probe warm = {.task.run = ran}, end = {.timer.fire = fired, .n_limit = 1};
        aip_defer(loop, &warm.task);
        aip_timer_set(loop, &end.timer, 300);
        int64_t before_us = cpu_us();
        aip_uv_loop_run(uv);
        cr_assert_lt(cpu_us() - before_us, 100000);
}

Test(uv_loop, clocks_are_sane)
{
        int64_t ms = aip_now_ms(loop);
        cr_assert_geq(aip_now_ms(loop), ms);
        cr_assert_lt(llabs(aip_wall_us(loop) / 1000000 - (int64_t)time(NULL)), 2);
}
