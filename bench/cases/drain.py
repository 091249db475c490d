"""drain: one worker process works off a full queue. The model is simulated and takes no time."""

import time

from bench.lib.ours import Ours
from bench.lib.processes import cpu_seconds
from bench.lib.result import OURS, Metric

WORK = ("100,000 queued jobs, messages included, a simulated model that answers at once, one worker "
        "process; from its start until the last job is recorded")
TARGET = "35,000/s; ahead of BullMQ and graphile-worker"
METRICS = [Metric("rate", "ended", "jobs/s", 35000),
           Metric("published", "ended, all events published", "jobs/s"),
           Metric("times", "times the fastest peer", "×", 1)]
JOBS = 100000
SLOTS = 1000  # as docs/operations.md advises for jobs that take no time: a claim is as large as there are


def drain(context, we, n):
    """(seconds until all have ended, until the outbox is empty too, CPU seconds)."""
    clock = we.cpu()
    began = time.monotonic()
    worker = we.worker(AIPLAT_CONCURRENCY=SLOTS)
    we.wait_ended(180, check=[worker])
    ended = time.monotonic() - began
    we.wait_outbox_empty(180)
    published = time.monotonic() - began
    cpu = clock.stop()
    cpu["worker"] = cpu_seconds(worker.pid)
    we.must_count("COMPLETED", n)
    return ended, published, cpu


def ours(context, result, n):
    with context.stage() as stage, Ours(stage) as we:
        context.live(f"{result.name}: filling the queue")
        we.fill(n)
        ended, published, cpu = drain(context, we, n)
        result.add(OURS, rate=n / ended, published=n / published)
        result.add_cpu(OURS, cpu, n)
        context.say(OURS, f"{n / ended:,.0f} jobs/s; {n / published:,.0f} with events published")


def peer(context, result, one):
    def once(n):
        taken = []
        def work(stage):
            one.fill(n)
            taken.append(one.drain(n))
        context.run_peer(one, work)
        return taken[0]
    n, seconds = context.sized(one, "drain", JOBS, once)
    result.add(one.name, rate=n / seconds)
    context.say(one.name, f"{n / seconds:,.0f} jobs/s ({n:,} jobs)")


def run(context):
    result = context.result("drain", WORK, TARGET, METRICS)
    n = JOBS // 4 if context.quick else JOBS
    peers = context.peers_that("drain")
    context.interleave([(OURS, lambda: ours(context, result, n)),
                        *((one.name, lambda one=one: peer(context, result, one)) for one in peers)])
    best = max((result.median("rate", one.name) or 0 for one in peers), default=0)
    if best:
        result.add(OURS, times=result.median("rate") / best)
    result.fact(f"Our worker has {SLOTS:,} slots (AIPLAT_CONCURRENCY).")
    result.fact(f"Slow peers drain fewer jobs than our {n:,}, for some seconds each.")
    return result
