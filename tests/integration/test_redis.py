"""A Redis that is away, frozen, emptied or closed to us costs speed and nothing else."""

import pytest
import servers
from probe import Probe


@pytest.fixture(scope="module")
def shared_redis():
    with servers.Redis() as server:
        yield server


@pytest.fixture
def redis(shared_redis):
    shared_redis.ask("FLUSHALL")
    yield shared_redis
    shared_redis.thaw()
    if not shared_redis.is_running():
        shared_redis.start()


@pytest.fixture
def probe(redis):
    running = Probe("cache_probe", redis.url())
    yield running
    if running.process.poll() is None:
        running.quit()


def test_killed_and_started_again(redis, probe):
    probe.until("ping", "ping ok")
    probe.send("put a one 60")
    assert probe.ask("get a", "got").endswith("hit one")
    redis.kill9()
    answer = probe.ask("get a", "got")
    assert "unavailable" in answer and int(answer.split()[1]) < 300
    probe.send("put a two 60")
    redis.start()
    probe.until("ping", "ping ok")
    assert probe.ask("get a", "got").endswith("miss")
    assert probe.logs().count("going on without") == 1


def test_frozen_costs_one_timeout(redis, probe):
    probe.until("ping", "ping ok")
    redis.freeze()
    mark = probe.mark()
    probe.send(*["get a"] * 50)
    answers = probe.wait("got", 50, since=mark)
    assert all("unavailable" in line and int(line.split()[1]) < 400 for line in answers)
    for _ in range(20):
        assert int(probe.ask("get a", "got").split()[1]) < 20  # at once: there is no connection
    assert probe.ask("ping").startswith("ping unavailable")
    redis.thaw()
    probe.until("ping", "ping ok")
    assert probe.ask("get a", "got").endswith("miss")


def test_frozen_from_the_start(redis):
    redis.freeze()
    probe = Probe("cache_probe", redis.url())
    assert "unavailable" in probe.ask("get a", "got")
    redis.thaw()
    probe.until("ping", "ping ok")
    probe.quit()


def test_emptied(redis, probe):
    probe.until("ping", "ping ok")
    probe.send("put a one 60")
    assert probe.ask("get a", "got").endswith("hit one")
    redis.ask("FLUSHALL")
    assert probe.ask("get a", "got").endswith("miss")


def test_starts_before_the_server(redis):
    redis.kill9()
    probe = Probe("cache_probe", redis.url())
    assert "unavailable" in probe.ask("get a", "got")
    redis.start()
    probe.until("ping", "ping ok")
    probe.quit()


def test_connections_are_killed(redis, probe):
    probe.until("ping", "ping ok")
    for _ in range(5):
        redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        probe.until("ping", "ping ok")


def test_password_and_database(redis):
    redis.ask("ACL", "SETUSER", "someone", "on", ">p@ss/w:rd", "~*", "+@all")
    place = f"127.0.0.1:{redis.port}"
    probe = Probe("cache_probe", f"redis://someone:p%40ss%2Fw%3Ard@{place}/3")
    probe.until("ping", "ping ok")
    probe.send("put a one 60")
    assert probe.ask("get a", "got").endswith("hit one")
    probe.quit()
    other = Probe("cache_probe", f"redis://{place}/0")
    other.until("ping", "ping ok")
    assert other.ask("get a", "got").endswith("miss")
    other.quit()


def test_wrong_password_is_told_and_not_shown(redis):
    redis.ask("ACL", "SETUSER", "someone", "on", ">right", "~*", "+@all")
    probe = Probe("cache_probe", f"redis://someone:wr0ngsecret@127.0.0.1:{redis.port}/0")
    probe.wait("log warning")
    assert "WRONGPASS" in probe.ask("ping")
    probe.quit()
    assert "wr0ngsecret" not in "\n".join(probe.lines)


def test_host_names_are_looked_up(redis):
    probe = Probe("cache_probe", f"redis://localhost:{redis.port}")
    probe.until("ping", "ping ok")
    probe.quit()
    nowhere = Probe("cache_probe", "redis://no-such-host.invalid")
    nowhere.wait("log warning")
    assert "unavailable" in nowhere.ask("get a", "got")
    nowhere.quit()


@pytest.mark.parametrize("url", [
    "rediss://:s3cret@127.0.0.1", "redis://s3cret@127.0.0.1", "http://:s3cret@127.0.0.1",
    "redis://:s3cret@127.0.0.1:port", "redis://:s3cret@127.0.0.1/x", "redis://:s3cret@",
    "redis://:s3cret@h?db=1", "redis://:s3cret@[::1", "redis://:s3cret%zz@h", "redis://:s3cret@h/70000"])
def test_urls_that_are_refused(url):
    probe = Probe("cache_probe", url)
    assert probe.wait("refused") and probe.process.wait(5) == 3
    assert "s3cret" not in "\n".join(probe.lines)
