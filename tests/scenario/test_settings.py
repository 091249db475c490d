"""Settings: those of the brief are accepted, wrong ones stop the start and are named."""

import time

import programs
import pytest


@pytest.mark.parametrize("name, value", [
    ("AIPLAT_CONCURENCY", "4"), ("AIPLAT_CONCURRENCY", "many"), ("AIPLAT_CONCURRENCY", "0"),
    ("AIPLAT_LISTEN", "nowhere"), ("AIPLAT_LISTEN", "127.0.0.1:99999"), ("LOG_LEVEL", "loud"),
    ("REDIS_JOB_TTL", "-1"), ("REDIS_JOB_TTL", "3600x"), ("DATABASE_URL", "oracle://x"),
    ("RABBITMQ_URL", "kafka://x"), ("REDIS_URL", "memcached://x"), ("AIPLAT_LEASE_MS", "1e9"),
    ("AIPLAT_HEARTBEAT_MS", "999999"), ("AIPLAT_MIGRATE", "perhaps")])
def test_a_wrong_setting_stops_the_start_and_is_named(dev, name, value):
    done = programs.run("aiplat-gateway", settings={**dev.settings, name: value},
                        folder=dev.folder, timeout=10)
    assert done.returncode not in (0, -6, -11) and name in done.stderr


def test_a_file_of_settings_is_read(dev):
    (dev.folder / ".env").write_text("# a comment\nREDIS_JOB_TTL=60\nLOG_LEVEL=INFO\n"
                                     "OPENAI_API_KEY='sk-from-the-file'\n")
    dev.start(OPENAI_API_KEY=None, LOG_LEVEL=None)
    job = dev.api.run("with the key of the file")
    assert job["status"] == "COMPLETED" and job["provider"] == "openai"


def test_an_unknown_name_in_the_file_stops_the_start(dev):
    (dev.folder / ".env").write_text("REDIS_JOB_TTTL=60\n")
    done = dev.ctl("dev", timeout=10)
    assert done.returncode != 0 and "REDIS_JOB_TTTL" in done.stderr


def test_the_url_of_the_original_is_understood(served):
    url = served.settings["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    served.start(DATABASE_URL=url)
    assert served.api.run("hello")["status"] == "COMPLETED"


def test_a_taken_port_stops_the_start_with_its_name(dev):
    dev.start()
    done = dev.ctl("dev", timeout=10, AIPLAT_LISTEN=f"127.0.0.1:{dev.api.address[1]}")
    assert done.returncode not in (0, -6, -11) and str(dev.api.address[1]) in done.stderr


def test_migrations_can_be_left_to_the_operator(served):
    gateway = served.gateway(until="/health", AIPLAT_MIGRATE="false")
    for path in ("/v1/jobs", "/v1/jobs/550e8400-e29b-41d4-a716-446655440000"):
        assert served.api.get(path).status == 503
    assert served.api.post("/v1/jobs", {"prompt": "x"}).status == 503
    assert served.ctl("migrate").returncode == 0
    deadline = time.monotonic() + 15
    while served.api.post("/v1/jobs", {"prompt": "x"}).status != 201:
        assert time.monotonic() < deadline and gateway.is_running()
        time.sleep(0.1)
    assert served.ctl("migrate").returncode == 0
