"""The checker of fault runs: a clean history passes, and each broken promise is noticed.

Each test writes small records by hand, breaks one thing in them, and wants that one rule to speak.
"""

import datetime
import json
import pathlib
import subprocess
import sys
import uuid

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from checker import judge  # noqa: E402

BEGIN = 1_800_000_000.0


def text_of(t):
    return datetime.datetime.fromtimestamp(t, datetime.timezone.utc).isoformat()


class History:
    """Records of a run, to be broken by a test and written into a folder."""

    def __init__(self):
        self.clients, self.events, self.models, self.faults = [], [], [], []
        self.store, self.keys, self.resources = [], [], []
        self.outbox = {"outbox": 0, "queue": 0}
        self.run = {"t0": BEGIN, "t1": BEGIN + 100, "seed": 1, "baseline": [BEGIN, BEGIN + 10],
                    "quiet": [BEGIN + 100, BEGIN + 110]}
        for second in range(111):
            for process in ("gateway-1", "worker-1"):
                self.resources.append({"t": BEGIN + second, "process": process, "pid": 1,
                                       "rss_kb": 20000, "fds": 30, "threads": 5})

    def request(self, op, t, job, http=200, **more):
        request = {"t0": t, "t1": t + 0.01, "client": "c", "op": op, "marker": job.marker,
                   "key": job.key, "http": http, "job_id": job.id, "status": None, "result": None,
                   "error": None, **more}
        self.clients.append(request)
        return request

    def write(self, folder):
        for name in ("clients", "events", "models", "faults", "store", "keys", "resources"):
            lines = (json.dumps(one) + "\n" for one in getattr(self, name))
            (folder / f"{name}.jsonl").write_text("".join(lines))
        (folder / "outbox.json").write_text(json.dumps(self.outbox))
        (folder / "run.json").write_text(json.dumps(self.run))
        return folder


class Job:
    """One job and what it leaves behind, step by step."""

    def __init__(self, history, number, t, key=None):
        self.history, self.t = history, t
        self.id = str(uuid.UUID(int=number))
        self.marker = f"m{number}z"
        self.key = key
        self.row = {"id": self.id, "status": "QUEUED", "version": 1, "attempt": 0,
                    "max_attempts": 2, "prompt": f"{self.marker} say something", "result": None,
                    "error_code": None, "created_at": text_of(t), "run_at": text_of(t),
                    "updated_at": text_of(t),
                    "started_at": None, "finished_at": None, "session": None}
        history.store.append(self.row)
        if key:
            history.keys.append({"key": key, "job_id": self.id})
        self.post = history.request("post", t - 0.005, self, 201, status="QUEUED", body="b")
        self.event("job.created", None)

    def event(self, kind, previous):
        body = {"event_id": str(uuid.uuid5(uuid.UUID(self.id), f"{self.row['version']}:{kind}")),
                "type": kind, "job_id": self.id, "sequence": self.row["version"],
                "occurred_at": self.row["updated_at"], "attempt": self.row["attempt"],
                "status": self.row["status"]}
        if previous:
            body["previous_status"] = previous
        if self.row["error_code"] and self.row["status"] in ("FAILED", "QUEUED"):
            body["error_code"] = self.row["error_code"]
        event = {"t": self.t + 0.01, "routing_key": kind, "message_id": self.id, "body": body}
        self.history.events.append(event)
        return event

    def move(self, status, **changes):
        self.t += 1.0
        previous = self.row["status"]
        self.row.update(status=status, version=self.row["version"] + 1,
                        updated_at=text_of(self.t), **changes)
        if status in ("COMPLETED", "FAILED", "CANCELLED"):
            self.row["finished_at"] = text_of(self.t)
        self.event("job.status_changed", previous)
        if status in ("COMPLETED", "FAILED"):
            self.event(f"job.{status.lower()}", previous)
        return self

    def start(self):
        self.move("PROCESSING", attempt=self.row["attempt"] + 1, session="s")
        self.row["started_at"] = self.row["updated_at"]
        return self

    def call(self, outcome="ok", status=200):
        call = {"t0": self.t + 0.1, "t1": self.t + 0.5, "marker": self.marker, "outcome": outcome,
                "status": status, "answer": None}
        self.history.models.append(call)
        if outcome == "ok":
            call["answer"] = f"answer to {self.marker} #{len(self.history.models)}"
        return call

    def complete(self):
        answer = self.call()["answer"]
        return self.move("COMPLETED", result=answer, session=None)

    def fail(self, code, status="FAILED"):
        return self.move(status, error_code=code, session=None)

    def read(self, op="get", after=0.5, **more):
        return self.history.request(op, self.t + after, self, status=self.row["status"],
                                    result=self.row["result"], **more)


