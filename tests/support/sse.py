"""Reads Server-Sent Events from a connection of its own, as an EventSource does, and no better.

Called by the scenario tests; knows the wire format of the HTML standard and nothing of jobs.
"""

import http.client
import json
import time


class Event:
    """One event: id (None when it has none), type, data as JSON, and when it came."""

    def __init__(self, fields, came):
        self.id = fields.get("id")
        self.type = fields.get("event", "message")
        self.data = json.loads(fields["data"])
        self.came = came

    def key(self):
        return (self.id, self.type, json.dumps(self.data, sort_keys=True))

    def __repr__(self):
        return f"<{self.id} {self.type} {self.data}>"


class Stream:
    """An open stream; iterate over its events.  `comments` and `retry` are what came beside them."""

    def __init__(self, api, job_id, last=None, query="", timeout=40.0):
        self.connection = http.client.HTTPConnection(*api.address, timeout=timeout)
        headers = {"Accept": "text/event-stream"}
        if last:
            headers["Last-Event-ID"] = last
        self.connection.request("GET", f"/v1/jobs/{job_id}/events{query}", headers=headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.comments = 0
        self.retry = []

    def __iter__(self):
        fields = {}
        try:
            while line := self.answer.readline().decode():
                line = line.rstrip("\n")
                name, _, value = line.partition(": ")
                if not line and "data" in fields:
                    yield Event(fields, time.monotonic())
                    fields = {}
                elif line.startswith(":"):
                    self.comments += 1
                elif name == "retry":
                    self.retry.append(int(value))
                elif line:
                    fields[name] = value
        except (http.client.IncompleteRead, ConnectionError):
            pass

    def close(self):
        self.connection.close()


def follow(api, job_id, **options):
    """All events until the stream ends."""
    stream = Stream(api, job_id, **options)
    assert stream.status == 200, stream.answer.read()
    try:
        return list(stream)
    finally:
        stream.close()
