"""submit: POST /v1/jobs until the disk has them. No worker runs."""

from bench.lib import wrk
from bench.lib.ours import Ours
from bench.lib.processes import BenchError
from bench.lib.result import OURS, Metric

WORK = "POST /v1/jobs over 64 connections, each a distinct job, durable before the 201"
TARGET = "12,000/s, p99 under 30 ms; ten times the Python stack"
BODY = '{"prompt":"Write a haiku about programming, number {n}","config_name":"simulated"}'
METRICS = [Metric("rate", "accepted", "jobs/s", 12000), Metric("p50", "p50", "ms", better="lower"),
           Metric("p99", "p99", "ms", 30, "lower"),
           Metric("times", "times the Python stack", "×", 10)]


def load(context, base, path, body, count):
    """Warms up, then measures; the store must hold what was accepted. (load, jobs in the store)."""
    before = count()
    warm = wrk.post(base, path, body, 1 if context.quick else 2)
    run = wrk.post(base, path, body, context.seconds(), first=warm["requests"] + wrk.CONNECTIONS)
    accepted, stored = warm["requests"] + run["requests"], count() - before
    # Posted when the load broke off, twice: stored perhaps, but nobody read the answer.
    if not accepted <= stored <= accepted + 2 * wrk.CONNECTIONS:
        raise BenchError(f"{accepted} jobs were accepted, {stored} are in the store")
    return run


def record(result, contender, run, context):
    result.add(contender, rate=run["rate"], p50=run["p50_ms"], p99=run["p99_ms"])
    context.say(contender, f"{run['rate']:,.0f} jobs/s, p50 {run['p50_ms']:.1f} ms, "
                           f"p99 {run['p99_ms']:.1f} ms")


def ours(context, result):
    with context.stage() as stage, Ours(stage) as we:
        we.gateway()
        clock = we.cpu()
        run = load(context, we.url, "/v1/jobs", BODY, we.count)
        behind = int(we.psql.value("SELECT count(*) FROM outbox"))
        n = we.count()
        cpu = {**clock.stop(), "load": 0}
        result.add_cpu(OURS, {**cpu, "load": run["cpu"] * n / run["requests"]}, n)
        we.wait_outbox_empty(120)
        depth = stage.queue_depth("ai_tasks")
        if depth < n:
            raise BenchError(f"{depth} messages in the queue for {n} jobs")
        result.add(OURS, behind=behind / n * 100)
        record(result, OURS, run, context)


def peer(context, result, one):
    def work(_):
        base, path, body, _ = one.http()
        record(result, one.name, load(context, base, path, body, one.accepted), context)
    context.run_peer(one, work)


def run(context):
    result = context.result("submit", WORK, TARGET, METRICS)
    peers = context.peers_that("http")
    context.interleave([(OURS, lambda: ours(context, result)),
                        *((one.name, lambda one=one: peer(context, result, one)) for one in peers)])
    for one in peers:
        theirs = result.median("rate", one.name)
        if theirs:
            result.add(OURS, times=result.median("rate") / theirs)
    behind = result.samples.pop("behind", {}).get(OURS, [0])
    result.fact(f"When the load ended, the messages of at most {max(behind):.1f} % of the jobs were "
                "still to be confirmed by RabbitMQ; all of them were then.")
    return result
