/*
 * The registry of metrics sources and the text format (aiplat/metrics.h). Services add themselves, the
 * HTTP interface prints. It knows no metric but those of the process; it must never keep a value of its
 * own, nor look at one between two scrapes.
 */
#include "process_metrics.h"
#include <aiplat/metrics.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "macros.h"
#include "mem.h"

#define SAMPLE_NAME_BYTES 512

struct aip_metrics {
        struct aip_metrics_source *first;
};

struct bound {
        int64_t ms;
        const char *seconds; /* as printed: no locale has a say in it */
};

static const struct bound bounds[AIP_TIMES_BOUNDS] = {
        {1, "0.001"},    {2, "0.002"},      {5, "0.005"},      {10, "0.01"},  {20, "0.02"},
        {50, "0.05"},    {100, "0.1"},      {200, "0.2"},      {500, "0.5"},  {1000, "1"},
        {2000, "2"},     {5000, "5"},       {10000, "10"},     {30000, "30"}, {60000, "60"},
        {300000, "300"}, {1800000, "1800"}, {3600000, "3600"},
};

void aip_times_add(struct aip_times *times, int64_t ms)
{
        int i = 0;

        ms = AIP_MAX(ms, (int64_t)0);
        while (i < AIP_TIMES_BOUNDS && ms > bounds[i].ms)
                i++;
        times->n[i]++;
        times->sum_ms += (uint64_t)ms;
}

uint64_t aip_times_count(const struct aip_times *times)
{
        uint64_t n = 0;

        for (int i = 0; i <= AIP_TIMES_BOUNDS; i++)
                n += times->n[i];
        return n;
}

/* ── the registry ────────────────────────────────────────────────────────────────────────────── */

int aip_metrics_new(aip_metrics **ret_metrics, aip_error **err)
{
        struct aip_metrics *metrics = aip_calloc(1, sizeof(*metrics));

        if (!metrics)
                return aip_error_set_nomem(err);
        *ret_metrics = metrics;
        return 0;
}

void aip_metrics_free(aip_metrics *metrics)
{
        aip_free(metrics);
}

void aip_metrics_add(aip_metrics *metrics, struct aip_metrics_source *source)
{
        struct aip_metrics_source **end;

        if (!metrics || source->is_added)
                return;
        for (end = &metrics->first; *end; end = &(*end)->next)
                ;
        source->next = NULL;
        source->is_added = 1;
        *end = source;
}

void aip_metrics_remove(aip_metrics *metrics, struct aip_metrics_source *source)
{
        if (!metrics || !source->is_added)
                return;
        for (struct aip_metrics_source **at = &metrics->first; *at; at = &(*at)->next) {
                if (*at != source)
                        continue;
                *at = source->next;
                source->is_added = 0;
                return;
        }
}

int aip_metrics_print(aip_metrics *metrics, struct aip_buf *out)
{
        struct aip_metrics_writer writer = {out, 0};

        aip_process_metrics_write(&writer);
        for (struct aip_metrics_source *s = metrics->first; s; s = s->next)
                s->write(s, &writer);
        return writer.r;
}

/* ── the text ────────────────────────────────────────────────────────────────────────────────── */

void aip_metrics_family(struct aip_metrics_writer *w, const char *name, enum aip_metrics_type type,
                        const char *help)
{
        static const char *const names[] = {
                [AIP_METRICS_COUNTER] = "counter",
                [AIP_METRICS_GAUGE] = "gauge",
                [AIP_METRICS_HISTOGRAM] = "histogram",
        };

        if (w->r >= 0)
                w->r = aip_buf_printf(w->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                                      names[type]);
}

AIP_PRINTF(2, 0)
static void put_name(struct aip_metrics_writer *w, const char *format, va_list arguments)
{
        char name[SAMPLE_NAME_BYTES];
        int n = vsnprintf(name, sizeof(name), format, arguments);

        if (w->r < 0)
                return;
        w->r = n < 0 || n >= (int)sizeof(name) ? AIP_ELIMIT : aip_buf_append_cstr(w->out, name);
}

void aip_metrics_sample(struct aip_metrics_writer *w, int64_t value, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        put_name(w, format, arguments);
        va_end(arguments);
        if (w->r >= 0)
                w->r = aip_buf_printf(w->out, " %" PRId64 "\n", value);
}

void aip_metrics_sample_ms(struct aip_metrics_writer *w, int64_t ms, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        put_name(w, format, arguments);
        va_end(arguments);
        if (w->r >= 0)
                w->r = aip_buf_printf(w->out, " %s%" PRId64 ".%03d\n", ms < 0 ? "-" : "",
                                      ms < 0 ? -(ms / 1000) : ms / 1000,
                                      (int)(ms < 0 ? -(ms % 1000) : ms % 1000));
}

void aip_metrics_times(struct aip_metrics_writer *w, const char *name, const char *labels,
                       const struct aip_times *times)
{
        const char *comma = *labels ? "," : "";
        const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
        uint64_t n = 0;

        for (int i = 0; i < AIP_TIMES_BOUNDS; i++) {
                n += times->n[i];
                aip_metrics_sample(w, (int64_t)n, "%s_bucket{%s%sle=\"%s\"}", name, labels, comma,
                                   bounds[i].seconds);
        }
        n += times->n[AIP_TIMES_BOUNDS];
        aip_metrics_sample(w, (int64_t)n, "%s_bucket{%s%sle=\"+Inf\"}", name, labels, comma);
        aip_metrics_sample_ms(w, (int64_t)times->sum_ms, "%s_sum%s%s%s", name, open, labels, close);
        aip_metrics_sample(w, (int64_t)n, "%s_count%s%s%s", name, open, labels, close);
}

void aip_metrics_one(struct aip_metrics_writer *w, const char *name, enum aip_metrics_type type,
                     const char *help, int64_t value)
{
        aip_metrics_family(w, name, type, help);
        aip_metrics_sample(w, value, "%s", name);
}
