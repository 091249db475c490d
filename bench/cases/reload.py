"""reload: a configuration changed in SQL, until each of four workers calls the new model."""

import random
import statistics
import time

from bench.lib.ours import Ours
from bench.lib.processes import BenchError
from bench.lib.result import OURS, Metric

WORK = ("UPDATE llm_configs in psql while four workers run 2,000 jobs/s; from sending the UPDATE "
        "until a worker's first call with the new model reaches the model server, for each of the four")
TARGET = "p99 under 100 ms"
METRICS = [Metric("p50", "p50", "ms", better="lower"), Metric("p99", "p99", "ms", 100, "lower"),
           Metric("worst", "slowest", "ms", better="lower")]
WORKERS, RATE = 4, 2000


def change(we, models, name):
    """One change; the milliseconds of each worker."""
    began = time.monotonic_ns()
    we.psql.ask(f"UPDATE llm_configs SET model_name = '{name}' WHERE name = 'bench'")
    deadline = time.monotonic() + 20
    while len(found := [one for one in models.seen() if one["model"] == name]) < WORKERS:
        if time.monotonic() > deadline:
            raise BenchError(f"only {[one['key'] for one in found]} used {name} within 20 s")
        time.sleep(0.01)
    return [(one["first_ns"] - began) / 1e6 for one in found]


def ours(context, result, changes):
    with context.stage(more={"models"}) as stage, Ours(stage) as we:
        models = stage.site.server("models")
        we.migrate()
        we.config_for_models(model="m-0", api_key_env="OPENAI_API_KEY")
        for i in range(WORKERS):
            we.worker(f"worker-{i + 1}", OPENAI_API_KEY=f"worker-{i + 1}")
        n = int(RATE * (3 + changes * 0.2))
        load = we.start_submit(n, rate=RATE, in_flight=512, config="bench")
        deadline = time.monotonic() + 30
        while len({one["key"] for one in models.seen()}) < WORKERS:
            if time.monotonic() > deadline:
                raise BenchError("not every worker runs jobs")
            time.sleep(0.05)
        time.sleep(1)
        taken = []
        for i in range(changes):
            models.reset()
            taken += change(we, models, f"m-{i + 1}")
            time.sleep(random.uniform(0.02, 0.08))
        load_seconds = we.submit_result(load)["seconds"]
        if load_seconds > n / RATE * 1.1:
            raise BenchError(f"{n / load_seconds:,.0f} jobs/s were submitted, not {RATE:,}")
        we.wait_ended(60)
        we.must_count("COMPLETED", n)
        result.add(OURS, p50=statistics.median(taken), p99=statistics.quantiles(taken, n=100)[98],
                   worst=max(taken))
        context.say(OURS, f"p50 {statistics.median(taken):.1f} ms, "
                          f"p99 {statistics.quantiles(taken, n=100)[98]:.1f} ms ({len(taken)} samples)")


def run(context):
    result = context.result("reload", WORK, TARGET, METRICS)
    context.interleave([(OURS, lambda: ours(context, result, 30 if context.quick else 100))])
    return result
