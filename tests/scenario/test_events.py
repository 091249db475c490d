"""Following a job: everything once and in order, wherever one reads, and when Redis is away."""

import json
import socket
import subprocess
import threading
import time

import pytest
import sse

SLOW = {"latency_ms": 600}


def types_of(events):
    return [event.type for event in events]


def statuses_of(events):
    return [event.data["status"] for event in events if event.type == "status"]


def reader(api, job_id, into, **options):
    """A thread that follows the job and leaves what came in `into`."""
    def read():
        into.extend(sse.follow(api, job_id, **options))
    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_a_streamed_job_tells_everything_in_order(site, model_server):
    model_server.rules(SLOW)
    job_id = site.api.submit("tell me all", stream=True)
    assert site.api.job(job_id)["stream"] is True
    events = sse.follow(site.api, job_id)
    kinds = types_of(events)
    assert kinds[-2:] == ["status", "end"] and events[-1].data["status"] == "COMPLETED"
    assert statuses_of(events) == ["QUEUED", "PROCESSING", "COMPLETED"]
    assert "gap" not in kinds
    order = [kinds.index(kind) for kind in ("step_started", "update", "step_ended", "values")]
    assert order == sorted(order)
    ids = [tuple(map(int, event.id.split("-"))) for event in events]
    assert ids == sorted(set(ids)), "ids increase"
    values = next(event for event in events if event.type == "values")
    assert values.data["answer"] == site.api.job(job_id)["result"]
    assert {event.data["attempt"] for event in events[1:]} == {1}


def test_tokens_make_up_the_answer(site, model_server):
    model_server.rules({"drip_ms": 5})
    job_id = site.api.submit("speak to me " * 5, stream=True)
    events = sse.follow(site.api, job_id)
    tokens = [event for event in events if event.type == "token"]
    assert len(tokens) > 1
    assert "".join(event.data["text"] for event in tokens) == site.api.job(job_id)["result"]


def test_a_job_that_is_not_streamed_tells_its_status(site, model_server):
    model_server.rules({"latency_ms": 1500})
    job_id = site.api.submit("say little")
    events = sse.follow(site.api, job_id)
    assert set(types_of(events)) == {"status", "end"}
    assert statuses_of(events)[-2:] == ["PROCESSING", "COMPLETED"]


def test_resuming_at_every_event_gives_the_rest(served, model_server):
    model_server.rules({"latency_ms": 300, "times": 1, "status": 500}, SLOW)
    first, second = served.gateway(), served.gateway()
    served.worker()
    job_id = first.api.submit("again and again", stream=True, retry_delay=0.2)
    live = sse.follow(first.api, job_id)
    while_live = [event.key() for event in live]
    assert statuses_of(live)[-1] == "COMPLETED"
    for gateway in (first, second):
        everything = [event.key() for event in sse.follow(gateway.api, job_id)]
        assert everything == while_live
        for i, event in enumerate(live[:-1]):
            rest = [one.key() for one in sse.follow(gateway.api, job_id, last=event.id)]
            assert rest == while_live[i + 1:], f"behind {event}"
        assert sse.Stream(gateway.api, job_id, last=live[-1].id).status == 204


def test_readers_that_come_and_go_on_two_gateways_miss_nothing(served, model_server):
    model_server.rules({"drip_ms": 20})
    gateways = [served.gateway(), served.gateway()]
    served.worker()
    job_id = gateways[0].api.submit("words and words and words and words", stream=True)
    whole = []
    thread = reader(gateways[0].api, job_id, whole)
    got, last, n = [], None, 0
    while not got or got[-1].type != "end":
        stream = sse.Stream(gateways[n % 2].api, job_id, last=last)
        n += 1
        for event in stream:
            got.append(event)
            last = event.id
            break  # one event a connection
        stream.close()
    thread.join(20)
    assert [event.key() for event in got] == [event.key() for event in whole]


def test_a_failed_attempt_is_told(site, model_server):
    model_server.rules({"times": 1, "status": 400}, {})
    job_id = site.api.submit("hopeless", stream=True)
    events = sse.follow(site.api, job_id)
    assert statuses_of(events)[-1] == "FAILED"
    error = next(event for event in events if event.type == "error")
    assert error.data["error_code"] == events[-1].data["error_code"]


