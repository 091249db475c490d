"""Thousands of jobs while programs and servers are killed: all end COMPLETED, none twice."""

import asyncio
import time

import load
import promises
import pytest

LEASE = {"AIPLAT_LEASE_MS": 4000, "AIPLAT_HEARTBEAT_MS": 1000, "LOG_LEVEL": "info"}
CONFIG = {"name": "load", "provider": "simulated", "model_name": "simulated,echo,latency=20",
          "api_key_env": ""}


@pytest.fixture
def size(request):
    return 20_000 if request.config.getoption("--full") else 2_000


def start(site, gateways=1, workers=2):
    """Gateway and workers with the configuration the load uses."""
    for _ in range(gateways):
        site.gateway(**LEASE)
    started = site.workers(workers, **LEASE)
    assert site.api.post("/v1/llm-configs", CONFIG).status == 201
    return started


def run(site, folder, jobs, *disturbances):
    """Posts `jobs` jobs at 64 connections; each disturbance is (share of jobs accepted, action).
    Returns the promises after checking every one of them."""
    log = folder / "load.jsonl"

    async def disturb(posting):
        for share, action in disturbances:
            await posting.reached(int(jobs * share))
            await asyncio.to_thread(action)

    async def both():
        posting = load.Load(site.api.url, jobs, 64, log, {"config_name": "load"})
        await asyncio.gather(posting.run(), disturb(posting))
    with site.listen() as connection:
        events = promises.Events(connection)
        asyncio.run(both())
        promises.wait_for_end(site, 30 + jobs / 100)
        events.drain()
    promised = promises.check_jobs(site, load.read_log(log))
    assert len(promised) == jobs
    return promised, events


def test_nothing_disturbs(served, folder, size):
    start(served)
    promised, events = run(served, folder, size)
    promises.check_events(events, promised)


def test_a_worker_and_then_the_gateway_are_killed(served, folder, size):
    doomed, _ = start(served)
    gateway = served.programs[0]

    def restart_gateway():
        gateway.kill9()
        served.gateway(port=gateway.port, **LEASE)
    promised, events = run(served, folder, size, (0.3, doomed.kill9),
                           (0.4, lambda: served.worker(**LEASE)), (0.6, restart_gateway))
    promises.check_events(events, promised)


def test_postgres_is_killed_and_started_again(served, folder, size):
    start(served)
    promised, events = run(served, folder, size, (0.4, lambda: served.postgres.kill9()),
                           (0.4, lambda: served.postgres.start()))
    promises.check_events(events, promised)


def test_rabbitmq_is_killed_and_started_again(served, folder, size):
    start(served)
    served.let_queue_settle()
    # Whoever listens loses events with the broker: only the jobs are checked.
    log = folder / "load.jsonl"

    async def both():
        posting = load.Load(served.api.url, size, 64, log, {"config_name": "load"})

        async def disturb():
            await posting.reached(size // 3)
            await asyncio.to_thread(served.rabbitmq.kill9)
            await asyncio.to_thread(served.rabbitmq.start)
        await asyncio.gather(posting.run(), disturb())
    asyncio.run(both())
    promises.wait_for_end(served, 60 + size / 100)
    assert len(promises.check_jobs(served, load.read_log(log))) == size


def test_redis_is_killed(served, folder, size):
    start(served)
    promised, events = run(served, folder, size, (0.3, lambda: served.redis.kill9()),
                           (0.6, lambda: served.redis.start()))
    promises.check_events(events, promised)


def test_a_worker_is_frozen_past_its_lease_and_thawed(served, folder, size):
    frozen, _ = start(served)

    def thaw_late():
        time.sleep(6)
        frozen.thaw()
    promised, events = run(served, folder, size, (0.3, frozen.freeze), (0.5, thaw_late))
    promises.check_events(events, promised)
