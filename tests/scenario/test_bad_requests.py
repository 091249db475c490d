"""What a client can get wrong: a clear 4xx each time, never a crash, never half a job."""

import pytest

LONG = "x" * 100_001
BODIES = {
    "not JSON": (b"{", (400,)),
    "empty body": (b"", (400,)),
    "trailing rubbish": (b'{"prompt": "x"} x', (400,)),
    "two documents": (b'{"prompt": "x"}{"prompt": "y"}', (400,)),
    "an array": (b'["x"]', (400, 422)),
    "a string": (b'"x"', (400, 422)),
    "null": (b"null", (400, 422)),
    "no prompt": (b"{}", (400, 422)),
    "prompt is a number": (b'{"prompt": 1}', (400, 422)),
    "prompt is null": (b'{"prompt": null}', (400, 422)),
    "prompt is a list": (b'{"prompt": ["x"]}', (400, 422)),
    "empty prompt": (b'{"prompt": ""}', (400, 422)),
    "blank prompt": (b'{"prompt": " \\n\\t\\u00a0\\u3000 "}', (400, 422)),
    "100,001 characters": (('{"prompt": "%s"}' % LONG).encode(), (400, 422)),
    "bad UTF-8": (b'{"prompt": "\xff\xfe"}', (400, 422)),
    "overlong UTF-8": (b'{"prompt": "\xc0\xaf"}', (400, 422)),
    "UTF-8 surrogate": (b'{"prompt": "\xed\xa0\x80"}', (400, 422)),
    "lone surrogate escape": (b'{"prompt": "\\ud800"}', (400, 422)),
    "raw NUL": (b'{"prompt": "a\x00b"}', (400, 422)),
    "escaped NUL": (b'{"prompt": "a\\u0000b"}', (400, 422)),
    "NUL in metadata": (b'{"prompt": "x", "metadata": {"a": "\\u0000"}}', (400, 422)),
    "NUL in a metadata name": (b'{"prompt": "x", "metadata": {"\\u0000": 1}}', (400, 422)),
    "NUL in a variable": (b'{"prompt": "x", "variables": {"a": "\\u0000"}}', (400, 422)),
    "config is a number": (b'{"prompt": "x", "config_name": 7}', (400, 422)),
    "metadata is a list": (b'{"prompt": "x", "metadata": [1]}', (400, 422)),
    "variables is a string": (b'{"prompt": "x", "variables": "a"}', (400, 422)),
    "no attempts": (b'{"prompt": "x", "max_attempts": 0}', (400, 422)),
    "half an attempt": (b'{"prompt": "x", "max_attempts": 1.5}', (400, 422)),
    "too many attempts": (b'{"prompt": "x", "max_attempts": 1e300}', (400, 422)),
    "negative delay": (b'{"prompt": "x", "delay": -1}', (400, 422)),
    "endless delay": (b'{"prompt": "x", "delay": 1e300}', (400, 422)),
    "delay is text": (b'{"prompt": "x", "delay": "soon"}', (400, 422)),
    "run_at is no time": (b'{"prompt": "x", "run_at": "tomorrow"}', (400, 422)),
    "run_at is impossible": (b'{"prompt": "x", "run_at": "2026-02-30T00:00:00Z"}', (400, 422)),
    "run_at and delay": (b'{"prompt": "x", "run_at": "2030-01-01T00:00:00Z", "delay": 1}',
                         (400, 422)),
    "deep nesting": (b'{"prompt": "x", "metadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
                     (400, 413, 422)),
    "oversize": (b'{"prompt": "x", "metadata": {"a": "' + b"x" * 2_000_000 + b'"}}', (413,)),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_bad_body_is_refused_and_leaves_nothing(running_dev, case):
    body, allowed = BODIES[case]
    before = running_dev.sql("SELECT count(*) FROM jobs")
    answer = running_dev.api.post("/v1/jobs", body, {"Content-Type": "application/json"})
    assert answer.status in allowed, answer
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["detail"] and problem["code"] and problem["status"] == answer.status
    assert running_dev.sql("SELECT count(*) FROM jobs") == before
    assert running_dev.api.get("/health").status == 200


def test_the_same_bodies_on_real_servers(served):
    served.gateway()
    for case, (body, allowed) in BODIES.items():
        answer = served.api.post("/v1/jobs", body, {"Content-Type": "application/json"})
        assert answer.status in allowed, (case, answer)
    assert served.sql("SELECT count(*) FROM jobs") == [["0"]]
    assert served.sql("SELECT count(*) FROM outbox") == [["0"]]


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/jobs", "/v1/jobs/1/2/3", "/v1/job", "/%00",
                                  "/v1/jobs%2f"])
def test_unknown_routes_are_404(running_dev, path):
    answer = running_dev.api.get(path)
    assert answer.status == 404 and answer.json()["code"], answer


@pytest.mark.parametrize("method, path, allowed", [
    ("DELETE", "/v1/jobs", {"GET", "POST"}), ("PUT", "/v1/jobs", {"GET", "POST"}),
    ("POST", "/health", {"GET"}),
    ("POST", "/v1/jobs/550e8400-e29b-41d4-a716-446655440000", {"GET"}),
    ("GET", "/v1/jobs/550e8400-e29b-41d4-a716-446655440000/cancel", {"POST"}),
    ("PATCH", "/openapi.yaml", {"GET"})])
def test_wrong_methods_are_405_and_tell_the_right_ones(running_dev, method, path, allowed):
    answer = running_dev.api.request(method, path)
    assert answer.status == 405, answer
    assert allowed <= {name.strip() for name in answer.headers["allow"].split(",")}


@pytest.mark.parametrize("job_id", ["x", "550e8400", "550e8400-e29b-41d4-a716-44665544000g",
                                    "%ff", "'"])
def test_a_malformed_id_is_no_job(running_dev, job_id):
    assert running_dev.api.get(f"/v1/jobs/{job_id}").status in (400, 404, 422)


@pytest.mark.parametrize("wait", ["x", "-1", "1e9", "99999999999999999999"])
def test_a_malformed_wait_is_refused_or_bounded(running_dev, wait):
    job = running_dev.api.run("quick")
    assert running_dev.api.get(f"/v1/jobs/{job['job_id']}?wait={wait}").status in (200, 400, 422)


def test_a_wrong_content_type_is_refused_or_read_as_json(running_dev):
    answer = running_dev.api.post("/v1/jobs", b"prompt=x",
                                  {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status in (400, 415)


@pytest.mark.parametrize("key", [
    pytest.param("", id="empty"), pytest.param("k" * 256, id="256 bytes"),
    pytest.param("k" * 5000, id="5,000 bytes"), pytest.param("a\tb\x7f", id="control characters")])
def test_an_impossible_idempotency_key_is_refused(running_dev, key):
    answer = running_dev.api.post("/v1/jobs", {"prompt": "x"}, {"Idempotency-Key": key})
    assert answer.status in (400, 422), answer