@pytest.fixture
def history():
    """Jobs of every fate, and nothing wrong."""
    h = History()
    h.plain = Job(h, 1, BEGIN + 20)
    h.plain.read()
    h.plain.start().complete().read("wait", wait=20.0)
    h.keyed = Job(h, 2, BEGIN + 21, key="k2")
    h.request("post", BEGIN + 21.5, h.keyed, 201, status="QUEUED", body="b", replayed=True)
    h.request("post", BEGIN + 21.6, h.keyed, 409, job_id=None, body="other")
    h.keyed.start().complete().read()
    h.retried = Job(h, 3, BEGIN + 22).start()
    h.retried.call("error", 503)
    h.retried.fail("provider_overloaded", "QUEUED").start().complete().read()
    h.cancelled = Job(h, 4, BEGIN + 23).start()
    h.cancel = h.request("cancel", h.cancelled.t + 0.99, h.cancelled, status="CANCELLED")
    h.cancelled.move("CANCELLED", session=None).read()
    h.failed = Job(h, 5, BEGIN + 24).start()
    h.failed.call("error", 400)
    h.failed.fail("caller_invalid_request").read()
    h.lost = Job(h, 6, BEGIN + 30).start()
    h.faults.append({"t0": BEGIN + 30, "t1": BEGIN + 33, "fault": "processes.kill",
                     "target": "worker-1", "detail": None})
    h.lost.move("QUEUED", session=None, error_code="internal_worker_lost").start()
    h.lost.fail("internal_worker_lost").read()
    h.events.append(dict(h.events[0], t=BEGIN + 60))  # a repetition
    return h


def rules_of(history, folder):
    return {one["rule"] for one in judge(history.write(folder)).violations}


def test_a_clean_history_passes(history, tmp_path):
    report = judge(history.write(tmp_path))
    assert report.violations == []
    assert report.not_judged == {}
    assert report.counts["jobs"] == 6
    assert report.counts["repeated events"] == 1
    assert report.counts["results traced to a call"] == 3


