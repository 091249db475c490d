"""BullMQ on Redis: jobs and their results live in Redis alone."""

from bench.peers.common import NodePeer

CONCURRENCY = 50


class BullMQ(NodePeer):
    name = "BullMQ, fsync each second"
    why_this_way = ("append-only file, fsync each second, maxmemory-policy noeviction: "
                    "https://docs.bullmq.io/guide/going-to-production; concurrency 50: "
                    "https://docs.bullmq.io/guide/workers/concurrency")
    package = "bullmq"
    needs = frozenset({"redis"})
    capabilities = frozenset({"add", "bulk", "drain", "e2e", "latency"})

    def start(self, servers):
        self.servers = servers

    def run(self, command, label="load", **options):
        return self.program(command, {"url": self.servers.redis.url, "concurrency": CONCURRENCY,
                                      **options}, label)

    def add(self, n, callers=64):
        return self.run("add", n=n, callers=callers)["seconds"]

    def bulk(self, n):
        return self.run("bulk", n=n)["seconds"]

    def fill(self, n):
        self.bulk(n)

    def drain(self, n):
        return self.run("drain", "worker", n=n)["seconds"]

    def latency(self, n):
        return self.run("latency", n=n, warm=20)["seconds"]

    def start_worker(self):
        self.spawn_program("work", {"url": self.servers.redis.url, "concurrency": CONCURRENCY,
                                    "models": self.servers.models.url}, "worker", ready="ready")

    def completed(self):
        return self.run("counts")["completed"]


class BullMQAlways(BullMQ):
    name = "BullMQ, fsync always"
    why_this_way = ("as BullMQ, and an answer means that the job is on the disk: "
                    "https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/")
    needs = frozenset({"redis-always"})
