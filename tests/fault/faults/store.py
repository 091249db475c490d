"""A store that did it and says it did not, on every call (a build with fault_points)."""

from faults.points import PointFault
from stage import GATEWAYS, WORKERS


class StoreFault(PointFault):
    targets = GATEWAYS + WORKERS
    lasts = (10.0, 15.0)
    variable = "AIPLAT_FAULT_STORE"


class ToldFailed(StoreFault):
    name = "store.told_failed"

    def order(self):
        return "told_failed=0.1"


class ToldTimeout(StoreFault):
    name = "store.told_timeout"

    def order(self):
        return "told_timeout=0.05"


class Refused(StoreFault):
    name = "store.refused"

    def order(self):
        return "refused=0.1"


class Everything(StoreFault):
    name = "store.everything"

    def order(self):
        return "told_failed=0.05,told_timeout=0.02,refused=0.05"
