/*
 * Memory, processor time, threads and descriptors of this process, read from /proc when somebody
 * scrapes (process_metrics.h). Called by metrics.c alone.
 */
#include "process_metrics.h"

#include <aiplat/version.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "macros.h"

struct process {
        unsigned long long user_ticks, system_ticks, start_ticks, virtual_bytes;
        long long n_threads, resident_pages;
};

/* Numbered as in proc(5), behind the name in parentheses, which may hold anything. */
static int read_stat(struct process *ret_process)
{
        char line[1024];
        FILE *file = fopen("/proc/self/stat", "re");
        size_t n = file ? fread(line, 1, sizeof(line) - 1, file) : 0;
        const char *at;

        if (file)
                fclose(file);
        line[n] = '\0';
        at = strrchr(line, ')');
        return at && sscanf(at + 1,
                            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d"
                            " %lld %*d %llu %llu %lld",
                            &ret_process->user_ticks, &ret_process->system_ticks,
                            &ret_process->n_threads, &ret_process->start_ticks,
                            &ret_process->virtual_bytes, &ret_process->resident_pages) == 6;
}

/* Seconds since 1970; 0: not known. */
static long long booted_at(void)
{
        FILE *file = fopen("/proc/stat", "re");
        char line[256];
        long long seconds = 0;

        while (file && seconds == 0 && fgets(line, sizeof(line), file))
                if (sscanf(line, "btime %lld", &seconds) != 1)
                        seconds = 0;
        if (file)
                fclose(file);
        return seconds;
}

static int64_t count_descriptors(void)
{
        DIR *folder = opendir("/proc/self/fd");
        const struct dirent *entry;
        int64_t n = -1; /* the folder itself is one of them while we look */

        while (folder && (entry = readdir(folder)))
                n += entry->d_name[0] != '.';
        if (folder)
                closedir(folder);
        return n;
}

static void write_descriptors(struct aip_metrics_writer *w)
{
        struct rlimit limit;
        int64_t n = count_descriptors();

        if (n >= 0)
                aip_metrics_one(w, "process_open_fds", AIP_METRICS_GAUGE, "Open file descriptors.",
                                n);
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
                aip_metrics_one(w, "process_max_fds", AIP_METRICS_GAUGE,
                                "File descriptors that this process may open.",
                                (int64_t)AIP_MIN(limit.rlim_cur, (rlim_t)INT64_MAX));
}

static void write_stat(struct aip_metrics_writer *w, const struct process *p)
{
        unsigned long long hertz = (unsigned long long)AIP_MAX(sysconf(_SC_CLK_TCK), 1L);
        long long boot = booted_at();

        aip_metrics_family(w, "process_cpu_seconds_total", AIP_METRICS_COUNTER,
                           "Processor time, in user and system mode.");
        aip_metrics_sample_ms(w, (int64_t)((p->user_ticks + p->system_ticks) * 1000 / hertz),
                              "process_cpu_seconds_total");
        aip_metrics_one(w, "process_resident_memory_bytes", AIP_METRICS_GAUGE,
                        "Memory that is present.", p->resident_pages * sysconf(_SC_PAGESIZE));
        aip_metrics_one(w, "process_virtual_memory_bytes", AIP_METRICS_GAUGE, "Address space.",
                        (int64_t)p->virtual_bytes);
        aip_metrics_one(w, "process_threads", AIP_METRICS_GAUGE, "Threads.", p->n_threads);
        if (boot == 0)
                return;
        aip_metrics_family(w, "process_start_time_seconds", AIP_METRICS_GAUGE,
                           "When the process began, since 1970.");
        aip_metrics_sample_ms(w, boot * 1000 + (int64_t)(p->start_ticks * 1000 / hertz),
                              "process_start_time_seconds");
}

void aip_process_metrics_write(struct aip_metrics_writer *w)
{
        struct process process;

        aip_metrics_family(w, "aiplat_build_info", AIP_METRICS_GAUGE, "The version that runs.");
        aip_metrics_sample(w, 1, "aiplat_build_info{version=\"%s\"}", AIPLAT_VERSION);
        if (read_stat(&process))
                write_stat(w, &process);
        write_descriptors(w);
}
