"""The checker notices each broken promise: a checker that never complains proves nothing."""

import promises
import pytest

ANSWERS = [{"job_id": f"id-{n}", "key": f"k-{n}", "prompt": f"prompt {n}"} for n in range(3)]
ROWS = [[f"id-{n}", "COMPLETED", f"prompt {n}", f"echo of prompt {n}"] for n in range(3)]


class FakeSite:
    """Tables and a queue that hold what they are told."""

    def __init__(self, rows=ROWS, outbox="0", queue=0, open_jobs=()):
        self.answers = {"SELECT id": rows, "SELECT status": list(open_jobs),
                        "SELECT count(*) FROM outbox": [[outbox]]}
        self.queue = queue

    def sql(self, text):
        return next(rows for start, rows in self.answers.items() if text.startswith(start))

    def queue_depth(self):
        return self.queue


class FakeEvents:
    def __init__(self, final, created=None):
        self.final = final
        self.created = created or {answer["job_id"]: {"c"} for answer in ANSWERS}


COMPLETED = {f"id-{n}": {("job.completed", f"e-{n}")} for n in range(3)}


def test_kept_promises_pass():
    promises.wait_for_end(FakeSite(), 0)
    promised = promises.check_jobs(FakeSite(), ANSWERS)
    promises.check_events(FakeEvents(COMPLETED), promised)


@pytest.mark.parametrize("rows", [
    ROWS[:2], [*ROWS, ["id-9", "COMPLETED", "prompt 9", "prompt 9"]],
    [*ROWS[:2], ["id-2", "FAILED", "prompt 2", ""]],
    [*ROWS[:2], ["id-2", "COMPLETED", "prompt 1", "echo of prompt 1"]],
    [*ROWS[:2], ["id-2", "COMPLETED", "prompt 2", "echo of prompt 1"]]],
    ids=["lost", "invented", "failed", "another's prompt", "another's answer"])
def test_broken_promises_of_the_store(rows):
    with pytest.raises(AssertionError):
        promises.check_jobs(FakeSite(rows), ANSWERS)


def test_two_jobs_for_one_key():
    twice = [*ANSWERS, {"job_id": "id-9", "key": "k-0", "prompt": "prompt 0"}]
    rows = [*ROWS, ["id-9", "COMPLETED", "prompt 0", "echo of prompt 0"]]
    with pytest.raises(AssertionError):
        promises.check_jobs(FakeSite(rows), twice)


@pytest.mark.parametrize("site", [FakeSite(outbox="1"), FakeSite(queue=1),
                                  FakeSite(open_jobs=[["QUEUED", "1"]])])
def test_leftovers(site):
    with pytest.raises(AssertionError):
        promises.wait_for_end(site, 0)


@pytest.mark.parametrize("final, created", [
    ({**COMPLETED, "id-0": {("job.completed", "a"), ("job.completed", "b")}}, None),
    ({**COMPLETED, "id-0": {("job.completed", "a"), ("job.failed", "b")}}, None),
    ({**COMPLETED, "id-0": set()}, None), ({**COMPLETED, "id-9": {("job.completed", "a")}}, None),
    (COMPLETED, {"id-0": {"a", "b"}, "id-1": {"c"}, "id-2": {"c"}})],
    ids=["ended twice", "completed and failed", "no end", "invented", "created twice"])
def test_broken_promises_of_the_events(final, created):
    promised = {answer["job_id"]: answer for answer in ANSWERS}
    with pytest.raises(AssertionError):
        promises.check_events(FakeEvents(final, created), promised)
