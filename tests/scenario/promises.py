"""The delivery promises, checked from outside: the client's log against the store and the broker.

Called by test_delivery.py after a run of load.py.  It knows the promises (every accepted job ends
COMPLETED, with its own answer, once; nothing else was made; nothing is left over) and reads
nothing but the log, the tables, the queue and the events.
"""

import collections
import json
import time


def wait_for_end(site, timeout):
    """Waits until no job is open and nothing is left to publish; an AssertionError says what is."""
    deadline = time.monotonic() + timeout
    while True:
        open_jobs = site.sql("SELECT status, count(*) FROM jobs WHERE status IN "
                             "('QUEUED', 'PROCESSING') GROUP BY status")
        ((unpublished,),) = site.sql("SELECT count(*) FROM outbox")
        waiting = site.queue_depth()
        if not open_jobs and unpublished == "0" and waiting == 0:
            return
        assert time.monotonic() < deadline, (
            f"after {timeout} s: open jobs {open_jobs}, outbox {unpublished}, queue {waiting}")
        time.sleep(0.2)


def check_jobs(site, answers):
    """Every accepted job is in the store, completed, with the answer to its own prompt; and no
    other job is there."""
    promised = {answer["job_id"]: answer for answer in answers if answer["job_id"]}
    by_key = collections.defaultdict(set)
    for job_id, answer in promised.items():
        by_key[answer["key"]].add(job_id)
    assert all(len(ids) == 1 for ids in by_key.values()), "a key was answered with two jobs"
    stored = {row[0]: row[1:] for row in site.sql("SELECT id, status, prompt, result FROM jobs")}
    lost = promised.keys() - stored.keys()
    assert not lost, f"{len(lost)} accepted jobs are not in the store: {sorted(lost)[:5]}"
    extra = stored.keys() - promised.keys()
    assert not extra, f"{len(extra)} jobs nobody was told of: {sorted(extra)[:5]}"
    for job_id, answer in promised.items():
        status, prompt, result = stored[job_id]
        assert status == "COMPLETED", f"{job_id} is {status}"
        assert prompt == answer["prompt"], f"{job_id} has the prompt of another"
        assert prompt in result, f"{job_id} has the answer of another: {result!r}"
    return promised


class Events:
    """What was heard on the event exchange while the run lasted."""

    def __init__(self, connection):
        self.connection = connection
        self.final = collections.defaultdict(set)
        self.created = collections.defaultdict(set)
        self.heard = 0

    def drain(self, quiet=1.0):
        """Takes what has come until nothing more comes for `quiet` seconds."""
        while event := self.connection.next_event(quiet):
            key, body = event[0], json.loads(event[1])
            self.heard += 1
            if key in ("job.completed", "job.failed"):
                self.final[body["job_id"]].add((key, body["event_id"]))
            elif key == "job.created":
                self.created[body["job_id"]].add(body["event_id"])


def check_events(events, promised):
    """Each job was announced as created once and as completed once.  An event may be repeated, but
    the repetition has the same event_id."""
    for job_id in promised:
        final = events.final.get(job_id, set())
        assert len(final) == 1, f"{job_id} ended {len(final)} times: {final}"
        assert next(iter(final))[0] == "job.completed"
        assert len(events.created.get(job_id, ())) == 1, f"{job_id}: created"
    assert events.final.keys() <= promised.keys(), "an event of a job nobody was told of"
