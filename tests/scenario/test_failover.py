"""PostgreSQL's primary dies, its synchronous standby takes over: accepted jobs are there and end."""

import time

import pytest


@pytest.fixture(name="standby")
def synchronous_standby(served):
    primary = served.postgres
    standby = primary.standby()
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.sql("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 30
    while primary.sql("SELECT sync_state FROM pg_stat_replication") != [["sync"]]:
        assert time.monotonic() < deadline, "the standby does not follow"
        time.sleep(0.1)
    yield standby
    standby.remove()
    # Without its standby the primary, which other tests use, would wait for ever.
    (primary.data / "postgresql.auto.conf").write_text("")
    if not primary.is_running():
        primary.start()
    else:
        primary.restart()


def test_a_standby_takes_over(served, standby, model_server):
    primary = served.postgres
    model_server.rules({"latency_ms": 200})
    served.settings["DATABASE_URL"] = (
        f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{served.database}"
        "?target_session_attrs=read-write")
    served.start()
    accepted = [served.api.post("/v1/jobs", {"prompt": f"before {n}"}).json()["job_id"]
                for n in range(200)]
    primary.kill9()
    assert served.api.post("/v1/jobs", {"prompt": "between"}).status == 503
    standby.promote()
    began = time.monotonic()
    while True:
        answer = served.api.post("/v1/jobs", {"prompt": "after"})
        if answer.status == 201:
            break
        assert answer.status == 503 and time.monotonic() - began < 30
        time.sleep(0.1)
    print(f"accepted again {time.monotonic() - began:.1f} s after the promotion")
    accepted.append(answer.json()["job_id"])
    assert {served.api.wait(job_id, 60)["status"] for job_id in accepted} == {"COMPLETED"}
    assert standby.sql("SELECT count(*) FROM jobs WHERE status <> 'COMPLETED' AND prompt <> 'between'",
                       served.database) == [["0"]]
