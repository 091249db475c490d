"""graphile-worker on PostgreSQL: jobs are rows, deleted when they are done; no results are kept."""

from bench.peers.common import NodePeer


class GraphileWorker(NodePeer):
    name = "graphile-worker"
    why_this_way = ("localQueue 500, completion in batches, 24 at once, as the page on performance "
                    "has it: https://worker.graphile.org/docs/performance")
    package = "graphile-worker"
    needs = frozenset({"postgres"})
    capabilities = frozenset({"add", "bulk", "drain", "e2e", "latency"})

    def environment(self):
        # As its own performance test: no log line for each job that went well.
        return {**super().environment(), "NO_LOG_SUCCESS": "1"}

    def start(self, servers):
        self.servers = servers
        self.run("migrate")

    def run(self, command, label="load", **options):
        return self.program(command, {"url": self.servers.postgres.url, **options}, label)

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
        self.spawn_program("work", {"url": self.servers.postgres.url,
                                    "models": self.servers.models.url}, "worker", ready="ready")

    def completed(self):
        return self.servers.count("SELECT count(*) FROM results")
