"""SIGTERM drains and exits 0; a second signal does not wait."""

import signal
import threading
import time

import pytest


def test_an_idle_site_leaves_at_once(site):
    site.api.run("all are up")
    for program in site.programs:
        program.term()
    assert [program.wait(5) for program in site.programs] == [0] * len(site.programs)


def test_a_worker_finishes_what_it_runs(served, model_server):
    model_server.rules({"latency_ms": 1500})
    served.gateway()
    worker = served.worker(AIPLAT_DRAIN_TIMEOUT_MS=10000)
    job_id = served.api.submit("finish me")
    model_server.wait_calls(1)
    worker.term()
    late = served.api.submit("not with me")
    assert worker.wait(15) == 0
    assert served.api.job(job_id)["status"] == "COMPLETED"
    assert served.api.job(late)["status"] == "QUEUED"


def test_a_worker_hands_back_what_it_cannot_finish_in_time(served, model_server):
    model_server.rules({"times": 1, "hang": True}, {})
    served.gateway()
    worker = served.worker(AIPLAT_DRAIN_TIMEOUT_MS=500, AIPLAT_LEASE_MS=60000,
                           AIPLAT_HEARTBEAT_MS=3000)
    job_id = served.api.submit("hand me back", max_attempts=1)
    model_server.wait_calls(1)
    worker.term()
    assert worker.wait(10) == 0
    assert served.api.job(job_id)["status"] == "QUEUED"
    served.worker()
    assert served.api.wait(job_id, 10)["status"] == "COMPLETED"


def test_a_gateway_answers_what_it_has_accepted(served):
    gateway = served.gateway()
    job_id = served.api.submit("no worker yet")
    answers = []
    def held():
        answers.append(served.api.get(f"/v1/jobs/{job_id}?wait=20"))
    thread = threading.Thread(target=held)
    thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    gateway.term()
    assert gateway.wait(10) == 0
    thread.join(5)
    assert answers[0].status == 200 and answers[0].json()["status"] == "QUEUED"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["aiplat-worker", "aiplatctl"])
def test_a_second_signal_does_not_wait(request, model_server, name):
    model_server.rules({"hang": True})
    site = request.getfixturevalue("served" if name == "aiplat-worker" else "dev")
    site.start(AIPLAT_DRAIN_TIMEOUT_MS=30000)
    program = site.programs[-1]
    site.api.submit("hang")
    model_server.wait_calls(1)
    program.term()
    time.sleep(0.5)
    assert program.is_running()
    program.signal(signal.SIGTERM)
    assert program.wait(2) != 0


def test_ctrl_c_is_orderly_too(dev):
    dev.start()
    dev.programs[0].signal(signal.SIGINT)
    assert dev.programs[0].wait(5) == 0


@pytest.mark.parametrize("which", ["postgres", "rabbitmq", "redis"])
@pytest.mark.parametrize("how", ["kill9", "freeze"])
def test_servers_that_are_away_hold_nobody_back(served, which, how):
    served.start()
    served.api.run("all are up")
    getattr(served.servers[which], how)()
    time.sleep(0.5)
    for program in served.programs:
        program.term()
    codes = [program.wait(15) for program in served.programs]
    assert codes[0] in (0, 75) and codes[1] in (0, 75)
