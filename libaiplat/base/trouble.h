/*
 * A trouble that lasts, in the log: said when it begins, once a minute with a count while it goes on,
 * and when it is over. For services and adapters that try again and again while something is down.
 * One struct a kind of trouble, zeroed at first, used by one thread. It must never keep a first
 * occurrence to itself, and must never let the log grow with the number of attempts.
 */
#ifndef AIPLAT_BASE_TROUBLE_H
#define AIPLAT_BASE_TROUBLE_H

#include <aiplat/log.h>
#include <stdint.h>

#define AIP_TROUBLE_AGAIN_MS 60000 /* between lines while it lasts */
#define AIP_TROUBLE_FLAP_MS  5000  /* and when it comes and goes */

struct aip_trouble {
        int is_on, was_said;  /* it lasts; this time it has had its line */
        int64_t said_ms;      /* the last line */
        int has_said;         /* there was one */
        unsigned n, n_unsaid; /* occurrences since it began, since the last line */
};

/* It occurred (again). `what` and `why` become one line: "claim failed: no connection". */
void aip_trouble_occurred(struct aip_trouble *trouble, const struct aip_log *log,
                          const char *component, int64_t now_ms, const char *what, const char *why);
/* It did not occur: no line unless it lasted. */
void aip_trouble_over(struct aip_trouble *trouble, const struct aip_log *log, const char *component,
                      const char *what);

#endif
