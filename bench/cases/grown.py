"""grown: submit and drain when the table already holds five million ended jobs, and when it is empty."""

import importlib
import subprocess
import time

from bench.lib.ours import Ours
from bench.lib.processes import BenchError
from bench.lib.result import OURS, Metric

submit = importlib.import_module("bench.cases.submit")

IS_LONG = True  # not in `all --quick`
OLD = 5000000
WORK = ("submit and drain with 5,000,000 ended jobs in the table and with an empty table, by turns; "
        "making the old jobs and one VACUUM ANALYZE are not counted")
TARGET = "within 20 % of the empty table"
GROWN, EMPTY = OURS, "aiplat, empty table"
METRICS = [Metric("submit", "accepted", "jobs/s"), Metric("drain", "ended", "jobs/s"),
           Metric("submit_share", "submit, grown over empty", "%", 80),
           Metric("drain_share", "drain, grown over empty", "%", 80)]
JOBS = 50000

# A copy of one ended job, whatever columns it has, with an id and times of its own. The ids are
# version 7 and lie in the seconds before now, in the order of their milliseconds.
COPY = """
INSERT INTO jobs ({columns})
SELECT {values} FROM (SELECT * FROM jobs WHERE id = '{model}') j,
       generate_series({first}, {last}) i
"""
ID = """(lpad(to_hex({base} + i / 1000), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8'
        || substr(md5(i::text), 4, 15))::uuid"""


def copies(we, first, last, base, model, old):
    columns, values = [], []
    for name, kind in we.psql.ask(
            "SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'jobs'::regclass "
            "AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"):
        columns.append(name)
        if name == "id":
            values.append(ID.format(base=base))
        elif kind == "timestamp with time zone":
            values.append(f"j.{name} - ({old} - i) * interval '1 microsecond'")
        else:
            values.append(f"j.{name}")
    return COPY.format(columns=", ".join(columns), values=", ".join(values), model=model,
                       first=first, last=last)


def grow(context, result, we, old):
    """One real job, ended by a real worker, then copies of it by two sessions side by side."""
    we.migrate()
    we.fill(1)
    worker = we.worker("worker-0")
    we.wait_ended(60)
    we.end(worker)
    model = we.psql.value("SELECT id FROM jobs")
    base = int(time.time() * 1000) - old // 1000
    began = time.monotonic()
    sessions = []
    for part in range(2):
        # each takes every other hundred thousand, so that ids still come nearly in order
        text = ";\n".join(copies(we, at, at + 99999, base, model, old)
                          for at in range(part * 100000, old, 200000))
        sessions.append(subprocess.Popen(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", we.stage.postgres.url],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        sessions[-1].stdin.write(text + ";\n")
        sessions[-1].stdin.close()
    for one in sessions:
        context.live(f"grown: making {old:,} ended jobs")
        error = one.stderr.read()
        if one.wait() != 0:
            raise BenchError(f"psql: {error}")
    we.psql.ask("VACUUM ANALYZE jobs")
    we.psql.ask("CHECKPOINT")
    if (found := we.count("COMPLETED")) != old + 1:
        raise BenchError(f"{found} old jobs, not {old + 1}")
    parts = we.psql.ask("SELECT tableoid::regclass, count(*) FROM jobs GROUP BY 1 ORDER BY 1")
    result.fact("Ended jobs at the beginning, by table: "
                + ", ".join(f"{name} {int(count):,}" for name, count in parts) + ".")
    context.say(OURS, f"{old:,} old jobs made in {time.monotonic() - began:.0f} s")


def measure(context, result, we, contender):
    """Submit, work off what was submitted, then drain a queue of known length."""
    gateway = we.gateway()
    run = submit.load(context, we.url, "/v1/jobs", submit.BODY, we.count)
    we.wait_outbox_empty(120)
    we.end(gateway)
    worker = we.worker("worker-1")
    we.wait_ended(180)
    we.end(worker)
    before = we.count("COMPLETED")
    driver = we.start_submit(JOBS, group=500, in_flight=8)
    we.submit_result(driver)
    we.wait_outbox_empty(120)
    we.end(driver)
    began = time.monotonic()
    worker = we.worker()
    we.wait_ended(180, check=[worker])
    seconds = time.monotonic() - began
    we.wait_outbox_empty(120)
    we.end(worker)
    we.must_count("COMPLETED", before + JOBS)
    result.add(contender, submit=run["rate"], drain=JOBS / seconds)
    context.say(contender, f"{run['rate']:,.0f} accepted/s, {JOBS / seconds:,.0f} ended/s")


def grown_round(context, result, we):
    we.psql.ask("CHECKPOINT")
    measure(context, result, we, GROWN)
    we.psql.ask("VACUUM jobs")  # or autovacuum does it in the other table's time
    we.psql.ask("VACUUM outbox")


def empty_round(context, result):
    with context.stage() as stage, Ours(stage) as we:
        we.migrate()
        measure(context, result, we, EMPTY)


def run(context):
    result = context.result("grown", WORK, TARGET, METRICS)
    with context.stage() as stage, Ours(stage) as we:
        grow(context, result, we, OLD // 10 if context.quick else OLD)
        context.interleave([(GROWN, lambda: grown_round(context, result, we)),
                            (EMPTY, lambda: empty_round(context, result))])
    for key in ("submit", "drain"):
        share = result.median(key, GROWN) / result.median(key, EMPTY) * 100
        result.add(OURS, **{f"{key}_share": share})
    return result
