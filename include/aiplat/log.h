/*
 * Logging. The library never writes anywhere by itself: it hands records to a sink that the program
 * injects. Two sinks are provided, a human one for terminals and JSON lines for everything else.
 */
#ifndef AIPLAT_LOG_H
#define AIPLAT_LOG_H

#include <aiplat/id.h>
#include <aiplat/visibility.h>

AIP_BEGIN_DECLS

enum aip_log_level {
        AIP_LOG_DEBUG = 0,
        AIP_LOG_INFO,
        AIP_LOG_WARNING,
        AIP_LOG_ERROR
};

struct aip_log_record {
        size_t self_size;
        enum aip_log_level level;
        const char *component;       /* "postgres", "worker" …; static */
        const struct aip_id *job_id; /* or NULL */
        const char *trace_id;        /* 32 hexadecimal digits, or NULL */
        const char *message;         /* one line, never a secret */
};

struct aip_log {
        /* Any thread. NULL: drop everything. */
        void (*write)(void *self, const struct aip_log_record *record);
        void *self;
        enum aip_log_level level; /* records below are dropped before they are formatted */
};

AIP_API void aip_log_write(const struct aip_log *log, enum aip_log_level level,
                           const char *component, const char *format, ...) AIP_PRINTF(4, 5);
AIP_API void aip_log_job(const struct aip_log *log, enum aip_log_level level, const char *component,
                         const struct aip_id *job_id, const char *trace_id, const char *format, ...)
        AIP_PRINTF(6, 7);

/* "debug", "info", "warning", "error", either case, also "warn" and "critical"; AIP_EINVAL otherwise. */
AIP_API int aip_log_level_parse(struct aip_str text, enum aip_log_level *ret_level, aip_error **err);

/* Sinks that write whole lines to a descriptor with one write() each. */
AIP_API struct aip_log aip_log_to_terminal(int fd, enum aip_log_level level);
AIP_API struct aip_log aip_log_to_json(int fd, enum aip_log_level level);

AIP_END_DECLS

#endif
