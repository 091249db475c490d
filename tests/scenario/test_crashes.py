"""Programs that die or freeze at the worst moment: each job still ends, once."""

import time
import uuid

import pytest

LEASE = {"AIPLAT_LEASE_MS": 2000, "AIPLAT_HEARTBEAT_MS": 500}


def test_a_worker_killed_in_mid_call_is_replaced(served, model_server):
    model_server.rules({"times": 1, "hang": True}, {})
    served.gateway(**LEASE)
    doomed = served.worker(**LEASE)
    job_id = served.api.submit("survive")
    model_server.wait_calls(1)
    served.worker(**LEASE)
    doomed.kill9()
    job = served.api.wait(job_id)
    assert job["status"] == "COMPLETED" and job["attempt"] == 2
    assert [call["outcome"] for call in model_server.calls()] == ["client_closed", "answered"]


TURN = {
    "state": {"prompt": {}, "said": {"type": "append"}, "answer": {}},
    "nodes": {
        "note": {"type": "transform", "write": {"said": ".prompt"}},
        "think": {"type": "llm", "prompt": ".prompt", "write": {"said": "$answer"}},
        "tell": {"type": "transform", "write": {"answer": '.said | join(", ")'}},
    },
    "edges": [{"from": "__start__", "to": "note"}, {"from": "note", "to": "think"},
              {"from": "think", "to": "tell"}, {"from": "tell", "to": "__end__"}],
}


@pytest.mark.parametrize("attempts", [3, 1])
def test_a_thread_goes_on_when_a_worker_is_killed_in_mid_turn(served, model_server, attempts):
    served.gateway(**LEASE)
    doomed = served.worker(**LEASE)
    assert served.api.put("/v1/graphs/turn", {"document": TURN}).status == 201
    fields = {"graph_name": "turn", "thread_id": str(uuid.uuid4())}
    model_server.rules({"text": "ah"})
    assert served.api.wait(served.api.submit("one", **fields))["result"] == "one, ah"
    model_server.rules({"times": 1, "hang": True}, {"text": "oh"})
    second = served.api.submit("two", max_attempts=attempts, **fields)
    third = served.api.submit("three", **fields)
    model_server.wait_calls(2)
    assert served.api.job(third)["status"] == "QUEUED"
    doomed.kill9()
    served.worker(**LEASE)
    job = served.api.wait(second)
    if attempts > 1:  # what had been noted is not noted again
        assert job["attempt"] == 2 and job["result"] == "one, ah, two, oh", job
    else:
        assert job["error_code"] == "internal_worker_lost", job
    # the next has its turn, and begins with what was kept
    answer = "one, ah, two, oh, three, oh" if attempts > 1 else "one, ah, two, three, oh"
    assert served.api.wait(third)["result"] == answer


def test_the_last_attempt_lost_with_its_worker_is_a_failure(served, model_server):
    model_server.rules({"hang": True})
    served.gateway(**LEASE)
    doomed = served.worker(**LEASE)
    job_id = served.api.submit("only once", max_attempts=1)
    model_server.wait_calls(1)
    doomed.kill9()
    served.worker(**LEASE)
    job = served.api.wait(job_id)
    assert job["status"] == "FAILED" and job["error_code"] == "internal_worker_lost"


def test_a_worker_frozen_past_its_lease_can_write_nothing(served, model_server):
    model_server.rules({"times": 1, "latency_ms": 1500, "text": "stale"}, {"text": "fresh"})
    served.gateway(**LEASE)
    frozen = served.worker(**LEASE)
    job_id = served.api.submit("fenced")
    model_server.wait_calls(1)
    frozen.freeze()
    served.worker(**LEASE)
    job = served.api.wait(job_id)
    assert job["result"] == "fresh"
    frozen.thaw()
    time.sleep(2)
    assert served.api.job(job_id) == job
    assert served.sql("SELECT result FROM jobs") == [["fresh"]]


def test_a_thawed_worker_goes_on_working(served, model_server):
    served.gateway(**LEASE)
    worker = served.worker(**LEASE)
    served.api.run("before")
    worker.freeze()
    time.sleep(3)
    worker.thaw()
    assert served.api.run("after")["status"] == "COMPLETED"


def test_a_gateway_killed_after_its_answer_has_lost_nothing(served):
    gateway = served.gateway()
    ids = [served.api.submit(f"job {number}") for number in range(50)]
    gateway.kill9()
    served.gateway()
    served.worker()
    assert {served.api.wait(job_id)["status"] for job_id in ids} == {"COMPLETED"}


def test_dev_survives_kill9(dev, model_server):
    model_server.rules({"times": 5, "hang": True}, {})
    dev.start(**LEASE)
    ids = [dev.api.submit(f"job {number}") for number in range(5)]
    later = dev.api.submit("later", delay=2)
    model_server.wait_calls(5)
    dev.programs[0].kill9()
    dev.start(**LEASE)
    assert {dev.api.wait(job_id)["status"] for job_id in [*ids, later]} == {"COMPLETED"}
    assert len(model_server.calls("later")) == 1


@pytest.mark.parametrize("rounds", [10])
def test_dev_killed_again_and_again_keeps_every_promise(dev, rounds):
    ids = []
    for number in range(rounds):
        dev.start(**LEASE)
        ids += [dev.api.submit(f"job {number}.{one}") for one in range(10)]
        dev.programs[-1].kill9()
    dev.start(**LEASE)
    assert {dev.api.wait(job_id)["status"] for job_id in ids} == {"COMPLETED"}
    assert dev.sql("SELECT count(*) FROM jobs") == [[str(10 * rounds)]]
    assert dev.sql("PRAGMA integrity_check") == [["ok"]]
