"""What a case found: samples by metric and contender, what the work cost, and whether a target is met.

Filled by the cases, printed by report.py. Medians are the figures; the spread is lowest to highest.
"""

import dataclasses
import statistics

OURS = "aiplat"


@dataclasses.dataclass
class Metric:
    key: str
    title: str            # as a row's title: "jobs accepted"
    unit: str             # "jobs/s", "ms", "MB"
    target: float = None  # for ours
    better: str = "higher"
    is_minor: bool = False  # told beneath the table, not in it

    def verdict(self, value):
        """("met" | "missed" | "", by how many percent)."""
        if self.target is None or value is None:
            return "", 0.0
        by = (value - self.target) / self.target * 100 if self.target else 0.0
        is_met = value >= self.target if self.better == "higher" else value <= self.target
        return ("met" if is_met else "missed"), abs(by)


class Result:
    def __init__(self, name, work, target, metrics):
        self.name, self.work, self.target = name, work, target
        self.metrics = {metric.key: metric for metric in metrics}
        self.samples = {}   # metric key → contender → values
        self.cpu = {}       # contender → label → microseconds a job, a value a round
        self.facts = []     # sentences beneath the table
        self.failures = []  # why these figures cannot be trusted
        self.seconds = 0.0

    def add(self, contender, **values):
        for key, value in values.items():
            self.samples.setdefault(key, {}).setdefault(contender, []).append(value)

    def add_cpu(self, contender, seconds, jobs):
        for label, value in seconds.items():
            self.cpu.setdefault(contender, {}).setdefault(label, []).append(value / jobs * 1e6)

    def fact(self, text):
        if text not in self.facts:
            self.facts.append(text)

    def median(self, key, contender=OURS):
        values = self.samples.get(key, {}).get(contender)
        return statistics.median(values) if values else None

    def contenders(self, key):
        return list(self.samples.get(key, {}))

    def cpu_medians(self, contender):
        return {label: statistics.median(values)
                for label, values in self.cpu.get(contender, {}).items()}

    def document(self):
        """Everything, as JSON."""
        metrics = []
        for key, metric in self.metrics.items():
            ours = self.median(key)
            verdict, by = metric.verdict(ours)
            rows = []
            for contender, values in self.samples.get(key, {}).items():
                median = statistics.median(values)
                rows.append({"contender": contender, "median": median, "lowest": min(values),
                             "highest": max(values), "samples": values,
                             "ratio_to_ours": ours / median if ours and median else None})
            metrics.append({"key": key, "title": metric.title, "unit": metric.unit,
                            "target": metric.target, "better": metric.better, "verdict": verdict,
                            "by_percent": round(by, 1), "rows": rows})
        return {"name": self.name, "work": self.work, "target": self.target, "metrics": metrics,
                "cpu_us_per_job": {who: self.cpu_medians(who) for who in self.cpu},
                "facts": self.facts, "failures": self.failures, "seconds": round(self.seconds, 1)}
