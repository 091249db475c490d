"""Submitting, reading, waiting for, listing and cancelling jobs over HTTP."""

import datetime
import re
import time
import uuid

import pytest

RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def test_a_job_is_accepted_runs_and_ends(jobs):
    answer = jobs.post("/v1/jobs", {"prompt": "What is C?", "metadata": {"team": "blue"}})
    accepted = answer.json()
    assert answer.status == 201 and accepted["status"] == "QUEUED"
    assert answer.headers["location"].endswith(f"/v1/jobs/{accepted['job_id']}")
    assert uuid.UUID(accepted["job_id"]).version == 7
    job = jobs.wait(accepted["job_id"])
    assert job["status"] == "COMPLETED" and job["result"].endswith("to: What is C?")
    assert job["error"] is None and job["metadata"] == {"team": "blue"}
    assert (job["config_name"], job["template_name"]) == ("default-smart", "default-assistant")
    assert RFC3339_UTC.fullmatch(job["created_at"]) and RFC3339_UTC.fullmatch(job["updated_at"])
    created = datetime.datetime.fromisoformat(job["created_at"].replace("Z", "+00:00"))
    now = datetime.datetime.now(datetime.timezone.utc)
    assert abs((now - created).total_seconds()) < 60


def test_wait_is_held_until_the_end_and_no_longer(jobs, model_server):
    model_server.rules({"latency_ms": 700})
    job_id = jobs.submit("slow one")
    began = time.monotonic()
    job = jobs.get(f"/v1/jobs/{job_id}?wait=30").json()
    assert job["status"] == "COMPLETED" and 0.4 < time.monotonic() - began < 5


def test_wait_gives_up_after_its_time(jobs, model_server):
    model_server.rules({"latency_ms": 5000})
    job_id = jobs.submit("slower one")
    began = time.monotonic()
    answer = jobs.get(f"/v1/jobs/{job_id}?wait=1")
    assert answer.status == 200 and answer.json()["status"] in ("QUEUED", "PROCESSING")
    assert 0.9 < time.monotonic() - began < 3


def test_any_text_comes_back_as_it_was(jobs, model_server):
    model_server.rules({"echo": True})
    text = "Grüße, 世界 🌍 \"quoted\" \\ back\tslash \u2028 \u202e {{not a variable}} 'x'; --"
    assert jobs.run(text)["result"].endswith(f"user: {text}")


def test_the_longest_prompt_is_accepted(jobs, model_server):
    prompt = "ä" * 100_000
    job = jobs.run(prompt)
    assert job["status"] == "COMPLETED"
    assert model_server.calls()[-1]["user"] == prompt


def test_list_pages_newest_first_without_gaps_or_repeats(jobs):
    ids = [jobs.submit(f"job {number}") for number in range(7)]
    seen, cursor = [], ""
    while True:
        page = jobs.get(f"/v1/jobs?limit=3{cursor}").json()
        assert len(page["jobs"]) <= 3
        seen += [job["job_id"] for job in page["jobs"]]
        if not page.get("next_cursor"):
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids[::-1]


def test_list_filters_by_status(jobs, model_server):
    model_server.rules({"contains": "bad", "status": 401})
    good, bad = jobs.submit("good"), jobs.submit("bad", max_attempts=1)
    jobs.wait(good), jobs.wait(bad)
    def listed(query):
        return [job["job_id"] for job in jobs.get(f"/v1/jobs?{query}").json()["jobs"]]
    assert listed("status=FAILED") == [bad]
    assert listed("status=COMPLETED") == [good]
    assert jobs.get("/v1/jobs?status=LOST").status in (400, 422)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=100000", "cursor=%00", "cursor=!!"])
def test_list_refuses_nonsense(dev, query):
    dev.start()
    assert dev.api.get(f"/v1/jobs?{query}").status in (400, 422)


def test_cancel_stops_the_model_call_in_flight(jobs, model_server):
    model_server.rules({"hang": True})
    job_id = jobs.submit("never ends")
    model_server.wait_calls(1)
    answer = jobs.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status == 200 and answer.json()["status"] == "CANCELLED"
    call = model_server.wait_outcome("never ends", "client_closed")
    assert call["ended"] - call["time"] < 5
    assert jobs.wait(job_id)["status"] == "CANCELLED"
    time.sleep(0.3)
    assert len(model_server.calls()) == 1


