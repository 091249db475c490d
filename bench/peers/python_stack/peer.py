"""The product brief's stack in Python: FastAPI, SQLAlchemy, asyncpg, aio-pika, Redis, LangGraph."""

import json
import os
import time
import urllib.request

from bench.lib.peer import BenchError
from bench.peers.common import PythonPeer

WARM = 20


class PythonStack(PythonPeer):
    name = "Python stack of the brief"
    why_this_way = ("uvicorn with uvloop and httptools, a worker process a core: "
                    "https://www.uvicorn.org/deployment/ https://fastapi.tiangolo.com/deployment/"
                    "server-workers/; confirms and persistent messages: "
                    "https://docs.aio-pika.com/quick-start.html")
    package = "fastapi"
    needs = frozenset({"postgres", "rabbitmq", "redis"})
    capabilities = frozenset({"http", "status", "drain", "e2e", "latency"})

    def start(self, servers):
        self.servers = servers
        self.program("schema", {})
        self.port = self.free_port()
        self.spawn([self.python(), "-m", "uvicorn", "gateway:app", "--host", "127.0.0.1",
                    "--port", self.port, "--workers", len(os.sched_getaffinity(0)),
                    "--loop", "uvloop", "--http", "httptools", "--no-access-log",
                    "--log-level", "warning"], "api", ready=self.healthy)

    def healthy(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
            return answer.status == 200

    def environment(self):
        settings = {}
        if getattr(self, "servers", None):
            settings = {"DATABASE_URL": self.servers.postgres.url,
                        "RABBITMQ_URL": self.servers.rabbitmq.url,
                        "REDIS_URL": self.servers.redis.url}
        return {**super().environment(), **settings}

    # -- http, status -----------------------------------------------------------------------

    def http(self):
        return (f"http://127.0.0.1:{self.port}", "/v1/jobs",
                '{"prompt": "Write a haiku about programming, number {n}"}', "/v1/jobs/{id}")

    def accepted(self):
        return self.servers.count("SELECT count(*) FROM jobs")

    def completed(self):
        return self.servers.count("SELECT count(*) FROM jobs WHERE status = 'COMPLETED'")

    # -- drain, e2e, latency ----------------------------------------------------------------

    def fill(self, n):
        self.program("fill", {"n": n})

    def drain(self, n):
        seconds = self.program("drain", {"n": n}, "worker")["seconds"]
        if self.completed() != n or self.accepted() != n:
            raise BenchError(f"{self.accepted()} jobs, {self.completed()} completed, {n} wanted")
        return seconds

    def start_worker(self):
        models = self.servers.models
        words = [*self.interpreter(), "work", "{}"]
        process = self.spawn(words, "worker", {"MODEL_BASE_URL": models.url} if models else {})
        process.wait_until(lambda: "ready" in process.log_path.read_text(errors="replace"))

    def latency(self, n):
        self.start_worker()
        base, path, body, path_of = self.http()
        seconds = []
        for i in range(WARM + n):
            began = time.monotonic()
            job_id = self.ask(base + path, body.replace("{n}", str(i)))["job_id"]
            while self.ask(base + path_of.replace("{id}", job_id))["status"] != "COMPLETED":
                time.sleep(0.0005)
            seconds.append(time.monotonic() - began)
        return seconds[WARM:]

    @staticmethod
    def ask(url, body=None):
        request = urllib.request.Request(url, body and body.encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