def test_a_cancelled_job_ends_its_stream(site, model_server):
    model_server.rules({"hang": True})
    job_id = site.api.submit("never mind", stream=True)
    site.api.wait_status(job_id, "PROCESSING")
    events = []
    thread = reader(site.api, job_id, events)
    time.sleep(0.2)
    site.api.post(f"/v1/jobs/{job_id}/cancel")
    thread.join(5)
    assert events[-1].type == "end" and events[-1].data["status"] == "CANCELLED"


def test_only_the_types_that_are_asked_for(site, model_server):
    job_id = site.api.submit("briefly", stream=True)
    events = sse.follow(site.api, job_id, query="?types=status")
    assert set(types_of(events)) == {"status", "end"}
    assert site.api.get(f"/v1/jobs/{job_id}/events?types=status,nonsense").status == 422


def test_what_is_refused(jobs):
    unknown = jobs.get("/v1/jobs/01890000-0000-7000-8000-000000000000/events")
    assert unknown.status == 404 and unknown.json()["code"] == "NOT_FOUND"
    assert jobs.get("/v1/jobs/nonsense/events").status == 404
    job_id = jobs.submit("hello")
    assert jobs.get(f"/v1/jobs/{job_id}/events", **{"Last-Event-ID": "yesterday"}).status == 422
    assert jobs.get(f"/v1/jobs/{job_id}/events?last_event_id=1").status == 422


def test_redis_killed_in_the_middle_costs_events_and_not_the_job(served, model_server):
    model_server.rules({"latency_ms": 2500})
    served.start()
    job_id = served.api.submit("carry on", stream=True)
    events = []
    thread = reader(served.api, job_id, events)
    served.api.wait_status(job_id, "PROCESSING")
    time.sleep(0.3)
    served.redis.kill9()
    began = time.monotonic()
    assert served.api.wait(job_id, 20)["status"] == "COMPLETED"
    assert time.monotonic() - began < 6, "the run waited for Redis"
    thread.join(10)
    assert "gap" in types_of(events), "nothing was said"
    assert events[-1].type == "end" and events[-1].data["status"] == "COMPLETED"
    late = sse.follow(served.api, job_id)
    assert late[-1].data["status"] == "COMPLETED"
    served.redis.start()


def test_redis_emptied_after_the_end_leaves_status_and_end(served):
    served.start()
    job_id = served.api.submit("forget me", stream=True)
    served.api.wait(job_id)
    time.sleep(0.2)
    served.redis.ask("FLUSHALL")
    events = sse.follow(served.api, job_id)
    assert types_of(events) == ["gap", "status", "end"]


def test_a_closing_gateway_sends_its_readers_elsewhere(served, model_server):
    model_server.rules({"latency_ms": 3000})
    first, second = served.gateway(), served.gateway()
    served.worker()
    job_id = first.api.submit("move on", stream=True)
    served.api.wait_status(job_id, "PROCESSING")
    stream = sse.Stream(first.api, job_id)
    got = []
    thread = threading.Thread(target=lambda: got.extend(stream))
    thread.start()
    time.sleep(0.3)
    first.term()
    assert first.wait(5) == 0
    thread.join(5)
    assert len(stream.retry) == 2, "one at the start, one to go"
    rest = sse.follow(second.api, job_id, last=got[-1].id)
    assert [event.key() for event in got + rest] == \
        [event.key() for event in sse.follow(second.api, job_id)]


N_SLOW = 20


