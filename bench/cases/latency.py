"""latency: lone jobs, one after the other, through everything."""

import json
import socket
import statistics
import time
import urllib.parse

from bench.lib.ours import Ours
from bench.lib.processes import BenchError
from bench.lib.result import OURS, Metric

WORK = ("one job at a time with a model server that answers at once: from sending POST until "
        "GET ?wait= has answered COMPLETED, which it does when the store has said so")
TARGET = "p50 under 4 ms"
METRICS = [Metric("p50", "p50", "ms", 4, "lower"), Metric("p99", "p99", "ms", better="lower")]


class Client:
    """One kept connection, and as little Python between the socket and the clock as possible."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request):
        """(status, body)."""
        self.socket.sendall(request)
        data = self.socket.recv(65536)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self.socket.recv(65536)
        head = data[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15:].split(b"\r\n", 1)[0])
        while len(data) < end + 4 + length:
            data += self.socket.recv(65536)
        return int(head.split(b" ", 2)[1]), data[end + 4:]

    def close(self):
        self.socket.close()


def one_job(client, number):
    """Seconds from POST to COMPLETED."""
    body = b'{"prompt":"Write a haiku about programming, number %d","config_name":"bench"}' % number
    post = (b"POST /v1/jobs HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)) + body
    began = time.perf_counter()
    status, answer = client.ask(post)
    if status != 201:
        raise BenchError(f"POST: {status} {answer[:200]}")
    job_id = json.loads(answer)["job_id"].encode()
    status, answer = client.ask(b"GET /v1/jobs/%s?wait=30 HTTP/1.1\r\nHost: bench\r\n\r\n" % job_id)
    taken = time.perf_counter() - began
    if status != 200 or json.loads(answer)["status"] != "COMPLETED":
        raise BenchError(f"GET: {status} {answer[:200]}")
    return taken


def summarize(context, result, contender, seconds):
    p50 = statistics.median(seconds) * 1000
    p99 = statistics.quantiles(seconds, n=100)[98] * 1000
    result.add(contender, p50=p50, p99=p99)
    context.say(contender, f"p50 {p50:.2f} ms, p99 {p99:.2f} ms ({len(seconds)} jobs)")


def ours(context, result, n):
    with context.stage(more={"models"}) as stage, Ours(stage) as we:
        we.migrate()
        we.config_for_models()
        we.gateway()
        we.worker()
        client = Client(we.url)
        for i in range(100):
            one_job(client, i)
        clock = we.cpu()
        seconds = [one_job(client, 100 + i) for i in range(n)]
        result.add_cpu(OURS, clock.stop(), n)
        client.close()
        we.must_count("COMPLETED", n + 100)
        summarize(context, result, OURS, seconds)


def peer(context, result, one, n):
    def work(_):
        seconds = one.latency(n)
        if len(seconds) != n:
            raise BenchError(f"{len(seconds)} of {n} jobs")
        summarize(context, result, one.name, seconds)
    more = {"models"} if "e2e" in one.capabilities else ()
    context.run_peer(one, work, more=more)


def run(context):
    result = context.result("latency", WORK, TARGET, METRICS)
    n = 200 if context.quick else 1000
    peers = context.peers_that("latency")
    context.interleave([(OURS, lambda: ours(context, result, n)),
                        *((one.name, lambda one=one: peer(context, result, one, n // 2))
                          for one in peers)])
    return result
