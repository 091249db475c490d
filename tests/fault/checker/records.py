"""The folder of records (tests/fault/README.md), read and put in order by job, marker and key.

Each record is a dict with one member added: `_at`, the file and line it stands on, for evidence.
"""

import collections
import datetime
import json
import pathlib

ENDED = ("COMPLETED", "FAILED", "CANCELLED")
REQUIRED = {"clients.jsonl": ("t0", "t1", "op"), "events.jsonl": ("t", "routing_key", "body"),
            "models.jsonl": ("t0", "outcome"), "faults.jsonl": ("t0", "fault"),
            "store.jsonl": ("id", "status", "version", "prompt"),
            "resources.jsonl": ("t", "process", "rss_kb", "fds", "threads")}
ANSWERED = ("ok", "answered")  # outcomes of a call that got a whole answer
OWN_CLOCK_SLACK = 0.1  # seconds by which two readings of one machine's clock may seem swapped


def seconds(text):
    """A time as PostgreSQL or the product writes it, as seconds since 1970; None for None."""
    if not text:
        return None
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def is_accepted(post):
    return post.get("http") is not None and 200 <= post["http"] < 300


def is_open_ended(post):
    """The client cannot know whether it happened."""
    return post.get("http") is None or post["http"] >= 500


def was_answered(call):
    return call["outcome"] in ANSWERED


class Records:
    def __init__(self, folder, report):
        self.folder = pathlib.Path(folder)
        self.report = report
        self.clients = self.read("clients.jsonl")
        self.events = self.read("events.jsonl")
        self.models = self.read("models.jsonl")
        self.faults = self.read("faults.jsonl")
        self.store = self.read("store.jsonl")
        self.resources = self.read("resources.jsonl")
        self.keys = self.read("keys.jsonl", may_be_missing=True)
        self.outbox = self.read_object("outbox.json")
        self.run = self.read_object("run.json")
        self.index()
        report.counts.update({
            "requests": len(self.clients), "jobs": len(self.store), "events": len(self.events),
            "model calls": len(self.models), "faults": len(self.faults)})

    # -- reading ----------------------------------------------------------------------------

    def read(self, name, may_be_missing=False):
        try:
            text = (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            if not may_be_missing:
                self.report.violation("records", f"{name} is missing")
            return []
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            record = self.parse(line)
            lacking = [field for field in REQUIRED.get(name, ()) if field not in record] \
                if isinstance(record, dict) else ["an object"]
            if lacking:
                self.report.violation("records", f"{name}:{number} lacks {', '.join(lacking)}: "
                                                 f"{line[:120]}")
                continue
            record["_at"] = f"{name}:{number}"
            found.append(record)
        return found

    def read_object(self, name):
        try:
            record = self.parse((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            record = None
        if not isinstance(record, dict):
            self.report.violation("records", f"{name} is missing or is no object")
            return {}
        record["_at"] = name
        return record

    @staticmethod
    def parse(text):
        try:
            return json.loads(text)
        except ValueError:
            return None

    # -- order ------------------------------------------------------------------------------

    def index(self):
        self.clients.sort(key=lambda request: request["t1"])
        self.rows = {row["id"]: row for row in self.store}
        for row in self.store:
            row["_marker"] = row["prompt"].split(" ", 1)[0]
        self.rows_of = self.group(self.store, lambda row: row["_marker"])
        self.posts = [one for one in self.clients if one["op"] == "post"]
        self.posts_of = self.group(self.posts, lambda post: post.get("marker"))
        self.asked_of = self.group((one for one in self.clients if one.get("job_id")),
                                   lambda one: one["job_id"])
        self.calls_of = self.group(self.models, lambda call: call.get("marker"))
        self.events_of = self.group(
            (event for event in self.events if isinstance(event["body"], dict)),
            lambda event: event["body"].get("job_id"))

    @staticmethod
    def group(records, key):
        groups = collections.defaultdict(list)
        for record in records:
            groups[key(record)].append(record)
        return groups

    def marker_of(self, job_id):
        row = self.rows.get(job_id)
        return row["_marker"] if row else None

    # -- faults -----------------------------------------------------------------------------

    def faults_between(self, t0, t1, families=None):
        """Faults of the families (None: any) that overlap the span."""
        return [fault for fault in self.faults
                if (families is None or fault["fault"].split(".")[0] in families)
                and fault["t0"] <= t1
                and (fault.get("t1") is None or fault["t1"] >= t0)]

    def calls_between(self, t0, t1):
        """How many calls to the model were open at some time of the span."""
        return sum(1 for call in self.models
                   if call["t0"] <= t1 and (call.get("t1") is None or call["t1"] >= t0))

    def clock_is_true(self):
        """Whether times that the product wrote can be compared with those of the recorder."""
        return not any(fault["fault"].startswith("clock") for fault in self.faults)

    def lease(self):
        return self.run.get("lease_ms", 10000) / 1000