def test_the_command(history, tmp_path):
    history.write(tmp_path)
    run = subprocess.run([HERE / "check", tmp_path], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and "no violations" in run.stdout, run.stderr
    history.store.pop(0)
    history.write(tmp_path)
    run = subprocess.run([HERE / "check", tmp_path, "--json"], capture_output=True, text=True,
                         check=False)
    assert run.returncode == 1
    found = json.loads(run.stdout)["violations"]
    first = next(one for one in found if one["rule"] == "accepted = ended")
    assert first["job_id"] == history.plain.id and first["marker"] == "m1z"
    assert first["evidence"][0].startswith("clients.jsonl:1: {")


def test_records_that_are_no_records(history, tmp_path):
    history.write(tmp_path)
    (tmp_path / "models.jsonl").unlink()
    with open(tmp_path / "clients.jsonl", "a", encoding="utf-8") as out:
        out.write('{"t0": 1, "t1"')
    assert [one["rule"] for one in judge(tmp_path).violations].count("records") == 2


BREAKAGES = {}


def breaks(rule):
    """Registers a function that breaks the history so that the rule speaks (others may, too)."""
    def register(function):
        BREAKAGES[function.__name__] = (rule, function)
        return function
    return register


# -- accepted = ended, keys -----------------------------------------------------------------


@breaks("accepted = ended")
def accepted_job_is_not_in_the_store(h):
    h.store.remove(h.plain.row)


@breaks("accepted = ended")
def accepted_job_never_ends(h):
    h.stuck = Job(h, 9, BEGIN + 40).start()


@breaks("accepted = ended")
def id_has_the_prompt_of_another(h):
    h.failed.row["prompt"] = "m1z say something"


@breaks("nothing unposted")
def a_job_nobody_posted(h):
    ghost = Job(h, 9, BEGIN + 40).start().complete()
    h.clients.remove(ghost.post)


@breaks("nothing unposted")
def two_jobs_of_one_post(h):
    twin = Job(h, 9, BEGIN + 40)
    twin.start().complete()
    h.clients.remove(twin.post)
    twin.row["prompt"] = h.plain.row["prompt"]
    twin.row["result"] = h.plain.row["result"]


@breaks("one key, one job")
def a_key_is_answered_with_two_jobs(h):
    twin = Job(h, 9, BEGIN + 40)
    twin.post.update(key="k2", marker=h.keyed.marker)
    twin.row["prompt"] = h.keyed.row["prompt"]
    twin.start().complete()
    twin.row["result"] = h.keyed.row["result"]


@breaks("one key, one job")
def a_key_has_two_rows(h):
    h.request("post", BEGIN + 39, h.keyed, None, job_id=None, body="b")
    twin = Job(h, 9, BEGIN + 40).start()
    h.clients.remove(twin.post)
    twin.row["prompt"] = h.keyed.row["prompt"]
    twin.call()["marker"] = h.keyed.marker
    twin.move("COMPLETED", result=h.models[-1]["answer"].replace("m9z", "m2z"), session=None)
    h.models[-1]["answer"] = twin.row["result"]


@breaks("one key, one job")
def a_key_is_stored_for_another_job(h):
    h.keys[0]["job_id"] = h.plain.id


@breaks("one key, one job")
def two_answers_claim_to_be_the_first(h):
    for post in (one for one in h.clients if one["op"] == "post" and one["key"]):
        post["replayed"] = False


@breaks("another body, 409")
def another_body_is_accepted(h):
    h.request("post", BEGIN + 40, h.keyed, 201, status="COMPLETED", body="other")


@breaks("another body, 409")
def the_same_body_is_refused(h):
    h.request("post", BEGIN + 40, h.keyed, 409, job_id=None, body="b")


# -- events ---------------------------------------------------------------------------------


def event_of(h, job, kind, sequence):
    return next(one for one in h.events if one["body"]["job_id"] == job.id
                and one["routing_key"] == kind and one["body"]["sequence"] == sequence)


@breaks("events")
def the_first_event_is_missing(h):
    h.events.remove(event_of(h, h.keyed, "job.created", 1))


@breaks("events")
def a_step_is_missing(h):
    h.events.remove(event_of(h, h.plain, "job.status_changed", 2))


@breaks("events")
def the_final_event_is_missing(h):
    h.events.remove(event_of(h, h.plain, "job.completed", 3))


@breaks("events")
def an_event_twice_with_different_ids(h):
    event = event_of(h, h.plain, "job.completed", 3)
    h.events.append(dict(event, body={**event["body"], "event_id": str(uuid.uuid4())}))


@breaks("events")
def an_event_with_an_id_of_its_own(h):
    event_of(h, h.plain, "job.completed", 3)["body"]["event_id"] = str(uuid.uuid4())


@breaks("events")
def completed_and_failed(h):
    event = event_of(h, h.plain, "job.completed", 3)
    body = {**event["body"], "type": "job.failed",
            "event_id": str(uuid.uuid5(uuid.UUID(h.plain.id), "3:job.failed"))}
    h.events.append({**event, "routing_key": "job.failed", "body": body})


@breaks("events")
def an_event_beyond_the_row(h):
    h.plain.row["version"] = 2


@breaks("events")
def an_event_of_nobody(h):
    event = event_of(h, h.plain, "job.completed", 3)
    h.events.append({**event, "body": {**event["body"], "job_id": str(uuid.UUID(int=99))}})


@breaks("events")
def a_transition_that_is_none(h):
    h.odd = Job(h, 9, BEGIN + 40)
    h.odd.call()
    h.odd.row["attempt"] = 1
    h.odd.move("COMPLETED", result=h.models[-1]["answer"])
    h.odd.row["started_at"] = text_of(BEGIN + 40)


@breaks("events")
def an_attempt_is_skipped(h):
    h.odd = Job(h, 9, BEGIN + 40)
    h.odd.row["attempt"] = 1
    h.odd.start().complete()


@breaks("events")
def time_runs_backwards(h):
    event_of(h, h.retried, "job.status_changed", 3)["body"]["occurred_at"] = text_of(BEGIN)


@breaks("events")
def the_row_says_something_else(h):
    h.retried.row["updated_at"] = text_of(BEGIN + 90)


@breaks("flow")
def a_job_waits_for_no_reason(h):
    job = Job(h, 9, BEGIN + 60)
    job.t += 4.0
    job.start().complete()


# -- what clients saw -----------------------------------------------------------------------


@breaks("no state goes back")
def a_read_after_the_end_is_stale(h):
    h.plain.read(after=5.0, **{}).update(status="PROCESSING", result=None)


@breaks("no state goes back")
def a_read_after_the_final_event_is_stale(h):
    h.clients = [one for one in h.clients if one["marker"] != "m1z" or one["op"] == "post"]
    h.plain.read(after=0.5).update(status="QUEUED", result=None)


@breaks("no state goes back")
def processing_then_queued_without_a_transition(h):
    job = Job(h, 9, BEGIN + 40)
    job.start()
    job.read(after=0.2)
    job.read(after=0.4).update(status="QUEUED")
    job.complete()


@breaks("no state goes back")
def the_job_is_gone_for_a_while(h):
    h.request("get", BEGIN + 50, h.plain, 404)


@breaks("no state goes back")
def a_list_is_stale(h):
    h.request("list", BEGIN + 50, h.plain, job_id=None, jobs=[[h.plain.id, "QUEUED"]])


@breaks("no state goes back")
def not_to_be_cancelled_and_yet_cancelled(h):
    h.request("cancel", BEGIN + 50, h.cancelled, 409)


@breaks("cancelled stays cancelled")
def cancelled_and_completed(h):
    h.request("cancel", h.plain.t - 0.02, h.plain, status="CANCELLED")


@breaks("cancelled stays cancelled")
def cancelled_by_nobody(h):
    h.clients.remove(h.cancel)


@breaks("cancelled stays cancelled")
def the_call_of_a_cancelled_job_goes_on(h):
    h.faults.clear()
    h.store.remove(h.lost.row)
    h.clients = [one for one in h.clients if one["job_id"] != h.lost.id]
    h.events = [one for one in h.events if one["body"]["job_id"] != h.lost.id]
    h.cancelled.call()["t1"] = h.cancelled.t + 20


@breaks("waits")
def a_wait_gives_up_early(h):
    job = Job(h, 9, BEGIN + 40).start()
    job.read("wait", after=0.1, wait=20.0)
    job.complete()


# -- results and causes ---------------------------------------------------------------------


@breaks("one result, its own")
def the_result_of_another(h):
    h.plain.row["result"] = h.keyed.row["result"]


@breaks("one result, its own")
def a_result_without_a_call(h):
    h.models = [one for one in h.models if one["marker"] != "m1z"]


@breaks("one result, its own")
def a_result_that_no_call_gave(h):
    h.models[0]["answer"] = "answer to m1z #77"


@breaks("one result, its own")
def a_client_got_another_result(h):
    h.plain.read()["result"] = "answer to m1z #78"


@breaks("one result, its own")
def a_failed_job_with_a_result(h):
    h.failed.row["result"] = "answer to m5z"


@breaks("no stale write")
def the_result_of_an_attempt_that_was_over(h):
    early = dict(h.retried.call(), t0=BEGIN + 23.2, t1=BEGIN + 23.5)
    h.models[-1] = early
    h.retried.row["result"] = early["answer"]
    h.clients = [one for one in h.clients if not (one["marker"] == "m3z" and one["result"])]


@breaks("calls and attempts")
def calls_without_attempts(h):
    for _ in range(7):
        h.plain.call()


@breaks("rows")
def more_attempts_than_allowed(h):
    h.retried.row["max_attempts"] = 1


@breaks("rows")
def ended_and_still_of_a_session(h):
    h.plain.row["session"] = "s"


@breaks("failures have a cause")
def a_worker_lost_without_a_fault(h):
    h.faults.clear()


@breaks("failures have a cause")
def a_worker_lost_with_attempts_left(h):
    h.lost.row["max_attempts"] = 3


@breaks("failures have a cause")
def refused_by_nobody(h):
    h.models = [one for one in h.models if one["marker"] != "m5z"]


@breaks("failures have a cause")
def failed_for_the_provider_with_attempts_left(h):
    h.failed.row["error_code"] = "provider_failed"
    for event in h.events:
        if event["body"]["job_id"] == h.failed.id and "error_code" in event["body"]:
            event["body"]["error_code"] = "provider_failed"


@breaks("failures have a cause")
def failed_by_itself(h):
    h.failed.row["error_code"] = "internal_failed"
    for event in h.events:
        if event["body"]["job_id"] == h.failed.id and "error_code" in event["body"]:
            event["body"]["error_code"] = "internal_failed"


# -- leftovers ------------------------------------------------------------------------------


@breaks("drained")
def the_outbox_is_not_empty(h):
    h.outbox["outbox"] = 1


@breaks("drained")
def the_queue_is_not_empty(h):
    h.outbox["queue"] = 1


def at_the_end(h, **more):
    for sample in h.resources:
        if sample["t"] >= BEGIN + 100 and sample["process"] == "worker-1":
            sample.update(more)


@breaks("resources")
def memory_is_not_given_back(h):
    at_the_end(h, rss_kb=60000)


@breaks("resources")
def descriptors_leak(h):
    at_the_end(h, fds=300)


@breaks("resources")
def descriptors_leak_in_a_process_that_was_restarted(h):
    at_the_end(h, fds=300, process="worker-2")
    for sample in list(h.resources):
        if sample["t"] >= BEGIN + 100 and sample["process"] == "worker-2":
            h.resources.append({**sample, "process": "worker-1", "fds": 30})


@breaks("resources")
def threads_leak(h):
    at_the_end(h, threads=9)


@breaks("resources")
def memory_grows_while_nothing_happens(h):
    for sample in h.resources:
        if sample["t"] >= BEGIN + 100:
            sample["rss_kb"] += int(400 * (sample["t"] - BEGIN - 100))


@breaks("resources")
def a_process_is_gone(h):
    h.resources = [one for one in h.resources
                   if one["t"] < BEGIN + 100 or one["process"] != "worker-1"]


@pytest.mark.parametrize("name", BREAKAGES)
def test_each_broken_promise_is_noticed(name, history, tmp_path):
    rule, break_it = BREAKAGES[name]
    break_it(history)
    assert rule in rules_of(history, tmp_path)


# -- what must not be complained of -----------------------------------------------------------


def test_a_lost_answer_may_have_made_a_job(history, tmp_path):
    job = Job(history, 9, BEGIN + 40).start().complete()
    job.post.update(http=None, job_id=None, status=None, error="TimeoutError")
    assert rules_of(history, tmp_path) == set()


def test_a_job_handed_back_has_not_used_an_attempt(history, tmp_path):
    job = Job(history, 9, BEGIN + 40).start()
    job.move("QUEUED", session=None, attempt=0).start().complete()
    assert rules_of(history, tmp_path) == set()


def test_reads_that_overlap_may_be_answered_in_any_order(history, tmp_path):
    job = Job(history, 9, BEGIN + 40).start()
    slow = job.read(after=0.1)
    job.complete()
    job.read(after=0.2)
    slow["t1"] = job.t + 5
    assert rules_of(history, tmp_path) == set()


def test_times_of_the_product_are_not_trusted_when_clocks_were_stepped(history, tmp_path):
    history.faults.append({"t0": BEGIN + 20, "t1": BEGIN + 21, "fault": "clock.step",
                           "target": "worker-1", "detail": {"seconds": 3600}})
    history.plain.row["started_at"] = text_of(BEGIN + 3620)
    assert rules_of(history, tmp_path) == set()


def test_a_job_may_wait_while_the_workers_are_full(history, tmp_path):
    BREAKAGES["a_job_waits_for_no_reason"][1](history)
    busy = Job(history, 10, BEGIN + 59).start()
    for _ in range(256):
        busy.call()["t1"] = BEGIN + 64
    busy.move("COMPLETED", result=history.models[-1]["answer"], session=None)
    assert "flow" not in rules_of(history, tmp_path)


def test_a_gateway_that_leaves_lets_nobody_wait(history, tmp_path):
    BREAKAGES["a_wait_gives_up_early"][1](history)
    wait = [one for one in history.clients if one["op"] == "wait"][-1]
    wait["gateway"] = 0
    drained = {"fault": "processes.program_drained", "round": 1, "alone": True, "detail": None,
               "t0": wait["t0"], "t1": wait["t0"]}
    history.faults.append({**drained, "target": "gateway-2"})
    assert "waits" in rules_of(history, tmp_path)
    history.faults.append({**drained, "target": "gateway-1"})
    assert "waits" not in rules_of(history, tmp_path)


def test_what_cannot_be_judged_is_said(history, tmp_path):
    history.run.update(baseline=None, had_events=False)
    history.events = history.events[3:]
    report = judge(history.write(tmp_path))
    assert report.violations == []
    assert {"resources", "events", "calls and attempts"} <= report.not_judged.keys()


@pytest.mark.parametrize("patch", sorted((HERE / "planted").glob("*.patch")), ids=lambda one: one.stem)
def test_planted_bugs_can_be_planted(patch):
    done = subprocess.run(["patch", "-p1", "--dry-run", "-i", patch], cwd=HERE.parents[1],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
