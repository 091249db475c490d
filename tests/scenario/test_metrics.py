"""GET /metrics: what Prometheus reads of gateway and worker, and what it says is true."""

import re

import api as http_api
import servers

LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*\})? '
                  r'(-?[0-9.]+)$')


def scrape(api):
    """Samples by name and labels; every line must be as the text format has it."""
    answer = api.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    types, samples = {}, {}
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"{name} twice"
            types[name] = kind
        elif not line.startswith("# HELP "):
            match = LINE.match(line)
            assert match, line
            name, labels, value = match.groups()
            family = re.sub("_(bucket|sum|count)$", "", name)
            assert name in types or types.get(family) == "histogram", f"{name} has no type"
            assert name + (labels or "") not in samples, line
            samples[name + (labels or "")] = float(value)
    return samples


def monitored(site, port):
    return http_api.JobsApi(f"http://127.0.0.1:{port}")


def test_dev_counts_what_it_does(dev, model_server):
    model_server.rules({"times": 1, "status": 500}, {})
    dev.start()
    before = scrape(dev.api)
    for i in range(3):
        assert dev.api.run(f"job {i}", retry_delay=0.05)["status"] == "COMPLETED"
    after = scrape(dev.api)

    def grew(name):
        return after[name] - before.get(name, 0)

    assert grew('aiplat_attempts_total{outcome="completed"}') == 3
    assert grew("aiplat_jobs_claimed_total") >= 3
    assert grew("aiplat_attempt_seconds_count") >= 3
    assert grew('aiplat_tokens_total{kind="output"}') > 0
    assert after["aiplat_jobs_running"] == 0 and after["aiplat_jobs_running_max"] == 256
    assert after['aiplat_server_up{server="store",adapter="sqlite"}'] == 1
    assert after["process_resident_memory_bytes"] > 1e6
    assert any(name.startswith("aiplat_http_request") and value >= 3
               for name, value in after.items())


def test_gateway_and_worker_each_tell_their_own(served):
    port = servers.free_port()
    served.gateway()
    served.worker(AIPLAT_MONITOR_LISTEN=f"127.0.0.1:{port}")
    for i in range(5):
        served.api.run(f"job {i}")
    worker, gateway = monitored(served, port), scrape(served.api)
    told = scrape(worker)
    assert told['aiplat_attempts_total{outcome="completed"}'] == 5
    assert told['aiplat_messages_published_total{kind="event"}'] >= 5
    assert 'aiplat_attempts_total{outcome="completed"}' not in gateway
    assert gateway['aiplat_messages_published_total{kind="task"}'] == 5
    assert worker.get("/health").json()["service"] == "worker"
    assert worker.get("/ready").status == 200
    assert worker.get("/v1/jobs").status == 404
    served.redis.freeze()
    assert scrape(worker)['aiplat_server_up{server="cache",adapter="redis"}'] == 0
    served.redis.thaw()
