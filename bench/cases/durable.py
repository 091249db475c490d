"""durable: runs of graphs that are kept at each step, by bench/checkpoints.c, and peers' with their savers."""

import json
import pathlib
import subprocess
import tempfile

from bench.lib.ours import CHECKPOINTS
from bench.lib.processes import BenchError
from bench.lib.result import OURS, Metric

WORK = ("a loop of one integer channel whose state is kept at each step: one run alone, and 100 at once in "
        "PostgreSQL; one alone in SQLite")
TARGET = "1,500 and 20,000 steps/s; in SQLite 5,000"
METRICS = [Metric("alone", "PostgreSQL, one run", "steps/s", 1500),
           Metric("many", "PostgreSQL, 100 runs at once", "steps/s", 20000),
           Metric("sqlite", "SQLite, one run", "steps/s", 5000)]


def steps_per_second(url, runs, steps):
    done = subprocess.run([CHECKPOINTS, url, "--runs", str(runs), "--steps", str(steps)],
                          capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise BenchError(f"checkpoints: {done.stderr}")
    return json.loads(done.stdout)["steps_per_s"]


def in_postgres(context, runs, steps):
    with context.stage(needs={"postgres"}) as stage:
        rate = steps_per_second(stage.postgres.url, runs, steps)
        kept = stage.count("SELECT count(*) FROM checkpoints")
        if kept < runs * steps:
            raise BenchError(f"{kept} checkpoints of {runs * steps} steps")
        return rate


def in_sqlite(steps):
    with tempfile.TemporaryDirectory(prefix="aiplat-bench-") as folder:
        return steps_per_second(f"sqlite:///{pathlib.Path(folder) / 'runs.db'}", 1, steps)


def ours(context, result):
    alone, many = in_postgres(context, 1, 2000), in_postgres(context, 100, 500)
    sqlite = in_sqlite(3000)
    result.add(OURS, alone=alone, many=many, sqlite=sqlite)
    context.say(OURS, f"{alone:,.0f} steps/s alone, {many:,.0f} of 100; SQLite {sqlite:,.0f}")


def peer(context, result, one):
    found = {}
    for key, runs, steps in (("alone", 1, 1000), ("many", 100, 50)):
        with context.stage(needs=one.needs) as stage:
            found[key] = one.durable(stage.postgres.url, runs, steps)["steps_per_s"]
    result.add(one.name, **found)
    context.say(one.name, ", ".join(f"{key} {value:,.0f}" for key, value in found.items()))


def run(context):
    result = context.result("durable", WORK, TARGET, METRICS)
    context.interleave([(OURS, lambda: ours(context, result)),
                        *((one.name, lambda one=one: peer(context, result, one))
                          for one in context.peers_that("durable"))])
    return result
