/* What the system tells of this process, as metrics. */
#ifndef AIPLAT_BASE_PROCESS_METRICS_H
#define AIPLAT_BASE_PROCESS_METRICS_H

#include <aiplat/metrics.h>

/* The process_* families that every Prometheus client library has. What the system does not tell (no
 * /proc) is left out. */
void aip_process_metrics_write(struct aip_metrics_writer *writer);

#endif
