"""status: GET /v1/jobs/{id} of a thousand jobs, in turn."""

import json
import time
import urllib.request

from bench.lib import wrk
from bench.lib.ours import Ours
from bench.lib.processes import BenchError
from bench.lib.result import OURS, Metric

WORK = "GET /v1/jobs/{id} over 64 connections, 1,000 jobs in turn: ended ones, and ones that wait"
TARGET = "60,000/s"
METRICS = [Metric("ended", "ended jobs", "reads/s", 60000),
           Metric("p99", "ended jobs, p99", "ms", better="lower"),
           Metric("queued", "waiting jobs", "reads/s")]
JOBS = 1000


def ours(context, result):
    with context.stage() as stage, Ours(stage) as we:
        we.migrate()
        gateway = we.gateway()
        for key, config in (("ended", "simulated"), ("queued", "default-smart")):
            we.psql.ask("DELETE FROM jobs")
            driver = we.start_submit(JOBS, config=config, label=f"load-{key}")
            we.submit_result(driver)
            we.wait_outbox_empty(60)
            we.end(driver)
            if key == "ended":
                worker = we.worker()
                we.wait_ended(60)
                we.end(worker)
            we.must_count("COMPLETED" if key == "ended" else "QUEUED", JOBS)
            paths = [f"/v1/jobs/{row[0]}" for row in we.psql.ask("SELECT id FROM jobs")]
            wrk.get(we.url, paths, 1)
            clock = we.cpu()
            run = wrk.get(we.url, paths, context.seconds())
            result.add(OURS, **{key: run["rate"]})
            if key == "ended":
                result.add(OURS, p99=run["p99_ms"])
                result.add_cpu(f"{OURS}, ended jobs", {**clock.stop(), "load": run["cpu"]},
                               run["requests"])
            context.say(OURS, f"{key}: {run['rate']:,.0f} reads/s, p99 {run['p99_ms']:.1f} ms")
        gateway.check()


def post(base, path, body):
    request = urllib.request.Request(base + path, body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["job_id"]


def peer(context, result, one):
    def work(_):
        base, path, body, path_get = one.http()
        ids = [post(base, path, body.replace("{n}", str(i))) for i in range(JOBS)]
        one.start_worker()
        deadline = time.monotonic() + 120
        while one.completed() < JOBS:
            if time.monotonic() > deadline:
                raise BenchError(f"{one.completed()} of {JOBS} jobs ended in two minutes")
            time.sleep(0.1)
        paths = [path_get.replace("{id}", str(one_id)) for one_id in ids]
        wrk.get(base, paths, 1)
        run = wrk.get(base, paths, context.seconds())
        result.add(one.name, ended=run["rate"], p99=run["p99_ms"])
        context.say(one.name, f"ended: {run['rate']:,.0f} reads/s, p99 {run['p99_ms']:.1f} ms")
    context.run_peer(one, work, more={"models"})


def run(context):
    result = context.result("status", WORK, TARGET, METRICS)
    peers = [one for one in context.peers if {"status", "http", "e2e"} <= set(one.capabilities)]
    context.interleave([(OURS, lambda: ours(context, result)),
                        *((one.name, lambda one=one: peer(context, result, one)) for one in peers)])
    return result
