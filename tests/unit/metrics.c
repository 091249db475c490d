/* What is told to Prometheus: the text, its escapes from full buffers, sources that come and go. */
#include "alloc_fail.h"
#include "macros.h"
#include <aiplat/metrics.h>
#include <criterion/criterion.h>
#include <string.h>

struct counting {
        struct aip_metrics_source source;
        int64_t n;
        struct aip_times times;
};

static void write_counting(struct aip_metrics_source *source, struct aip_metrics_writer *w)
{
        const struct counting *c = AIP_CONTAINER_OF(source, struct counting, source);

        aip_metrics_one(w, "things_total", AIP_METRICS_COUNTER, "Things done.", c->n);
        aip_metrics_family(w, "waits_seconds", AIP_METRICS_HISTOGRAM, "Waits.");
        aip_metrics_times(w, "waits_seconds", "kind=\"a\"", &c->times);
        aip_metrics_family(w, "age_seconds", AIP_METRICS_GAUGE, "An age.");
        aip_metrics_sample_ms(w, 1500, "age_seconds{of=\"%s\"}", "x");
}

static void expect(const struct aip_buf *text, const char *line, int is_there)
{
        cr_expect_eq(strstr(text->p, line) != NULL, is_there, "%s in\n%s", line, text->p);
}

Test(metrics, what_sources_count_is_told)
{
        struct counting c = {.source.write = write_counting, .n = 3};
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(1 << 20);
        aip_metrics *metrics = NULL;

        cr_assert_eq(aip_metrics_new(&metrics, NULL), 0);
        aip_metrics_add(metrics, &c.source);
        aip_times_add(&c.times, 0);
        aip_times_add(&c.times, -5);
        aip_times_add(&c.times, 7);
        aip_times_add(&c.times, 100000000);
        cr_expect_eq(aip_times_count(&c.times), 4u);
        cr_assert_eq(aip_metrics_print(metrics, &text), 0);
        expect(&text,
               "# HELP things_total Things done.\n# TYPE things_total counter\nthings_total 3\n",
               1);
        expect(&text, "# TYPE waits_seconds histogram\n", 1);
        expect(&text, "waits_seconds_bucket{kind=\"a\",le=\"0.001\"} 2\n", 1);
        expect(&text, "waits_seconds_bucket{kind=\"a\",le=\"+Inf\"} 4\n", 1);
        expect(&text, "waits_seconds_count{kind=\"a\"} 4\n", 1);
        expect(&text, "waits_seconds_sum{kind=\"a\"} 100000.007\n", 1);
        expect(&text, "age_seconds{of=\"x\"} 1.500\n", 1);
        expect(&text, "process_resident_memory_bytes ", 1);
        expect(&text, "process_open_fds ", 1);
        aip_metrics_remove(metrics, &c.source);
        aip_metrics_remove(metrics, &c.source);
        aip_buf_clear(&text);
        cr_assert_eq(aip_metrics_print(metrics, &text), 0);
        expect(&text, "things_total", 0);
        aip_metrics_free(metrics);
        aip_metrics_add(NULL, &c.source);
        aip_metrics_remove(NULL, &c.source);
        aip_metrics_free(NULL);
}

Test(metrics, a_buffer_that_is_too_small_is_an_error)
{
        struct counting c = {.source.write = write_counting};
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(64);
        aip_metrics *metrics = NULL;

        cr_assert_eq(aip_metrics_new(&metrics, NULL), 0);
        aip_metrics_add(metrics, &c.source);
        cr_expect_eq(aip_metrics_print(metrics, &text), AIP_ELIMIT);
        aip_metrics_free(metrics);
}
