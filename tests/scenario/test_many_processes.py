"""Four gateways and eight workers on one set of servers, some of them killed under work."""

import collections
import http.client
import threading
import time

import api as http_api

LEASE = {"AIPLAT_LEASE_MS": 2000, "AIPLAT_HEARTBEAT_MS": 500, "LOG_LEVEL": "info"}
GATEWAYS, WORKERS, JOBS = 4, 8, 1200
CONNECTIONS_MAX = 6  # of one process, as docs/scaling.md says; retention adds one for a moment


def post_all(addresses, name, count, accepted):
    """One client: posts its jobs, each under a key, at whichever gateway answers."""
    for number in range(count):
        key, deadline = f"{name}-{number}", time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline, "no gateway takes the job"
            address = addresses[(number + int(time.monotonic() * 10)) % len(addresses)]
            try:
                answer = http_api.JobsApi(address).post(
                    "/v1/jobs", {"prompt": key}, {"Idempotency-Key": key})
            except (OSError, http.client.HTTPException):  # also cut off in the middle of its answer
                continue
            if answer.status in (200, 201):
                accepted[key] = answer.json()["job_id"]
                break
            time.sleep(0.05)


def connections(site):
    rows = site.sql("SELECT client_port FROM pg_stat_activity WHERE datname = current_database() "
                    "AND application_name LIKE 'aiplat%'")
    return len(rows)


def test_every_accepted_job_ends_once(served, model_server):
    model_server.rules({"latency_ms": 30})
    gateways = [served.gateway(**LEASE) for _ in range(GATEWAYS)]
    workers = [served.worker(**LEASE) for _ in range(WORKERS)]
    addresses = [gateway.api.url for gateway in gateways]
    accepted = {}
    clients = [threading.Thread(target=post_all, args=(addresses, f"c{n}", JOBS // 4, accepted))
               for n in range(4)]
    for client in clients:
        client.start()
    time.sleep(1.0)
    count = connections(served)
    gateways[1].kill9()
    for worker in workers[:3]:
        worker.kill9()
    time.sleep(1.0)
    gateways[1].start()
    workers[0].start()
    for client in clients:
        client.join(120)
    assert len(accepted) == JOBS
    survivor = http_api.JobsApi(addresses[0])
    ends = collections.Counter(survivor.wait(job_id, 60)["status"] for job_id in accepted.values())
    assert ends == {"COMPLETED": JOBS}
    assert served.sql("SELECT count(*), count(DISTINCT prompt) FROM jobs") == \
        [[str(JOBS), str(JOBS)]]
    print(f"{GATEWAYS} gateways and {WORKERS} workers keep {count} connections to PostgreSQL")
    assert 0 < count <= CONNECTIONS_MAX * (GATEWAYS + WORKERS)
