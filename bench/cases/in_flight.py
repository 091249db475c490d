"""in-flight: ten thousand model calls at once in one worker."""

import time

from bench.lib.ours import Ours
from bench.lib.processes import BenchError, cpu_seconds
from bench.lib.result import OURS, Metric

CALLS = 10000
KEPT_FREE = 32  # slots that a worker keeps from any one configuration
WORK = ("60,000 jobs whose model calls take 2 s each, 10,000 at once in one worker, over HTTP/1.1 and "
        "over HTTP/2 with TLS")
TARGET = "4,500 jobs/s, under 300 MB resident, less over HTTP/2, none lost"
METRICS = [Metric("rate", "ended, from the worker's start to the last", "jobs/s", 4500),
           Metric("memory", "worker's resident memory at its peak", "MB", 300, "lower"),
           Metric("open", "calls open at once, at most", "calls", CALLS)]
DELAY_MS = 2000
OVER_H2 = f"{OURS}, HTTP/2"


def run_jobs(context, result, n, who, models, settings):
    with context.stage(more={models}) as stage, Ours(stage) as we:
        models = stage.model_server
        we.migrate()
        we.config_for_models(delay_ms=DELAY_MS)
        context.live(f"in-flight: {who}: filling the queue")
        we.fill(n, config="bench")
        clock = we.cpu()
        began = time.monotonic()
        worker = we.worker(AIPLAT_CONCURRENCY=CALLS + KEPT_FREE, **settings(models))
        # A worker that is nowhere near it by now never will be, and would take many minutes.
        time.sleep(2 * DELAY_MS / 1000)
        if (most := models.stats()["most_open"]) < CALLS * 0.5:
            raise BenchError(f"{most} calls at once after {2 * DELAY_MS / 1000:.0f} s, not {CALLS:,}")
        we.wait_ended(60, pause=0.05)
        seconds = time.monotonic() - began
        cpu = {**clock.stop(), "worker": cpu_seconds(worker.pid)}
        we.must_count("COMPLETED", n)
        stats = models.stats()
        if stats["most_open"] < CALLS * 0.99:  # then this has measured something else
            raise BenchError(f"{stats['most_open']:,} calls at once at most, not {CALLS:,}: "
                             f"{n / seconds:,.0f} jobs/s, {we.resident_mb(worker, 'VmHWM'):.0f} MB")
        if stats["requests"] != n or stats["dropped"]:
            raise BenchError(f"{stats['requests']} calls, {stats['dropped']} broken off, for {n} jobs")
        result.add(who, rate=n / seconds, memory=we.resident_mb(worker, "VmHWM"),
                   open=stats["most_open"])
        result.add_cpu(who, cpu, n)
        context.say(who, f"{n / seconds:,.0f} jobs/s, {we.resident_mb(worker, 'VmHWM'):.0f} MB, "
                         f"{stats['most_open']:,} at once")
        return stats


def over_h1(context, result, n):
    run_jobs(context, result, n, OURS, "models", lambda models: {})


def over_h2(context, result, n):
    stats = run_jobs(context, result, n, OVER_H2, "models-h2",
                     lambda models: {"SSL_CERT_FILE": models.certificate()})
    result.fact(f"Over HTTP/2 the {CALLS:,} calls shared {stats['connections']} connections; the model "
                "server there is Node's, which takes more of the processors than ours does.")


def run(context):
    result = context.result("in-flight", WORK, TARGET, METRICS)
    n = 30000 if context.quick else 60000
    context.interleave([(OURS, lambda: over_h1(context, result, n)),
                        (OVER_H2, lambda: over_h2(context, result, n))])
    result.fact(f"{n:,} jobs; with {CALLS:,} at once and 2 s each, {n / (n / CALLS * 2):,.0f} jobs/s "
                "is all there could be.")
    return result
