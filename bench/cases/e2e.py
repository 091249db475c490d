"""e2e: the whole way of a job, under load, with a model server that answers at once."""

import time

from bench.lib import wrk
from bench.lib.ours import Ours
from bench.lib.processes import BenchError
from bench.lib.result import OURS, Metric

WORK = ("clients over 256 connections post a job, then read it until it is COMPLETED; between them "
        "the queue, one worker and a model server over HTTP that answers at once")
TARGET = "6,000/s"
METRICS = [Metric("rate", "posted, run, stored and read", "jobs/s", 6000),
           Metric("times", "times the Python stack", "×")]
BODY = '{"prompt":"Write a haiku about programming, number {n}","config_name":"bench"}'


def load(context, base, path, body, path_get):
    warm = wrk.post_and_read(base, path, body, path_get, 1 if context.quick else 2)
    return warm, wrk.post_and_read(base, path, body, path_get, context.seconds(),
                                   first=warm["posted"] + 1000)


def ours(context, result):
    with context.stage(more={"models"}) as stage, Ours(stage) as we:
        we.migrate()
        we.config_for_models()
        we.gateway()
        we.worker()
        clock = we.cpu()
        _, run = load(context, we.url, "/v1/jobs", BODY, "/v1/jobs/{id}?wait=30")
        we.wait_ended(60)
        n, cpu = we.count(), clock.stop()
        we.must_count("COMPLETED", n)
        asked = stage.site.server("models").stats()["requests"]
        if asked != n:
            raise BenchError(f"the model was asked {asked} times for {n} jobs")
        rate = run["ended"] / run["seconds"]
        result.add(OURS, rate=rate)
        result.add_cpu(OURS, {**cpu, "load": run["cpu"] * n / run["posted"]}, n)
        context.say(OURS, f"{rate:,.0f} jobs/s")


def peer(context, result, one):
    def work(_):
        one.start_worker()
        base, path, body, path_get = one.http()
        warm, run = load(context, base, path, body, path_get)
        accepted = one.accepted()
        deadline = time.monotonic() + 120
        while (done := one.completed()) < accepted and time.monotonic() < deadline:
            time.sleep(0.1)
        if done != accepted or accepted < warm["posted"] + run["posted"]:
            raise BenchError(f"{warm['posted'] + run['posted']} posted, {accepted} stored, {done} done")
        result.add(one.name, rate=run["ended"] / run["seconds"])
        context.say(one.name, f"{run['ended'] / run['seconds']:,.0f} jobs/s")
    context.run_peer(one, work, more={"models"})


def run(context):
    result = context.result("e2e", WORK, TARGET, METRICS)
    peers = [one for one in context.peers if {"e2e", "http"} <= set(one.capabilities)]
    context.interleave([(OURS, lambda: ours(context, result)),
                        *((one.name, lambda one=one: peer(context, result, one)) for one in peers)])
    for one in peers:
        if theirs := result.median("rate", one.name):
            result.add(OURS, times=result.median("rate") / theirs)
    return result
