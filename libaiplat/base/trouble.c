/*
 * Troubles that last, in the log (trouble.h).
 */
#include "trouble.h"

static int must_say(const struct aip_trouble *t, int64_t now_ms)
{
        int64_t pause_ms = t->is_on && t->was_said ? AIP_TROUBLE_AGAIN_MS : AIP_TROUBLE_FLAP_MS;

        return !t->has_said || now_ms - t->said_ms >= pause_ms;
}

void aip_trouble_occurred(struct aip_trouble *t, const struct aip_log *log, const char *component,
                          int64_t now_ms, const char *what, const char *why)
{
        int is_now_said = must_say(t, now_ms);

        t->n = t->is_on ? t->n + 1 : 1;
        t->was_said = (t->is_on && t->was_said) || is_now_said;
        t->is_on = 1;
        if (!is_now_said) {
                t->n_unsaid++;
                aip_log_write(log, AIP_LOG_DEBUG, component, "%s: %s", what, why);
                return;
        }
        if (t->n_unsaid > 0)
                aip_log_write(log, AIP_LOG_WARNING, component,
                              "%s: %s (and %u times before, since "
                              "the last such line)",
                              what, why, t->n_unsaid);
        else
                aip_log_write(log, AIP_LOG_WARNING, component, "%s: %s", what, why);
        t->n_unsaid = 0;
        t->has_said = 1;
        t->said_ms = now_ms;
}

void aip_trouble_over(struct aip_trouble *t, const struct aip_log *log, const char *component,
                      const char *what)
{
        if (!t->is_on)
                return;
        t->is_on = 0;
        if (t->was_said)
                aip_log_write(log, AIP_LOG_INFO, component, "over after %u times: %s", t->n, what);
        if (t->was_said)
                t->n_unsaid = 0;
        t->was_said = 0;
}
