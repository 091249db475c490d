"""An HTTP client for the tests: JSON where it is wanted, raw bytes where the test is about those.

Called by the scenario tests and by the model server's remote control.  Deliberately without a
connection pool, retries or defaults, so that a test sees exactly what the server did.
"""

import http.client
import json
import socket
import time
import urllib.parse


class Answer:
    """Status, headers (lower-case names) and body of one answer."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def parse_answer(data):
    """An Answer from the bytes of one HTTP/1.1 answer; None when they are none."""
    if not data.startswith(b"HTTP/1."):
        return None
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
    return Answer(int(lines[0].split()[1]), headers, body)


class Api:
    """Talks to one server by its base URL."""

    def __init__(self, url, timeout=40.0):
        self.url = url
        parts = urllib.parse.urlsplit(url)
        self.address = (parts.hostname, parts.port)
        self.timeout = timeout

    def request(self, method, path, body=None, headers=None):
        """Sends `body` as it stands when it is bytes, as JSON otherwise."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(*self.address, timeout=self.timeout)
        try:
            try:
                connection.request(method, path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                if connection.sock is None:
                    raise  # it was gone before it heard anything
                # it has heard enough before it heard all: the answer says why
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, body=None, headers=None):
        return self.request("POST", path, body, headers)

    def put(self, path, body=None):
        return self.request("PUT", path, body)

    def patch(self, path, body=None):
        return self.request("PATCH", path, body)

    def delete(self, path):
        return self.request("DELETE", path)

    def raw(self, data, timeout=10.0):
        """Sends bytes, returns all bytes that come back until the server closes or falls silent."""
        with socket.create_connection(self.address, timeout=timeout) as link:
            link.sendall(data)
            received = b""
            link.settimeout(min(timeout, 1.0) if b"\r\n\r\n" in data else timeout)
            try:
                while chunk := link.recv(65536):
                    received += chunk
            except (socket.timeout, ConnectionError):
                pass
            return received


class JobsApi(Api):
    """The job API in the words of a test."""

    def submit(self, prompt, **fields):
        """Posts a job that must be accepted; returns its id."""
        key = fields.pop("idempotency_key", None)
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.post("/v1/jobs", {"prompt": prompt, **fields}, headers)
        assert answer.status == 201, answer
        return answer.json()["job_id"]

    def job(self, job_id):
        answer = self.get(f"/v1/jobs/{job_id}")
        assert answer.status == 200, answer
        return answer.json()

    def wait(self, job_id, timeout=30.0):
        """The job once it has ended; an AssertionError when it does not end in time."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            answer = self.get(f"/v1/jobs/{job_id}?wait={max(1, min(30, int(left)))}")
            assert answer.status == 200, answer
            job = answer.json()
            if job["status"] in ("COMPLETED", "FAILED", "CANCELLED"):
                return job
            assert time.monotonic() < deadline, f"not ended after {timeout} s: {job}"

    def wait_status(self, job_id, status, timeout=10.0):
        """The job once it has this status."""
        deadline = time.monotonic() + timeout
        while (job := self.job(job_id))["status"] != status:
            assert time.monotonic() < deadline, f"never {status}: {job}"
            time.sleep(0.02)
        return job

    def run(self, prompt, **fields):
        """Submits and waits."""
        return self.wait(self.submit(prompt, **fields))


class ModelControl(Api):
    """Remote control of model_server.py."""

    def rules(self, *rules):
        answer = self.put("/control", list(rules))
        assert answer.status == 200, answer

    def reset(self):
        self.delete("/control")

    def calls(self, contains=None):
        """Every request so far, or those with a text in their messages."""
        query = "" if contains is None else f"&contains={urllib.parse.quote(contains)}"
        return self.get(f"/control/log?limit=100000{query}").json()["requests"]

    def open_calls(self):
        return self.get("/control/log?count=1").json()["open"]

    def wait_calls(self, number, contains=None, timeout=10.0):
        """The requests once there are at least `number`."""
        deadline = time.monotonic() + timeout
        while len(found := self.calls(contains)) < number:
            assert time.monotonic() < deadline, f"{len(found)} calls of {number}"
            time.sleep(0.02)
        return found

    def wait_outcome(self, contains, outcome, timeout=10.0):
        """The first call with this text once it ended in this way."""
        deadline = time.monotonic() + timeout
        while not (found := self.calls(contains)) or found[0]["outcome"] != outcome:
            assert time.monotonic() < deadline, f"never {outcome}: {found}"
            time.sleep(0.02)
        return found[0]
