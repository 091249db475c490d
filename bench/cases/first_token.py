"""first-token: how long a token is under way, from the model server's socket to the client's."""

import asyncio
import json
import pathlib
import statistics
import subprocess
import sys
import time
import urllib.parse

from bench.lib.ours import CTL, Ours
from bench.lib.processes import BenchError, support
from bench.lib.result import OURS, Metric

TOKENS, WAIT_MS, EVERY_MS = 20, 100, 50
AT_ONCE = 50
MANY = f"{OURS}, {AT_ONCE} at once"
EMBEDDED = f"{OURS}, embedded"
EMBEDDED_MANY = f"{EMBEDDED}, {AT_ONCE} at once"
WORK = (f"streamed jobs, each with {TOKENS} tokens, one in {EVERY_MS} ms: from the moment at which the "
        "model server writes a token until a reader of /events has it, through worker, Redis and gateway; "
        "embedded: all in one process")
TARGET = "the first token after 5 ms (p50)"
METRICS = [Metric("first_p50", "first token, p50", "ms", 5, "lower"),
           Metric("first_p99", "first token, p99", "ms", better="lower"),
           Metric("p50", "any token, p50", "ms", better="lower"),
           Metric("p99", "any token, p99", "ms", better="lower")]
SERVER = pathlib.Path(__file__).resolve().parents[1] / "token_server.py"


async def request(address, head, body=b""):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(head + b"Host: bench\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return reader, writer


async def submit(address):
    body = b'{"prompt":"Tell the time","config_name":"bench","stream":true}'
    reader, writer = await request(
        address, b"POST /v1/jobs HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n",
        body)
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 201"):
        raise BenchError(f"POST: {answer[:200]}")
    return json.loads(answer.partition(b"\r\n\r\n")[2])["job_id"]


def latencies(line, now):
    """Milliseconds of each token in an event's data; they may come several in one."""
    text = json.loads(line[6:])["text"] if b'"text"' in line else ""
    return [(now - int(written)) / 1e6 for written in text.split("@")[1:]]


async def follow(address, job_id):
    """Milliseconds that each token of a job took."""
    reader, writer = await request(
        address, b"GET /v1/jobs/%s/events?types=token,end HTTP/1.1\r\n" % job_id.encode())
    taken = []
    while line := await asyncio.wait_for(reader.readline(), 30):
        if line.startswith(b"data: "):
            taken += latencies(line, time.monotonic_ns())
        elif line.startswith(b"event: end"):
            break
    writer.close()
    if len(taken) != TOKENS:
        raise BenchError(f"{len(taken)} of {TOKENS} tokens")
    return taken


async def one_job(address):
    return await follow(address, await submit(address))


async def all_jobs(address, n, at_once):
    jobs = []
    for _ in range(n // at_once):
        jobs += await asyncio.gather(*(one_job(address) for _ in range(at_once)))
    return jobs


def p99(values):
    """Of few values it is between the two largest, and nothing beyond them is made up."""
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def summarize(context, result, who, jobs):
    first = [job[0] for job in jobs]
    every = [taken for job in jobs for taken in job]
    figures = {"first_p50": statistics.median(first), "p50": statistics.median(every),
               "first_p99": p99(first), "p99": p99(every)}
    result.add(who, **figures)
    context.say(who, "first token p50 {first_p50:.2f} ms, p99 {first_p99:.2f} ms; "
                     "any p50 {p50:.2f}, p99 {p99:.2f} ms".format(**figures)
                     + f" ({len(jobs)} jobs)")


def start(we):
    we.migrate()
    we.gateway()
    we.worker()


def start_embedded(we):
    """All that is needed, in one process and in a file of its own."""
    we.settings.update(DATABASE_URL=f"sqlite:///{we.folder / 'bench.db'}", RABBITMQ_URL="memory:",
                       REDIS_URL="memory:")
    port = support.free_port()
    we.url = f"http://127.0.0.1:{port}"
    one = we.spawn("aiplatctl", [CTL, "dev"], AIPLAT_LISTEN=f"127.0.0.1:{port}")
    one.wait_until(lambda: we.get("/ready").get("status") == "ready")


def configure(we, port):
    subprocess.run([CTL, "config", "set", "bench", f"--url={we.url}", "--provider=openai",
                    "--model=bench", "--api-key-env=", f"--base-url=http://127.0.0.1:{port}"],
                   env=we.environment(), check=True, stdout=subprocess.DEVNULL)


def measure(context, result, who, n, at_once, start_programs):
    with context.stage() as stage, Ours(stage) as we:
        models = we.spawn("models", [sys.executable, SERVER, TOKENS, WAIT_MS, EVERY_MS])
        models.wait_until(lambda: models.log_path.read_text().endswith("\n"))
        start_programs(we)
        configure(we, int(models.log_path.read_text()))
        url = urllib.parse.urlsplit(we.url)
        address = (url.hostname, url.port)
        asyncio.run(all_jobs(address, at_once, at_once))
        summarize(context, result, who, asyncio.run(all_jobs(address, n, at_once)))
        models.stop()
        we.processes.remove(models)


def run(context):
    result = context.result("first-token", WORK, TARGET, METRICS)
    n = 5 if context.quick else 15
    def contender(who, n_jobs, at_once, start_programs):
        return who, lambda: measure(context, result, who, n_jobs, at_once, start_programs)

    context.interleave([contender(OURS, n, 1, start),
                        contender(MANY, 4 * AT_ONCE, AT_ONCE, start)])
    context.interleave([contender(EMBEDDED, n, 1, start_embedded),
                        contender(EMBEDDED_MANY, 4 * AT_ONCE, AT_ONCE, start_embedded)], rounds=1)
    result.fact("Reader and model server are Python programs, whose own time is in the figures.")
    return result
