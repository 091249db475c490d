"""Links that are cut, refused, late, narrow, silent, or deaf in one direction (proxy.py)."""

import time

from faults import Fault
from stage import GATEWAYS, WORKERS

SERVERS = ("postgres", "rabbitmq", "redis")
BETWEEN = tuple(f"{name}>{server}" for name in (*GATEWAYS, *WORKERS) for server in SERVERS)
EVERYBODY = tuple(f"*>{server}" for server in SERVERS)
ALONE = tuple(f"{name}>*" for name in (*GATEWAYS, *WORKERS))
CLIENTS = tuple(f"clients>{name}" for name in GATEWAYS)
MODELS = tuple(f"{name}>models" for name in WORKERS)


class LinkFault(Fault):
    mode = {}
    targets = BETWEEN + EVERYBODY + ALONE + CLIENTS + MODELS

    @classmethod
    def occupies(cls, target):
        """A pattern takes the whole network: two patterns may mean the same link."""
        return {"links"}

    def strike(self):
        self.stage.disturb(self.target, **self.mode)

    def heal(self):
        self.stage.disturb(self.target)


class Cut(LinkFault):
    name, mode = "network.cut", {"mode": "cut"}


class Flapping(LinkFault):
    name, lasts = "network.flapping", (0.0, 0.0)

    def strike(self):
        times = self.rng.randint(5, 20)
        for _ in range(times):
            self.stage.disturb(self.target, "cut")
            time.sleep(self.rng.uniform(0.05, 0.5))
        return {"times": times}


class Refused(LinkFault):
    name, mode, lasts = "network.refused", {"mode": "refuse"}, (2.0, 8.0)


class Delayed(LinkFault):
    name, mode, lasts = "network.delayed", {"mode": "delay", "ms": 150}, (5.0, 10.0)


class Throttled(LinkFault):
    name, mode, lasts = "network.throttled", {"mode": "throttle", "rate": 20000}, (5.0, 10.0)


class Partitioned(LinkFault):
    """Packets wait, as in a partition that ends before TCP gives up."""

    name, mode, lasts = "network.partitioned", {"mode": "hold"}, (3.0, 14.0)
    rest = 12.0


class HalfOpen(LinkFault):
    name, mode, lasts = "network.half_open", {"mode": "swallow"}, (5.0, 16.0)
    rest = 12.0


class AnswersLost(LinkFault):
    """What is asked arrives and is done; the answer never comes."""

    name, mode, lasts = "network.answers_lost", {"mode": "swallow", "way": "down"}, (3.0, 12.0)
    rest = 12.0


class AnswersOfPostgresLost(AnswersLost):
    name, targets = "network.postgres_answers_lost", ("*>postgres", "worker-*>postgres",
                                                    "gateway-*>postgres")


class WorkerPartitioned(Partitioned):
    """A worker hears nobody and is heard by nobody for longer than its lease."""

    name, targets, lasts, rest = "network.worker_partitioned", tuple(f"{w}>*" for w in WORKERS), \
        (13.0, 17.0), 12.0
