"""submit-library: jobs submitted by a C program through libaiplat's public API (bench/submit_jobs.c),
which publishes their messages too. One call a job from 64 callers, and many at once.
"""

import time

from bench.lib.ours import Ours
from bench.lib.processes import BenchError, cpu_seconds
from bench.lib.result import OURS, Metric

WORK = ("jobs submitted by one process through the library, durable: one call a job, 64 callers; "
        "and in bulk, 1,000 at a time")
TARGET = "30,000/s; in bulk 60,000/s"
METRICS = [Metric("single", "one call a job", "jobs/s", 30000),
           Metric("p99", "one call a job, p99", "ms", better="lower"),
           Metric("bulk", "in bulk", "jobs/s", 60000),
           Metric("bulk_published", "in bulk, all messages confirmed", "jobs/s")]


def submit(context, result, key, n, group, in_flight):
    with context.stage() as stage, Ours(stage) as we:
        # The tables are made, and PostgreSQL and the driver are warm, before the measured run.
        warm = we.start_submit(2000, group, in_flight, label="warm-up")
        we.submit_result(warm)
        we.wait_outbox_empty(60)
        we.end(warm)
        clock = we.cpu()
        load = we.start_submit(n, group, in_flight, label="program")
        one = we.submit_result(load)
        began_waiting = time.monotonic()
        we.wait_outbox_empty(180)
        published = one["seconds"] + time.monotonic() - began_waiting
        cpu = clock.stop()
        cpu["program"] = cpu_seconds(load.pid)
        we.must_count(None, n + 2000)
        depth = stage.queue_depth("ai_tasks")
        if depth < n + 2000:
            raise BenchError(f"{depth} messages in the queue for {n + 2000} jobs")
        rate = n / one["seconds"]
        result.add(OURS, **{key: rate})
        if key == "bulk":
            result.add(OURS, bulk_published=n / published)
        else:
            result.add(OURS, p99=one["p99_ms"])
        result.add_cpu(f"{OURS}, {'in bulk' if key == 'bulk' else 'one call a job'}", cpu, n)
        context.say(OURS, f"{key}: {rate:,.0f} jobs/s; all published at {n / published:,.0f}/s")


def ours(context, result):
    part = 5 if context.quick else 1
    submit(context, result, "single", 150000 // part, 1, 64)
    submit(context, result, "bulk", 300000 // part, 1000, 4)


def peer(context, result, one):
    for capability, key in (("add", "single"), ("bulk", "bulk")):
        if capability not in one.capabilities:
            continue
        def once(n, capability=capability):
            taken = []
            context.run_peer(one, lambda _: taken.append(getattr(one, capability)(n)))
            return taken[0]
        n, seconds = context.sized(one, capability, 600000, once)
        result.add(one.name, **{key: n / seconds})
        context.say(one.name, f"{key}: {n / seconds:,.0f} jobs/s ({n:,} jobs)")


def run(context):
    result = context.result("submit-library", WORK, TARGET, METRICS)
    peers = [one for one in context.peers if {"add", "bulk"} & set(one.capabilities)]
    context.interleave([(OURS, lambda: ours(context, result)),
                        *((one.name, lambda one=one: peer(context, result, one)) for one in peers)])
    return result