def test_cancel_before_the_start(jobs, model_server):
    job_id = jobs.submit("later", delay=3600)
    assert jobs.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "CANCELLED"
    assert jobs.job(job_id)["status"] == "CANCELLED" and not model_server.calls()


def test_cancel_after_the_end_changes_nothing(jobs):
    job = jobs.run("quick")
    answer = jobs.post(f"/v1/jobs/{job['job_id']}/cancel")
    assert answer.status in (200, 409)
    assert jobs.job(job["job_id"])["status"] == "COMPLETED"
    assert jobs.post(f"/v1/jobs/{uuid.uuid4()}/cancel").status == 404


def test_same_key_same_request_is_the_same_job(jobs, model_server):
    ids = {jobs.submit("pay once", idempotency_key="order-17") for _ in range(5)}
    assert len(ids) == 1
    jobs.wait(ids.pop())
    assert len(model_server.calls("pay once")) == 1


def test_same_key_other_request_is_refused(jobs):
    jobs.submit("pay once", idempotency_key="order-18")
    answer = jobs.post("/v1/jobs", {"prompt": "pay twice"}, {"Idempotency-Key": "order-18"})
    assert answer.status == 409 and answer.json()["code"] and answer.json()["detail"]
    assert len(jobs.get("/v1/jobs").json()["jobs"]) == 1


@pytest.mark.parametrize("field", ["config_name", "template_name"])
def test_unknown_names_are_refused_at_once_by_name(jobs, field):
    answer = jobs.post("/v1/jobs", {"prompt": "x", field: "no-such-thing"})
    assert answer.status == 422 and "no-such-thing" in answer.json()["detail"]
    assert jobs.get("/v1/jobs").json()["jobs"] == []


def test_delay_holds_a_job_back(jobs, model_server):
    began = time.time()
    job = jobs.run("not yet", delay=1.2)
    assert job["status"] == "COMPLETED"
    assert 1.1 < model_server.calls("not yet")[0]["time"] - began < 6


def test_run_at_holds_a_job_back(jobs, model_server):
    due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
    # Written in another zone on purpose: the instant counts.
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    job_id = jobs.submit("at dawn", run_at=due.astimezone(zone).isoformat())
    assert jobs.job(job_id)["status"] == "QUEUED"
    assert jobs.wait(job_id)["status"] == "COMPLETED"
    assert -0.1 < model_server.calls("at dawn")[0]["time"] - due.timestamp() < 5


def test_failures_are_retried_up_to_max_attempts(jobs, model_server):
    model_server.rules({"malformed": True})
    job = jobs.run("hopeless", max_attempts=2, retry_delay=0.1)
    assert job["status"] == "FAILED" and job["attempt"] == 2 and job["result"] is None
    assert job["error"]


def test_unknown_fields_are_refused_by_name(jobs):
    answer = jobs.post("/v1/jobs", {"prompt": "x", "promt": "y"})
    assert answer.status == 422 and "promt" in answer.json()["detail"]


def test_jobs_run_side_by_side(jobs, model_server):
    model_server.rules({"latency_ms": 1000})
    began = time.monotonic()
    ids = [jobs.submit(f"job {number}") for number in range(100)]
    assert {jobs.wait(job_id)["status"] for job_id in ids} == {"COMPLETED"}
    assert time.monotonic() - began < 8
    assert model_server.get("/control/log?count=1").json()["most_open"] > 50


def test_health_and_readiness(site):
    assert site.api.get("/health").json()["status"] == "healthy"
    site.api.run("once all is up")
    ready = site.api.get("/ready")
    assert ready.status == 200 and ready.json()["status"] == "ready"
    dependencies = ready.json()["dependencies"]
    assert {"database", "queue", "cache"} <= dependencies.keys()
    assert {dependency["state"] for dependency in dependencies.values()} == {"up"}
    assert dependencies["database"]["latency_ms"] >= 0
