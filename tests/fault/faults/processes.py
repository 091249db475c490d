"""Gateways and workers that are killed, stopped past their lease, or told to go."""

from faults import Fault
from stage import GATEWAYS, WORKERS


class Killed(Fault):
    def strike(self):
        self.stage.members[self.target].kill9()


class GatewayKilled(Killed):
    name, targets = "processes.gateway_killed", GATEWAYS


class WorkerKilled(Killed):
    name, targets, rest = "processes.worker_killed", WORKERS, 16.0


class AllWorkersKilled(Fault):
    name, targets, rest = "processes.workers_all_killed", ("workers",), 16.0

    @classmethod
    def occupies(cls, target):
        return set(WORKERS)

    def strike(self):
        for name in WORKERS:
            self.stage.members[name].kill9()


class Frozen(Fault):
    def strike(self):
        self.stage.members[self.target].freeze()

    def heal(self):
        self.stage.members[self.target].thaw()


class GatewayFrozen(Frozen):
    name, targets, lasts = "processes.gateway_frozen", GATEWAYS, (3.0, 14.0)


class WorkerFrozenShortly(Frozen):
    name, targets, lasts = "processes.worker_frozen_shortly", WORKERS, (1.0, 6.0)


class WorkerFrozenPastLease(Frozen):
    name, targets, lasts = "processes.worker_frozen_past_lease", WORKERS, (13.0, 17.0)


class Drained(Fault):
    """SIGTERM as an upgrade does it; the supervisor starts the successor."""

    name, targets, rest = "processes.program_drained", GATEWAYS + WORKERS, 10.0

    def strike(self):
        self.stage.members[self.target].term()
