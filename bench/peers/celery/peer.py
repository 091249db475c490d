"""Celery: RabbitMQ takes the tasks, Redis keeps the results."""

import json
import os

from bench.lib.peer import BenchError
from bench.peers.common import PythonPeer


class Celery(PythonPeer):
    name = "Celery"
    why_this_way = ("acks_late, prefetch multiplier 128, a pool process a core: "
                    "https://docs.celeryq.dev/en/stable/userguide/optimizing.html; RabbitMQ with "
                    "results in Redis: https://docs.celeryq.dev/en/stable/getting-started/"
                    "backends-and-brokers/")
    package = "celery"
    needs = frozenset({"rabbitmq", "redis"})
    capabilities = frozenset({"add", "drain", "e2e", "latency"})

    def start(self, servers):
        self.servers = servers

    def environment(self):
        return {**super().environment(), "BROKER_URL": self.servers.rabbitmq.url,
                "RESULT_URL": self.servers.redis.url}

    def queued(self):
        return self.servers.queue_depth("celery")

    def add(self, n, callers=64):
        seconds = self.program("add", {"n": n, "callers": callers})["seconds"]
        if self.queued() != n:
            raise BenchError(f"{n} tasks were published, {self.queued()} are in the queue")
        return seconds

    def fill(self, n):
        self.add(n, 4)

    def worker(self, models=None):
        """One worker: a parent and a pool process a core."""
        words = [self.python(), "-m", "celery", "-A", "jobs", "worker", "--loglevel", "WARNING",
                 "--concurrency", len(os.sched_getaffinity(0)), "-O", "fair"]
        return self.spawn(words, "worker", {"MODEL_BASE_URL": models} if models else {})

    def drain(self, n):
        watcher = self.spawn_program("watch", {"n": n}, "watch", ready="watching")
        self.worker()
        watcher.process.wait(600)
        if watcher.process.returncode != 0:
            raise BenchError(f"Celery: {watcher.log_tail()}")
        return json.loads(watcher.log_tail(1))["seconds"]

    def start_worker(self):
        self.worker(self.servers.models and self.servers.models.url)

    def completed(self):
        return self.program("completed", {}, "count")["completed"]

    def latency(self, n):
        self.worker()
        return self.program("latency", {"n": n})["seconds"]
