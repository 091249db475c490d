"""Nothing is left over: queue and outbox, memory, descriptors, threads."""

import statistics

# How much above its level a process may be when all is quiet again.
#
# Descriptors: PostgreSQL's lanes are opened when they are needed (up to 8 in all). A worker also keeps
# idle connections to the model server for its next calls, as many as calls were open at once, for 30 s: up
# to its concurrency (256), reached while it catches up after an outage. Long runs wait until they
# are closed.
# Threads: resolvers of host names come and go (up to 2).
# Memory: the allocator keeps what a burst needed, so it is compared with a process that has been
# through a burst (the warm-up), and may have met a greater one since: half as much again, and 16 MB for
# the bounded queues (20,000 operations of some 500 bytes), which an outage fills and nothing else.
MORE_FDS, IDLE_MODEL_CONNECTIONS = 8, 256
MORE_THREADS = 3
MORE_KB, MORE_KB_FACTOR = 16384, 1.5
# While all is quiet nothing grows; 2 MB is what the allocator and chores move by.
QUIET_KB = 2048
LEAST_SAMPLES = 3


def nothing_is_left(records, report):
    for what in ("outbox", "queue"):
        n = records.outbox.get(what)
        if n != 0:
            report.violation("drained", f"{what}: {n} left", evidence=[records.outbox])


def samples_of(records, span):
    """process → its samples within the span, in order."""
    groups = records.group((one for one in records.resources if span[0] <= one["t"] <= span[1]),
                           lambda one: one["process"])
    return {process: sorted(samples, key=lambda one: one["t"])
            for process, samples in groups.items() if len(samples) >= LEAST_SAMPLES}


def resources_are_back(records, report):
    rule = "resources"
    baseline, quiet = records.run.get("baseline"), records.run.get("quiet")
    if not baseline or not quiet:
        report.did_not_judge(rule, "run.json names no baseline or no quiet span")
        return
    before, after = samples_of(records, baseline), samples_of(records, quiet)
    for process in before.keys() - after.keys():
        report.violation(rule, f"{process} was not there any more when all was quiet",
                         evidence=before[process][-1:])
    for process, samples in after.items():
        kind = process.rsplit("-", 1)[0]
        level = before.get(process) or [one for name, ones in before.items()
                                        if name.rsplit("-", 1)[0] == kind for one in ones]
        if level:
            compare(report, process, level, samples, more_fds(records.run, kind))
        else:
            report.did_not_judge(f"{rule} of {process}", "no sample of its level")
        third = max(1, len(samples) // 3)
        growth = mean(samples[-third:], "rss_kb") - mean(samples[:third], "rss_kb")
        if growth > QUIET_KB:
            report.violation(rule, f"{process} grows by {growth:.0f} kB while nothing happens",
                             evidence=[samples[0], samples[-1]])


def mean(samples, field):
    return statistics.fmean(one[field] for one in samples)


def more_fds(run, kind):
    keeps_some = kind == "worker" and not run.get("idle_connections_closed")
    return MORE_FDS + IDLE_MODEL_CONNECTIONS if keeps_some else MORE_FDS


def compare(report, process, level, samples, fds_more):
    for field, allowed in (("fds", mean(level, "fds") + fds_more),
                           ("threads", mean(level, "threads") + MORE_THREADS),
                           ("rss_kb", mean(level, "rss_kb") * MORE_KB_FACTOR + MORE_KB)):
        now = mean(samples, field)
        report.counts[f"{field} of {process}"] = round(now)
        if now > allowed:
            report.violation("resources", f"{process}: {field} {now:.0f}, was "
                             f"{mean(level, field):.0f}, may be {allowed:.0f}",
                             evidence=[level[-1], samples[0], samples[-1]])


RULES = (nothing_is_left, resources_are_back)
