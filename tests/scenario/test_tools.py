"""Tools of graphs: what HTTP tools may call, and that gateway and worker agree about it."""

import http.server
import json
import threading
import time
import uuid

import pytest

TOOL = {"type": "http", "url": "http://127.0.0.1:{port}/cities/{{city}}",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                       "required": ["city"]},
        "headers": {"X-Token": {"env": "WEATHER_API_KEY"}}}


def graph(port, **tool):
    tool = {**TOOL, "url": TOOL["url"].format(port=port), **tool}
    return {"state": {"prompt": {}, "answer": {}}, "tools": {"weather": tool},
            "nodes": {"look": {"type": "tool", "tool": "weather", "arguments": "{city: .prompt}",
                               "write": {"answer": "$result.sky"}}},
            "edges": [{"from": "__start__", "to": "look"}, {"from": "look", "to": "__end__"}]}


class Weather(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, self.headers["X-Token"]))
        body = json.dumps({"sky": "clear"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def weather():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Weather)
    server.seen = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def allow(server):
    return {"AIPLAT_TOOL_HOSTS": f"127.0.0.1:{server.server_port}",
            "AIPLAT_TOOL_PRIVATE_ADDRESSES": "true", "WEATHER_API_KEY": "key-of-the-weather"}


@pytest.fixture(params=["dev", "served"])
def open_site(request, weather):
    return request.getfixturevalue(request.param).start(**allow(weather))


def test_a_graph_calls_an_http_tool(open_site, weather):
    api = open_site.api
    answer = api.put("/v1/graphs/weather", {"document": graph(weather.server_port)})
    assert answer.status == 201, answer
    job = api.run("São Paulo", graph_name="weather")
    assert job["status"] == "COMPLETED" and job["result"] == "clear", job
    assert weather.seen == [("/cities/S%C3%A3o%20Paulo", "key-of-the-weather")]


def test_hosts_that_are_not_named_are_refused_when_a_graph_is_stored(dev):
    answer = dev.start().api.put("/v1/graphs/weather", {"document": graph(1)})
    assert answer.status == 422
    assert b"/tools/weather/url" in answer.body and b"AIPLAT_TOOL_HOSTS" in answer.body


def test_private_addresses_are_refused_when_a_tool_is_called(dev, weather):
    settings = {**allow(weather), "AIPLAT_TOOL_PRIVATE_ADDRESSES": "false"}
    api = dev.start(**settings).api
    document = {"document": graph(weather.server_port)}
    assert api.put("/v1/graphs/weather", document).status == 201
    job = api.run("Bern", graph_name="weather", max_attempts=1)
    assert job["status"] == "FAILED" and "private address" in json.dumps(job), job
    assert weather.seen == []


class Hanging(Weather):
    """Answers nothing, and notes when the caller has gone."""

    def do_GET(self):
        self.server.seen.append(time.monotonic())
        self.connection.settimeout(30)
        try:
            while self.connection.recv(1):
                pass
        except OSError:
            pass
        self.server.gone.append(time.monotonic())


@pytest.fixture
def hanging():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hanging)
    server.seen, server.gone = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["dev", "served"])
def test_a_cancel_ends_a_tools_call_and_leaves_a_readable_state(request, kind, hanging):
    api = request.getfixturevalue(kind).start(**allow(hanging)).api
    document = graph(hanging.server_port)
    document["state"]["log"] = {"type": "append"}
    document["nodes"]["note"] = {"type": "transform", "write": {"log": '"noted"'}}
    document["edges"][0] = {"from": "__start__", "to": "note"}
    document["edges"].append({"from": "note", "to": "look"})
    assert api.put("/v1/graphs/weather", {"document": document}).status == 201
    thread = str(uuid.uuid4())
    job_id = api.submit("Bern", graph_name="weather", thread_id=thread)
    deadline = time.monotonic() + 20
    while not hanging.seen and time.monotonic() < deadline:
        time.sleep(0.01)
    began = time.monotonic()
    assert api.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "CANCELLED"
    while not hanging.gone and time.monotonic() < began + 5:
        time.sleep(0.01)
    # some hundredths of a second on an idle machine
    assert hanging.gone and hanging.gone[0] - began < 3, (began, hanging.gone)
    state = api.get(f"/v1/threads/{thread}/state").json()
    assert state["values"]["log"] == ["noted"] and state["next"] == ["look"], state
    assert api.get(f"/v1/threads/{thread}").json()["status"] == "idle"
