"""How long it took until jobs flowed again after each fault, from the logs of a run.

Called by runner.py at the end.  Two times for each fault:

    flow       from its end until a job posted after that had completed, at each gateway (the
               slowest counts); seen by the probes of load.py, which come every quarter of a second
    elsewhere  for programs that were killed or frozen: from that moment until the last of the jobs
               whose model call was lost with them was running again

It must never look into the store, nor judge: that is the checker's.
"""

import bisect
import collections
import json
import statistics

LOST_CALLS = ("client_closed", "ok")  # how a call ends whose worker died, or was frozen
MEASURED = tuple(f"processes.{name}" for name in ("worker_killed", "workers_all_killed",
                                                  "worker_frozen_past_lease"))
PROMISE = 15.0  # seconds within which a dead worker's jobs run elsewhere


def lines(path):
    if path.exists():
        with open(path, encoding="utf-8") as text:
            for line in text:
                yield json.loads(line)


def completed_probes(folder):
    """For each gateway the (posted, completed) times of its probes, in order of posting."""
    posted, found = {}, collections.defaultdict(list)
    for entry in lines(folder / "clients.jsonl"):
        if not entry["client"].startswith("probe-"):
            continue
        if entry["op"] == "post" and entry["http"] == 201:
            posted[entry["marker"]] = entry["t0"]
        elif entry["op"] == "wait" and entry["status"] == "COMPLETED":
            found[entry["gateway"]].append((posted.pop(entry["marker"]), entry["t1"]))
    for probes in found.values():
        probes.sort()
    return found


def flow(probes, healed):
    """Seconds from `healed` until every gateway's jobs flowed; None when they never did."""
    slowest = 0.0
    for found in probes.values():
        ended = [end for _, end in found[bisect.bisect_left(found, (healed,)):]]
        if not ended:
            return None
        slowest = max(slowest, min(ended[:400]) - healed)
    return slowest if probes else None


class Calls:
    """The model server's log by marker, and by time."""

    def __init__(self, folder):
        self.calls = sorted((one["t0"], one["t1"], one["marker"], one["outcome"])
                            for one in lines(folder / "models.jsonl"))
        self.begins = [call[0] for call in self.calls]
        self.by_marker = collections.defaultdict(list)
        for call in self.calls:
            self.by_marker[call[2]].append(call)

    def elsewhere(self, at):
        """For each call that was open at a moment and made again: seconds until it was."""
        first = bisect.bisect_left(self.begins, at - 30.0)
        last = bisect.bisect_left(self.begins, at)
        for begin, end, marker, outcome in self.calls[first:last]:
            if end < at or outcome not in LOST_CALLS:
                continue
            later = [call[0] for call in self.by_marker[marker] if call[0] > max(begin, at)]
            if later:
                yield min(later) - at


def measure(folder):
    """[(fault, flow, elsewhere or None)] for each occurrence, in order of time."""
    probes, calls, found = completed_probes(folder), Calls(folder), []
    faults = [one for one in lines(folder / "faults.jsonl") if "round" in one]
    ends = collections.defaultdict(float)
    for one in faults:
        ends[one["round"]] = max(ends[one["round"]], one["t1"])
    for one in faults:
        name = one["fault"] if one["alone"] else one["fault"] + " +"
        elsewhere = None
        if one["fault"] in MEASURED and one["alone"]:
            elsewhere = max(calls.elsewhere(one["t0"]), default=None)
        found.append((name, flow(probes, one["t1"] if one["alone"] else ends[one["round"]]),
                      elsewhere))
    return found


def table(measured):
    """The table as lines: a fault each, `+` behind those that overlapped with others."""
    by_fault = collections.defaultdict(list)
    for name, *times in measured:
        by_fault[name].append(times)

    def show(times):
        known = [one for one in times if one is not None]
        if not known:
            return f"{'':>8}{'':>8}"
        return f"{statistics.median(known):8.2f}{max(known):8.2f}"
    yield f"{'':34}{'':>4}{'jobs flow again, s':>18}{'elsewhere, s':>16}"
    yield f"{'fault':34}{'n':>4}  {'median':>8}{'worst':>8}{'median':>8}{'worst':>8}"
    for name, times in sorted(by_fault.items()):
        flows, elsewhere = zip(*times)
        never = f"  never: {flows.count(None)}" if None in flows else ""
        yield f"{name:34}{len(times):4}  {show(flows)}{show(elsewhere)}{never}"
