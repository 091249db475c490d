"""Connections: pipelines, keep-alive after errors, bodies in crumbs, clients that go, and what a
draining gateway does with those that wait."""

import signal
import socket
import struct
import threading
import time

import api
import pytest


class Link:
    """One connection, on which requests are written and answers read one by one."""

    def __init__(self, address, timeout=10.0):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _fill(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(self.buffer)
        self.buffer += data

    def answer(self, has_body=True):
        """Status, headers and body of the next answer."""
        while b"\r\n\r\n" not in self.buffer:
            self._fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        length = int(headers.get("content-length", 0)) if has_body else 0
        while len(self.buffer) < length:
            self._fill()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return int(lines[0].split()[1]), headers, body

    def is_closed(self, timeout=5.0):
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True
        except socket.timeout:
            return False


def post_of(body, *more):
    head = [b"POST /v1/jobs HTTP/1.1", b"Host: x", b"Content-Type: application/json",
            b"Content-Length: %d" % len(body), *more]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def get_of(path):
    return b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()


@pytest.fixture
def link(running_dev):
    with Link(running_dev.api.address) as link:
        yield link


JOB = b'{"prompt": "hello"}'


def test_a_pipeline_of_different_requests_is_answered_in_order(link):
    link.send(get_of("/health") + post_of(JOB) + get_of("/nothing") + post_of(b"{") +
              get_of("/v1/jobs?limit=1") + b"PUT /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n" +
              get_of("/health"))
    statuses = [link.answer()[0] for _ in range(7)]
    assert statuses == [200, 201, 404, 400, 200, 405, 200]


@pytest.mark.parametrize("request_, status", [
    (get_of("/nothing"), 404),
    (get_of("/v1/jobs?limit=x"), 422),
    (post_of(b"not json"), 400),
    (post_of(b"[]"), 422),
    (post_of(b'{"prompt": ""}'), 422),
    (b"DELETE /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n", 405),
])
def test_a_connection_lives_on_after_an_error(link, request_, status):
    for _ in range(3):
        link.send(request_)
        assert link.answer()[0] == status
    link.send(post_of(JOB))
    assert link.answer()[0] == 201


@pytest.mark.parametrize("path", ["/health", "/ready", "/openapi.yaml", "/v1/jobs", "/v1/llm-configs"])
def test_head_tells_the_headers_and_no_body(link, path):
    link.send(b"HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    status, headers, _ = link.answer(has_body=False)
    assert status == 200 and int(headers["content-length"]) > 0
    link.send(get_of("/health"))
    assert link.answer()[0] == 200


def test_a_body_may_come_byte_by_byte(link):
    data = post_of(b'{"prompt": "in crumbs", "metadata": {"a": [1, 2, 3]}}')
    link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in data:
        link.send(bytes([byte]))
        time.sleep(0.001)
    assert link.answer()[0] == 201


def test_a_body_may_come_in_chunks_of_a_byte(link):
    link.send(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
              b"Transfer-Encoding: chunked\r\n\r\n")
    for byte in JOB:
        link.send(b"1\r\n" + bytes([byte]) + b"\r\n")
    link.send(b"0\r\n\r\n")
    assert link.answer()[0] == 201
    link.send(get_of("/health"))
    assert link.answer()[0] == 200


def test_a_client_that_asks_first_is_told_to_continue(link):
    head, body = post_of(JOB, b"Expect: 100-continue").split(b"\r\n\r\n")
    link.send(head + b"\r\n\r\n")
    assert link.answer(has_body=False)[0] == 100
    link.send(body)
    assert link.answer()[0] == 201


def test_a_client_that_asks_first_is_told_when_there_is_no_use(link):
    link.send(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n"
              b"Expect: 100-continue\r\n\r\n")
    assert link.answer()[0] == 413


def test_many_headers_are_fine_and_too_many_are_431(link, running_dev):
    def request(n):
        lines = b"".join(b"X-%d: v\r\n" % i for i in range(n))
        return b"GET /health HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n"
    link.send(request(100))
    assert link.answer()[0] == 200
    with Link(running_dev.api.address) as other:
        try:
            other.send(request(20000))
        except ConnectionError:
            pass
        assert other.answer()[0] == 431


@pytest.mark.parametrize("type_, status", [
    (b"application/json", 201), (b"application/json; charset=utf-8", 201), (b"APPLICATION/JSON", 201),
    (b"text/plain", 415), (b"application/jsonp", 415), (b"application/json-patch+json", 415)])
def test_the_type_of_the_body_must_be_json(link, type_, status):
    link.send(post_of(JOB).replace(b"application/json", type_))
    assert link.answer()[0] == status


@pytest.mark.parametrize("path", ["/health%00", "/health%00x", "/v1/jobs%00?limit=1", "/health/",
                                  "//health", "/v1//jobs", "/v1/jobs%2F"])
def test_a_path_is_what_it_is(link, path):
    link.send(get_of(path))
    assert link.answer()[0] in (400, 404)


@pytest.mark.parametrize("query", ["config_name=%FF", "template_name=a%00b", "status=%00",
                                   "cursor=%00", "limit=1%00x", "created_after=%FF"])
def test_a_query_that_is_no_text_is_refused(link, query):
    link.send(get_of("/v1/jobs?" + query))
    assert link.answer()[0] in (400, 422)


@pytest.mark.parametrize("name", ["ä ö", "100%", "a?b", "a/b", "a+b", "."])
def test_any_name_can_be_used_in_a_path(running_dev, name):
    import urllib.parse
    path = "/v1/prompt-templates/" + urllib.parse.quote(name, safe="")
    assert running_dev.api.put(path, {"content": "x"}).status == 201
    answer = running_dev.api.get(path)
    assert answer.status == 200 and answer.json()["name"] == name
    assert running_dev.api.delete(path).status == 204
    assert running_dev.api.get(path).status == 404


# -- waits -----------------------------------------------------------------------------------------


def delayed_job(site):
    return site.api.submit("much later", delay=600)


def test_a_client_that_goes_while_it_waits_leaves_nothing(running_dev):
    job_id = delayed_job(running_dev)
    links = [Link(running_dev.api.address) for _ in range(50)]
    for number, link in enumerate(links):
        link.send(get_of(f"/v1/jobs/{job_id}?wait=30"))
    time.sleep(0.5)
    for number, link in enumerate(links):
        if number % 2:  # with a reset
            link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.socket.close()
    time.sleep(3)
    assert open_connections(running_dev) == 0


def open_connections(site):
    pid = site.programs[-1].pid
    port = site.api.address[1]
    with open(f"/proc/{pid}/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    inodes = {row[9] for row in rows if int(row[1].split(":")[1], 16) == port and row[3] != "0A"}
    inodes.discard("0")
    import os
    held = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        held += target[8:-1] in inodes if target.startswith("socket:[") else 0
    return held


def wait_in_background(address, path):
    result = {}

    def run():
        began = time.monotonic()
        try:
            with Link(address, timeout=40) as link:
                link.send(get_of(path))
                result["answer"] = link.answer()
        except (EOFError, OSError) as error:
            result["error"] = error
        result["seconds"] = time.monotonic() - began
    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def test_a_draining_gateway_answers_waits_with_the_job_as_it_stands(dev):
    site = dev.start()
    job_id = delayed_job(site)
    waits = [wait_in_background(site.api.address, f"/v1/jobs/{job_id}?wait=30") for _ in range(20)]
    time.sleep(1)
    site.programs[-1].term()
    for thread, result in waits:
        thread.join()
        status, _, body = result["answer"]
        assert status == 200 and b'"status":"QUEUED"' in body
        assert result["seconds"] < 5
    assert site.programs[-1].wait(10) == 0


def test_a_draining_gateway_begins_no_new_wait(dev, model_server):
    model_server.rules({"latency_ms": 4000})
    site = dev.start()
    job_id = delayed_job(site)
    with Link(site.api.address) as link:
        link.send(get_of("/health"))
        assert link.answer()[0] == 200
        site.api.submit("keeps the worker busy while it drains")
        model_server.wait_calls(1)
        held = wait_in_background(site.api.address, f"/v1/jobs/{job_id}?wait=30")
        time.sleep(0.3)
        site.programs[-1].term()
        began = time.monotonic()
        try:
            link.send(get_of(f"/v1/jobs/{job_id}?wait=30"))
            assert link.answer()[0] == 200
        except (EOFError, OSError):
            pass  # it may have hung up already: that is clear as well
        assert time.monotonic() - began < 5
        held[0].join()
    assert site.programs[-1].wait(20) == 0


def test_slow_clients_are_dropped_and_others_are_served(dev):
    site = dev.start(AIPLAT_REQUEST_TIMEOUT_MS=1500)
    dribbling = [Link(site.api.address) for _ in range(20)]
    for link in dribbling:
        link.send(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\n")
    until = time.monotonic() + 6
    alive = set(dribbling)
    while alive and time.monotonic() < until:
        for link in list(alive):
            try:
                link.send(b"X-Slow: 1\r\n")
            except OSError:
                alive.discard(link)
        assert site.api.get("/health").status == 200
        time.sleep(0.3)
    for link in dribbling:
        link.socket.close()
    assert not alive


def test_an_idle_connection_does_not_hold_the_drain_up(dev):
    site = dev.start()
    with Link(site.api.address) as idle, Link(site.api.address) as half:
        idle.send(get_of("/health"))
        idle.answer()
        half.send(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Le")
        time.sleep(0.2)
        site.programs[-1].signal(signal.SIGTERM)
        began = time.monotonic()
        assert site.programs[-1].wait(10) == 0
        assert time.monotonic() - began < 5
