"""Everything that can be broken, one module a family.

Called by schedule.py (which faults are there, what do they need to themselves) and by runner.py,
which lets them strike and heals them.  A fault is a class; an object of it is one occurrence.
"""

import importlib

FAMILIES = ("processes", "rabbitmq", "postgres", "redis", "network", "clock", "points", "store")


class Fault:
    """One kind of fault.  `strike` breaks something and says what; `heal` undoes it, unless it was
    over at once.  Both run in a thread of their own and may take seconds."""

    name = ""
    targets = ("",)
    lasts = (0.0, 0.0)  # seconds between strike and heal: chosen between these by the seed
    rest = 8.0          # seconds that the system is given afterwards before the next fault

    def __init__(self, stage, target, rng):
        self.stage = stage
        self.target = target
        self.rng = rng

    @classmethod
    def occupies(cls, target):
        """Names of what no other fault may break at the same time."""
        return {target}

    @classmethod
    def is_possible(cls, stage):
        """False when this build or machine cannot have it."""
        return True

    def strike(self):
        raise NotImplementedError

    def heal(self):
        pass


def subclasses(kind):
    for one in kind.__subclasses__():
        if one.name:
            yield one
        yield from subclasses(one)


def all_faults():
    """Every fault by name, in a fixed order."""
    for family in FAMILIES:
        importlib.import_module(f"faults.{family}")
    return {one.name: one for one in sorted(subclasses(Fault), key=lambda one: one.name)}
