"""Programs that die, stop or dawdle at a named point of their work (a build with fault_points)."""

import time

from faults import Fault
from stage import GATEWAYS, WORKERS

OF_GATEWAYS = ("accept.committed",)
OF_WORKERS = ("claim.committed", "claim.acknowledged", "finish.committed")
OF_ALL = ("publish.sent", "publish.confirmed", "outbox.forgotten")


class PointFault(Fault):
    """The program is started anew with its order, and again without it."""

    targets = tuple(f"{name}@{point}" for name in GATEWAYS for point in OF_GATEWAYS + OF_ALL) + \
        tuple(f"{name}@{point}" for name in WORKERS for point in OF_WORKERS + OF_ALL)
    lasts = (8.0, 12.0)
    rest = 14.0
    variable = "AIPLAT_FAULT_POINTS"

    @classmethod
    def occupies(cls, target):
        return {target.partition("@")[0]}

    @classmethod
    def is_possible(cls, stage):
        return stage.has_fault_points

    def order(self):
        """What the program is told, as the value of the variable."""
        raise NotImplementedError

    def strike(self):
        self.member = self.stage.members[self.target.partition("@")[0]]
        order = self.order()
        self.member.extra = {self.variable: order}
        self.member.kill9()
        return {"order": order}

    def heal(self):
        self.member.extra = {}
        self.member.kill9()


class DiesAtPoint(PointFault):
    name = "points.kill"

    def order(self):
        return f"{self.target.partition('@')[2]}=kill@{self.rng.choice((1, 3, 20))}"


class StopsAtPoint(PointFault):
    """Stops itself for longer than the lease, then goes on as if nothing had been."""

    name = "points.stop"
    lasts = (17.0, 20.0)

    def order(self):
        return f"{self.target.partition('@')[2]}=stop@{self.rng.choice((2, 20))}"

    def heal(self):
        self.member.thaw()
        time.sleep(2.0)
        super().heal()


class DawdlesAtPoint(PointFault):
    name = "points.sleep"

    def order(self):
        return f"{self.target.partition('@')[2]}=sleep:300%0.2"
