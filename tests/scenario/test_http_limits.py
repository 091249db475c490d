"""Clients that are slow, greedy, strange or many get a clear answer and harm nobody."""

import socket
import time

import api
import pytest


def serves(site):
    return site.api.get("/health").status == 200


def test_headers_too_large_are_431(running_dev):
    request = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"x" * 200_000 + b"\r\n\r\n"
    answer = api.parse_answer(running_dev.api.raw(request))
    assert answer and answer.status == 431
    assert serves(running_dev)


def test_a_url_too_long_is_refused(running_dev):
    request = b"GET /v1/jobs?x=" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = api.parse_answer(running_dev.api.raw(request))
    assert answer and answer.status in (400, 414, 431)
    assert serves(running_dev)


def test_an_announced_oversize_body_is_refused_before_it_is_sent(running_dev):
    request = (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               b"Content-Length: 99999999999\r\n\r\n{")
    answer = api.parse_answer(running_dev.api.raw(request))
    assert answer and answer.status == 413


def test_an_oversize_body_in_chunks_is_413(running_dev):
    head = (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n")
    body = (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 40 + b"0\r\n\r\n"
    with socket.create_connection(running_dev.api.address, timeout=5) as link:
        try:
            link.sendall(head + body)
        except ConnectionError:
            pass  # it may well hang up on us while we talk
        try:
            answer = api.parse_answer(link.recv(65536))
        except ConnectionError:
            answer = None
    assert answer is None or answer.status == 413
    assert serves(running_dev)


def test_a_body_in_chunks_is_a_body(running_dev):
    request = (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               b"Transfer-Encoding: chunked\r\n\r\n4\r\n{\"pr\r\nd\r\nompt\": \"hi\"}\n\r\n"
               b"0\r\n\r\n")
    assert api.parse_answer(running_dev.api.raw(request)).status == 201


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
                                     b"GET\r\n\r\n", b"\r\n\r\n\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                                     b"\x00" * 5000, b"SSH-2.0-x\r\n\r\n"])
def test_what_is_not_http_harms_nobody(running_dev, rubbish):
    answer = api.parse_answer(running_dev.api.raw(rubbish, timeout=1.0))
    assert answer is None or 400 <= answer.status <= 505
    assert serves(running_dev)


def test_a_broken_content_length_is_refused(running_dev):
    request = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"
    answer = api.parse_answer(running_dev.api.raw(request))
    assert answer is None or answer.status in (400, 413)
    assert serves(running_dev)


def test_requests_may_be_pipelined(running_dev):
    one = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    assert running_dev.api.raw(one * 5).count(b"HTTP/1.1 200") == 5


def test_one_connection_serves_many_requests(running_dev):
    one = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(running_dev.api.address, timeout=5) as link:
        for _ in range(50):
            link.sendall(one)
            assert link.recv(65536).startswith(b"HTTP/1.1 200")


def closed_within(link, seconds):
    """True when the server closes or answers within this time."""
    link.settimeout(seconds)
    try:
        link.recv(65536)
        return True
    except socket.timeout:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("beginning", [
    b"", b"GET /health HTTP/1.1\r\nHost:", b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"pro"])
def test_clients_who_do_not_go_on_are_closed(dev, beginning):
    dev.start(AIPLAT_REQUEST_TIMEOUT_MS=1000)
    with socket.create_connection(dev.api.address, timeout=5) as link:
        link.sendall(beginning)
        assert closed_within(link, 5)
    assert serves(dev)


def test_a_slow_loris_is_closed_though_it_keeps_talking(dev):
    dev.start(AIPLAT_REQUEST_TIMEOUT_MS=1500)
    with socket.create_connection(dev.api.address, timeout=5) as link:
        link.sendall(b"GET /health HTTP/1.1\r\n")
        began = time.monotonic()
        while not closed_within(link, 0.3):
            assert time.monotonic() - began < 8, "a header each 0.3 s keeps a connection for ever"
            try:
                link.sendall(b"X-A: b\r\n")
            except ConnectionError:
                break
    assert serves(dev)


def test_a_thousand_idle_connections_leave_room_for_work(dev):
    dev.start()
    links = [socket.create_connection(dev.api.address, timeout=5) for _ in range(1000)]
    try:
        assert dev.api.run("still here")["status"] == "COMPLETED"
    finally:
        for link in links:
            link.close()


def test_connections_beyond_the_limit_do_not_stop_the_rest(dev):
    dev.start(AIPLAT_MAX_CONNECTIONS=20)
    links = [socket.create_connection(dev.api.address, timeout=5) for _ in range(60)]
    for link in links:
        link.close()
    deadline = time.monotonic() + 5
    while True:
        try:
            if serves(dev):
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_client_that_leaves_while_it_waits_is_forgotten(dev, model_server):
    model_server.rules({"latency_ms": 1500})
    dev.start()
    job_id = dev.api.submit("left alone")
    for _ in range(20):
        with socket.create_connection(dev.api.address) as link:
            link.sendall(f"GET /v1/jobs/{job_id}?wait=30 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            time.sleep(0.02)
    assert dev.api.wait(job_id)["status"] == "COMPLETED"
