/* The virtual loop: time moves only by steps, tasks go before timers, nothing depends on the
 * machine. */
#include <aiplat/loops.h>
#include <aiplat/op.h>
#include <criterion/criterion.h>

static aip_sim_loop *sim;
static struct aip_loop loop;
static char trace[64];
static size_t n_trace;

static void start(void)
{
        cr_assert_eq(aip_sim_loop_new(1000000, &sim, NULL), 0);
        loop = aip_sim_loop_port(sim);
        n_trace = 0;
        memset(trace, 0, sizeof(trace));
}

static void stop(void)
{
        aip_sim_loop_free(sim);
}

TestSuite(sim_loop, .init = start, .fini = stop);

struct probe {
        struct aip_task task;
        struct aip_timer timer;
        char name;
        int n_again;
};

static void ran(struct aip_task *task)
{
        struct probe *probe = AIP_CONTAINER_OF(task, struct probe, task);
        trace[n_trace++] = probe->name;
        if (probe->n_again-- > 0)
                aip_defer(loop, task);
}

static void fired(struct aip_timer *timer)
{
        struct probe *probe = AIP_CONTAINER_OF(timer, struct probe, timer);
        trace[n_trace++] = probe->name;
        if (probe->n_again-- > 0)
                aip_timer_set(loop, timer, 10);
}

static struct probe probe_of(char name, int n_again)
{
        return (struct probe){
                .task.run = ran,
                .timer.fire = fired,
                .name = name,
                .n_again = n_again,
        };
}

Test(sim_loop, the_clock_stands_still_while_tasks_run)
{
        struct probe a = probe_of('a', 2), b = probe_of('b', 0), t = probe_of('t', 0);
        aip_timer_set(loop, &t.timer, 5);
        aip_defer(loop, &a.task);
        aip_defer(loop, &a.task);
        aip_post(loop, &b.task);
        cr_assert_eq(n_trace, 0u);
        for (int i = 0; i < 4; i++) {
                cr_assert_eq(aip_sim_loop_step(sim), 1);
                cr_assert_eq(aip_now_ms(loop), 0);
        }
        cr_assert_str_eq(trace, "abaa");
        cr_assert_eq(aip_sim_loop_step(sim), 1);
        cr_assert_str_eq(trace, "abaat");
        cr_assert_eq(aip_now_ms(loop), 5);
        cr_assert_eq(aip_wall_us(loop), 1005000);
        cr_assert_eq(aip_sim_loop_step(sim), 0);
}

Test(sim_loop, undefer_takes_back)
{
        struct probe a = probe_of('a', 0), b = probe_of('b', 0), c = probe_of('c', 0);
        aip_undefer(loop, &a.task);
        aip_defer(loop, &a.task);
        aip_defer(loop, &b.task);
        aip_defer(loop, &c.task);
        aip_undefer(loop, &c.task);
        aip_undefer(loop, &a.task);
        aip_undefer(loop, &a.task);
        aip_defer(loop, &a.task);
        while (aip_sim_loop_step(sim))
                ;
        cr_assert_str_eq(trace, "ba");
}

Test(sim_loop, run_until_stops_at_its_time)
{
        struct probe a = probe_of('a', 100), b = probe_of('b', 0);
        aip_timer_set(loop, &a.timer, 10);
        aip_timer_set(loop, &b.timer, 41);
        aip_sim_loop_run_until(sim, 40);
        cr_assert_str_eq(trace, "aaaa");
        cr_assert_eq(aip_now_ms(loop), 40);
        aip_sim_loop_run_until(sim, 45);
        cr_assert_str_eq(trace, "aaaab");
        cr_assert_eq(aip_now_ms(loop), 45);
        aip_timer_clear(loop, &a.timer);
        aip_timer_clear(loop, &a.timer);
        cr_assert_eq(aip_sim_loop_step(sim), 0);
}

Test(sim_loop, has_no_descriptors)
{
        struct aip_watch watch = {.fd = 0};
        aip_error *err = NULL;
        cr_assert_eq(aip_watch_set(loop, &watch, AIP_READABLE, &err), AIP_EUNSUPPORTED);
        aip_error_free(err);
        cr_assert_eq(aip_watch_set(loop, &watch, 0, NULL), 0);
}