def test_readers_that_stand_still_cost_little_and_miss_nothing(served, model_server):
    """An answer of 11 MB, and twenty who read none of it until it has been told to the end."""
    model_server.rules({"text": " ".join(f"{n:06}" * 600 for n in range(3000))})
    gateway = served.gateway()
    served.worker()
    job_id = gateway.api.submit("tell me a long story", stream=True)
    slow = [sse.Stream(gateway.api, job_id) for _ in range(N_SLOW)]
    for stream in slow:
        stream.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    before = gateway.resident_bytes()
    whole = sse.follow(gateway.api, job_id)
    assert statuses_of(whole)[-1] == "COMPLETED" and "gap" not in types_of(whole)
    told = "".join(event.data["text"] for event in whole if event.type == "token")
    assert told == gateway.api.job(job_id)["result"] and len(told) > 10_000_000
    model_server.rules({"text": "and a short one"})
    began = time.monotonic()
    other = sse.follow(gateway.api, gateway.api.submit("tell me another", stream=True))
    assert statuses_of(other)[-1] == "COMPLETED" and time.monotonic() - began < 5, "others wait"
    # 2 MB a reader at the very most, and what one reader of it all takes
    assert gateway.resident_bytes() - before < (2 * N_SLOW + 40) << 20
    for stream in slow:
        assert [event.key() for event in stream] == [event.key() for event in whole]
        stream.close()


def test_a_reader_that_stands_still_for_too_long_is_dropped_and_comes_back(served, model_server):
    model_server.rules({"text": " ".join(f"{n:06}" * 600 for n in range(3000))})
    gateway = served.gateway(AIPLAT_REQUEST_TIMEOUT_MS=2000)
    served.worker()
    job_id = gateway.api.submit("tell me a long story", stream=True)
    stream = sse.Stream(gateway.api, job_id)
    stream.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    whole = sse.follow(gateway.api, job_id)
    time.sleep(6)
    got = list(stream)
    stream.close()
    assert got and got[-1].type != "end", "it was dropped"
    rest = sse.follow(gateway.api, job_id, last=got[-1].id)
    assert [event.key() for event in got + rest] == [event.key() for event in whole]


def test_curl_shows_events_as_they_come(dev, model_server):
    model_server.rules(SLOW)
    dev.start()
    job_id = dev.api.submit("for curl", stream=True)
    done = subprocess.run(["curl", "-sN", f"{dev.api.url}/v1/jobs/{job_id}/events"],
                          capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.startswith("retry: 1000\nid: 1-0\nevent: status\ndata: {")
    assert "event: end\ndata: {\"status\":\"COMPLETED\"" in done.stdout


def test_aiplatctl_prints_tokens_as_they_come(site, model_server):
    model_server.rules({"drip_ms": 5})
    done = site.ctl("submit", "--stream", "talk to me")
    job = site.api.get("/v1/jobs?limit=1").json()["jobs"][0]
    assert done.returncode == 0 and done.stdout == job["result"].rstrip("\n") + "\n"
    assert done.stderr == ""
    lines = site.ctl("watch", "--json", job["job_id"]).stdout.splitlines()
    assert json.loads(lines[0])["event"] == "status" and json.loads(lines[-1])["event"] == "end"
    assert site.ctl("watch", "01890000-0000-7000-8000-000000000000").returncode == 66
    model_server.rules({"status": 400})
    failed = site.ctl("submit", "--stream", "no")
    assert failed.returncode == 1 and "the attempt failed" in failed.stderr


@pytest.mark.network
def test_a_reader_nobody_here_wrote(dev, tmp_path):
    import sys
    import venv
    venv.create(tmp_path, with_pip=True)
    subprocess.run([tmp_path / "bin" / "pip", "install", "-q", "httpx==0.27.2",
                    "httpx-sse==0.4.0"], check=True, stdout=sys.stderr)
    dev.start()
    job_id = dev.api.submit("for httpx", stream=True)
    code = ("import httpx, httpx_sse, sys\n"
            "with httpx.Client(trust_env=False) as c, \\\n"
            "        httpx_sse.connect_sse(c, 'GET', sys.argv[1]) as s:\n"
            "    for e in s.iter_sse(): print(e.id, e.event, sorted(e.json()))\n")
    done = subprocess.run([tmp_path / "bin" / "python", "-c", code,
                           f"{dev.api.url}/v1/jobs/{job_id}/events"],
                          capture_output=True, text=True, timeout=30, check=True)
    assert " end " in done.stdout.splitlines()[-1]
