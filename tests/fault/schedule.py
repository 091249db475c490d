"""Which fault strikes when: a plan made from a seed before anything starts.

Called by runner.py.  The plan goes in rounds: one fault alone, or two or three that overlap, then
a rest in which the system recovers and the recovery is measured.  Every fault comes up once before any
comes up again.  The same seed, length and choice of faults give the same plan; it must never depend
on the time or on what the system does.
"""

import dataclasses
import fnmatch
import random

WARM_UP = 6.0
OVERLAPPING = 0.35  # of the rounds
# The short form: (start, fault, target, seconds between strike and heal).
SHORT = (
    (3.0, "processes.worker_killed", "worker-1", 0.0),
    (3.5, "processes.worker_frozen_past_lease", "worker-2", 13.0),
    (5.0, "network.half_open", "gateway-1>postgres", 6.0),
    (6.0, "redis.killed", "redis", 2.0),
    (8.0, "postgres.backends_terminated", "postgres", 0.0),
    (11.0, "rabbitmq.killed", "rabbitmq", 1.0),
    (13.0, "postgres.restarted_immediately", "postgres", 0.5),
    (14.0, "clock.forward", "clock", 4.0),
    (16.0, "store.told_failed", "gateway-2", 8.0),
    (17.0, "points.kill", "worker-3@claim.committed", 6.0),
    (18.5, "network.answers_lost", "worker-*>postgres", 2.5),
    (20.0, "rabbitmq.queue_deleted", "rabbitmq", 0.0),
    (22.0, "postgres.disk_full", "postgres", 4.0),
    (24.0, "redis.emptied", "redis", 0.0),
    (26.0, "processes.gateway_killed", "gateway-1", 0.0),
)
SHORT_SECONDS = 30.0


@dataclasses.dataclass
class Planned:
    """One occurrence of a fault.  `round` numbers what belongs together."""

    at: float
    fault: str
    target: str
    seconds: float
    seed: int
    round: int
    alone: bool


def chosen(faults, only):
    """The faults whose name or family is among `only`, which may hold patterns, and name a target:
    points.kill=worker-1@finish.committed."""
    if not only:
        return list(faults.values())
    found = []
    for name, kind in faults.items():
        for one in only:
            wanted, _, target = one.partition("=")
            if fnmatch.fnmatchcase(name, wanted) or kind.__module__.endswith("." + wanted):
                found.append(type(kind.__name__, (kind,), {"targets": (target,)}) if target
                             else kind)
    if not found:
        raise SystemExit(f"no fault is called {','.join(only)}: there are {', '.join(faults)}")
    return found


def short_plan(seed, faults):
    return [Planned(at, name, target, seconds, seed + number, number, False)
            for number, (at, name, target, seconds) in enumerate(SHORT) if name in faults]


def plan(seed, seconds, kinds):
    """Rounds until `seconds` are full."""
    rng = random.Random(seed)
    bag, planned, at, number = [], [], WARM_UP, 0
    while True:
        together = 1 if rng.random() >= OVERLAPPING else rng.choice((2, 2, 3))
        taken, members = set(), []
        for _ in range(together):
            if not bag:
                bag = rng.sample(kinds, len(kinds))
            kind = bag.pop()
            target = rng.choice(kind.targets)
            if members and kind.occupies(target) & taken:
                bag.append(kind)  # it has the next round to itself
                break
            taken |= kind.occupies(target)
            members.append((kind, target, rng.uniform(*kind.lasts), rng.uniform(0.0, 3.0)))
        length = max(delay + lasts for _, _, lasts, delay in members)
        length += max(kind.rest for kind, *_ in members)
        if at + length > seconds and planned:
            return planned
        number += 1
        for kind, target, lasts, delay in members:
            start = at + (delay if len(members) > 1 else 0.0)
            planned.append(Planned(round(start, 2), kind.name, target, round(lasts, 2),
                                   rng.randrange(1 << 30), number, len(members) == 1))
        at += length
