"""Servers that are down, late, frozen or forgetful: accepted jobs end, and no answer lies."""

import json
import subprocess
import time

import amqp
import pytest


def ended(site, ids, timeout=40):
    """The statuses in which these jobs ended."""
    return {site.api.wait(job_id, timeout)["status"] for job_id in ids}


def wait_until(condition, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def unavailable(answer):
    return answer.status == 503 and int(answer.headers["retry-after"]) >= 1 and \
        answer.json()["code"] and answer.json()["detail"]


def test_postgres_down_is_503_and_comes_back(served):
    served.start()
    before = served.api.run("before")["job_id"]
    served.postgres.kill9()
    assert unavailable(served.api.post("/v1/jobs", {"prompt": "x"}))
    assert unavailable(served.api.get("/v1/jobs"))
    assert served.api.get("/health").status == 200
    assert served.api.get("/ready").status == 503
    served.postgres.start()
    wait_until(lambda: served.api.post("/v1/jobs", {"prompt": "x"}).status == 201)
    assert served.api.job(before)["status"] == "COMPLETED"
    assert served.api.run("after")["status"] == "COMPLETED"


def test_postgres_frozen_answers_503_in_bounded_time(served):
    served.start()
    served.api.run("before")
    served.postgres.freeze()
    began = time.monotonic()
    answer = served.api.post("/v1/jobs", {"prompt": "x"}, {"Idempotency-Key": "frozen"})
    assert answer.status == 503 and time.monotonic() - began < 15
    served.postgres.thaw()
    wait_until(lambda: served.api.post("/v1/jobs", {"prompt": "x"},
                                       {"Idempotency-Key": "frozen"}).status == 201)
    assert served.api.run("after")["status"] == "COMPLETED"
    assert len(served.sql("SELECT 1 FROM jobs WHERE prompt = 'x'")) == 1


def test_postgres_restarts_under_work(served, model_server):
    model_server.rules({"latency_ms": 300})
    served.start()
    ids = []
    for number in range(60):
        if number == 20:
            served.postgres.restart()
        answer = served.api.post("/v1/jobs", {"prompt": f"job {number}"})
        assert answer.status in (201, 503)
        if answer.status == 201:
            ids.append(answer.json()["job_id"])
    assert len(ids) > 20 and ended(served, ids) == {"COMPLETED"}


def test_rabbitmq_down_from_the_start(served):
    served.rabbitmq.kill9()
    served.start()
    assert served.api.run("without a broker")["status"] == "COMPLETED"
    assert served.api.get("/ready").json()["status"] == "degraded"
    served.rabbitmq.start()
    wait_until(lambda: "rabbit" in served.logs().lower())
    assert served.api.run("with a broker")["status"] == "COMPLETED"
    wait_until(lambda: served.sql("SELECT count(*) FROM outbox") == [["0"]], 60)


@pytest.mark.parametrize("how", ["kill9", "freeze"])
def test_rabbitmq_fails_midway(served, how):
    served.start()
    served.workers(1)
    served.api.run("first")
    served.let_queue_settle()
    ids = [served.api.submit(f"before {number}") for number in range(20)]
    getattr(served.rabbitmq, how)()
    ids += [served.api.submit(f"during {number}") for number in range(20)]
    assert ended(served, ids) == {"COMPLETED"}
    served.rabbitmq.start() if how == "kill9" else served.rabbitmq.thaw()
    ids = [served.api.submit(f"after {number}") for number in range(20)]
    assert ended(served, ids) == {"COMPLETED"}
    wait_until(lambda: served.sql("SELECT count(*) FROM outbox") == [["0"]], 60)


def test_rabbitmq_in_memory_alarm_blocks_nobody(served):
    served.start()
    served.api.run("before")
    served.rabbitmq.memory_alarm(True)
    try:
        ids = [served.api.submit(f"job {number}") for number in range(200)]
        assert ended(served, ids) == {"COMPLETED"}
    finally:
        served.rabbitmq.memory_alarm(False)
    wait_until(lambda: served.sql("SELECT count(*) FROM outbox") == [["0"]], 60)


@pytest.mark.parametrize("how", ["kill9", "freeze"])
def test_without_redis_everything_works(served, how):
    served.start()
    job = served.api.run("before")
    getattr(served.redis, how)()
    assert served.api.job(job["job_id"]) == job
    assert served.api.run("during")["status"] == "COMPLETED"
    served.redis.start() if how == "kill9" else served.redis.thaw()
    assert served.api.run("after")["status"] == "COMPLETED"


def test_the_cache_is_never_trusted_over_the_store(served):
    served.start()
    job = served.api.run("truth")
    served.redis.ask("FLUSHALL")
    assert served.api.job(job["job_id"]) == job


def test_finished_jobs_are_cached_for_their_time(served):
    served.start(REDIS_JOB_TTL=77)
    job = served.api.run("cached")
    database = served.settings["REDIS_URL"].rsplit("/", 1)[1]

    def redis(*words):
        return subprocess.run(["redis-cli", "-p", str(served.redis.port), "-n", database, *words],
                              capture_output=True, text=True, check=True).stdout.split()
    wait_until(lambda: redis("KEYS", f"*{job['job_id']}*"), 5)
    (key,) = redis("KEYS", f"*{job['job_id']}*")
    assert 60 < int(redis("TTL", key)[0]) <= 77


def test_start_order_does_not_matter(served):
    for server in (served.postgres, served.rabbitmq, served.redis):
        server.kill9()
    worker = served.worker()
    gateway = served.gateway(until="/health")
    for path in ("/v1/jobs", "/v1/jobs/550e8400-e29b-41d4-a716-446655440000", "/v1/llm-configs"):
        assert unavailable(served.api.get(path)), path
    assert unavailable(served.api.post("/v1/jobs", {"prompt": "too early"}))
    for server in (served.redis, served.rabbitmq, served.postgres):
        server.start()
    wait_until(lambda: served.api.get("/ready").status == 200)
    wait_until(lambda: served.api.post("/v1/jobs", {"prompt": "x"}).status == 201)
    assert served.api.run("now")["status"] == "COMPLETED"
    assert worker.is_running() and gateway.is_running()


def test_several_start_at_once_on_an_empty_database(served):
    served.workers(3)
    others = [served.gateway() for _ in range(3)]
    assert all(program.is_running() for program in served.programs)
    assert len({one.api.submit("x") for one in others}) == 3
    assert served.api.run("last")["status"] == "COMPLETED"


def test_rubbish_in_the_queue_is_dropped(served):
    served.start()
    served.api.run("before")
    with amqp.Connection(served.rabbitmq.url()) as connection:
        for body in (b"", b"\x00\xff", b"{}", b"[1]", b'{"job_id": "x"}', b"x" * 300_000,
                     b'{"job_id": "550e8400-e29b-41d4-a716-446655440000"}'):
            connection.publish("", served.queue, body)
    assert served.api.run("after")["status"] == "COMPLETED"
    wait_until(lambda: served.queue_depth() == 0, 10)


def test_events_tell_the_life_of_a_job_in_order(served):
    served.start()
    with served.listen() as events:
        job_id = served.api.run("watched")["job_id"]
        heard = []
        while event := events.next_event(2.0):
            heard.append((event[0], json.loads(event[1])))
    assert [key for key, _ in heard] == ["job.created", "job.status_changed", "job.status_changed",
                                         "job.completed"]
    assert {body["job_id"] for _, body in heard} == {job_id}
    assert len({body["event_id"] for _, body in heard}) == 4
