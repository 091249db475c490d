"""Graphs as data, on real parts: questions that outlive everything, workers that die at any step."""

import http.server
import threading
import time

import pytest
import sse

LEASE = {"AIPLAT_LEASE_MS": 1000, "AIPLAT_HEARTBEAT_MS": 300}
ALLOWED = {"AIPLAT_TOOL_HOSTS": "*", "AIPLAT_TOOL_PRIVATE_ADDRESSES": "true"}


class ToolServer:
    """An HTTP server on loopback that tells the weather and notes what it was asked."""

    def __init__(self):
        self.paths = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.paths.append(self.path)
                body = b'{"degrees": 21}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def tool_server():
    server = ToolServer()
    yield server
    server.close()


def put(api, name, graph):
    answer = api.put(f"/v1/graphs/{name}", {"document": graph})
    assert answer.status in (200, 201), answer
    return answer


def careful(url):
    """A model with a tool, a person who has to say yes, and a last word of the model."""
    return {
        "state": {"prompt": {}, "messages": {"type": "messages"}, "go": {}, "answer": {}},
        "tools": {"weather": {
            "type": "http", "description": "The weather of a city.", "url": url + "/{city}/now",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                           "required": ["city"]}}},
        "nodes": {
            "begin": {"type": "transform",
                      "write": {"messages": '{role: "user", content: .prompt}'}},
            "agent": {"type": "llm", "messages": "messages", "tools": ["weather"]},
            "tools": {"type": "tools", "messages": "messages", "tools": ["weather"]},
            "approve": {"type": "human", "question": '"May I say: " + .messages[-1].content',
                        "schema": {"type": "boolean"}, "write": {"go": "$answer"}},
            "say": {"type": "llm", "prompt": '"Say it: \\(.messages[-1].content)"',
                    "write": {"answer": "$answer"}},
            "keep": {"type": "transform", "write": {"answer": '"I may not say."'}},
        },
        "edges": [
            {"from": "__start__", "to": "begin"}, {"from": "begin", "to": "agent"},
            {"from": "agent", "when": [{"if": ".messages[-1].tool_calls", "to": "tools"}],
             "else": "approve"},
            {"from": "tools", "to": "agent"},
            {"from": "approve", "when": [{"if": ".go", "to": "say"}], "else": "keep"},
            {"from": "say", "to": "__end__"}, {"from": "keep", "to": "__end__"},
        ],
    }


CALLS = {"times": 1, "tool_calls": [{"name": "weather", "arguments": {"city": "Rome"}},
                                    {"name": "weather", "arguments": {"city": "Oslo"}}]}


def test_a_graph_outlives_its_worker_and_a_restart_of_everything(served, model_server, tool_server):
    """Posted as JSON, streamed, killed in mid-step, asked over a restart of all programs, ended."""
    settings = {**LEASE, **ALLOWED}
    gateway, doomed = served.gateway(**settings), served.worker(**settings)
    put(served.api, "careful", careful(tool_server.url))
    model_server.rules(CALLS, {"times": 1, "hang": True}, {"times": 1, "text": "21 in both"},
                       {"text": "It is 21 in Rome and in Oslo."})
    events = []
    job_id = served.api.submit("How warm is it?", graph_name="careful", stream=True)
    follower = threading.Thread(
        target=lambda: events.extend(sse.follow(served.api, job_id)))
    follower.start()
    model_server.wait_calls(2)  # the tools have answered, the model is asked again, and hangs
    assert sorted(tool_server.paths) == ["/Oslo/now", "/Rome/now"]
    doomed.kill9()
    survivor = served.worker(**settings)
    job = served.api.wait_status(job_id, "INTERRUPTED", timeout=30)
    assert job["questions"][0]["value"]["question"] == "May I say: 21 in both"
    assert len(tool_server.paths) == 2, "what had finished ran again"
    for program in (gateway, survivor):
        program.kill9()
    follower.join(30)
    gateway = served.gateway(**settings)
    served.worker(**settings)
    refused = gateway.api.post(f"/v1/jobs/{job_id}/resume", {"value": "perhaps"})
    assert refused.status == 422, refused
    assert gateway.api.post(f"/v1/jobs/{job_id}/resume", {"value": True}).status == 200
    assert gateway.api.post(f"/v1/jobs/{job_id}/resume", {"value": True}).status == 409
    job = gateway.api.wait(job_id)
    assert job["result"] == "It is 21 in Rome and in Oslo."
    assert len(model_server.calls()) == 4 and len(tool_server.paths) == 2
    whole = sse.follow(gateway.api, job_id)
    kinds = [event.type for event in whole]
    assert kinds[-1] == "end" and "step_started" in kinds
    nodes = [node for event in whole if event.type == "step_started" for node in event.data["nodes"]]
    assert nodes[:3] == ["begin", "agent", "tools"] and nodes[-1] == "say"


TURNS, TEXT = 500, "What a person, or a model, says in one turn of a conversation. " * 6
TALK = {
    "state": {"text": {}, "turns": {"type": "add"}, "messages": {"type": "messages"}},
    "nodes": {"turn": {"type": "transform", "write": {
        "turns": "1", "messages": '{role: (if .turns % 2 == 0 then "user" else "assistant" end),'
                                  ' content: "\\(.turns) \\(.text)"}'}}},
    "edges": [{"from": "__start__", "to": "turn"},
              {"from": "turn", "when": [{"if": f".turns < {TURNS}", "to": "turn"}],
               "else": "__end__"}],
    "result": ".messages | length | tostring",
}


def test_what_is_kept_of_a_conversation_grows_with_its_text(served):
    """500 turns: each step keeps what it has added, so that all of them take less than twice the text."""
    served.start()
    put(served.api, "talk", TALK)
    job = served.api.wait(served.api.submit("", graph_name="talk", input={"text": TEXT}))
    assert job["result"] == str(TURNS)
    half, whole = (int(served.sql(
        f"SELECT sum(octet_length(place) + octet_length(changes)) FROM checkpoints WHERE step <= {steps}"
    )[0][0]) for steps in (TURNS // 2, TURNS))
    said = TURNS * (len(TEXT) + 4)
    assert said < whole < 2 * said, (said, whole)
    assert whole < 2.1 * half, "it grows faster than what is said"


SHIPPED = {
    "approve": {"prompt": "An ode"},
    "map-reduce-summary": {"input": {"texts": [f"text {i}" for i in range(3)]}},
    "moderated-assistant": {"prompt": "Why?"},
    "plan-and-execute": {"prompt": "Find out"},
    "react-agent": {"prompt": "Why?"},
}


def test_a_node_makes_a_request(dev, tool_server):
    dev.start(**ALLOWED)
    node = {"type": "http", "url": tool_server.url + "/{city}/now", "arguments": "{city, units: \"C\"}",
            "write": {"weather": "$result.degrees"}}
    graph = {"state": {"city": {}, "weather": {}}, "nodes": {"ask": node}, "result": ".weather",
             "edges": [{"from": "__start__", "to": "ask"}, {"from": "ask", "to": "__end__"}]}
    put(dev.api, "weather", graph)
    job = dev.api.run("", graph_name="weather", input={"city": "Rome & Oslo"})
    assert job["result"] == "21" and tool_server.paths == ["/Rome%20%26%20Oslo/now?units=C"]
    node["url"] = "file:///etc/passwd"
    refused = dev.api.put("/v1/graphs/weather", {"document": graph})
    assert refused.status == 422 and refused.json()["detail"].startswith("document/nodes/ask/url: ")


@pytest.mark.parametrize("graph", SHIPPED)
def test_a_shipped_graph_survives_a_kill_at_every_model_call(served, graph):
    """The simulated provider answers after a while; the worker is killed in the middle of each call."""
    served.gateway(**LEASE)
    answer = served.api.post("/v1/llm-configs", {"name": "slow", "provider": "simulated",
                                             "model_name": "simulated,echo,latency=700"})
    assert answer.status == 201, answer
    worker = served.worker(**LEASE)
    job_id = served.api.submit(config_name="slow", graph_name=graph, max_attempts=10,
                               **{"prompt": "", **SHIPPED[graph]})
    kills = 0  # three at most: those that follow find nothing new
    while kills < 3:
        time.sleep(0.35 + kills * 0.7)  # into the middle of a call
        status = served.api.job(job_id)["status"]
        if status == "INTERRUPTED":
            resumed = served.api.post(f"/v1/jobs/{job_id}/resume", {"value": {"approved": True}})
            assert resumed.status == 200, resumed
        elif status == "COMPLETED":
            break
        worker.kill9()
        worker = served.worker(**LEASE)
        kills += 1
    job = finish(served.api, job_id)
    assert job["status"] == "COMPLETED" and job["result"], job
    assert kills > 0


def finish(api, job_id):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = api.job(job_id)
        if job["status"] == "INTERRUPTED":
            api.post(f"/v1/jobs/{job_id}/resume", {"value": {"approved": True}})
        elif job["status"] in ("COMPLETED", "FAILED", "CANCELLED"):
            return job
        time.sleep(0.1)
    raise AssertionError(f"did not end: {job}")


def test_a_node_that_is_kept_asks_once(site, model_server):
    think = {"type": "llm", "prompt": ".prompt", "write": {"answer": "$answer"},
             "cache": {"ttl_s": 600, "key": ".topic"}}
    put(site.api, "kept", {
        "state": {"prompt": {}, "topic": {}, "answer": {}}, "nodes": {"think": think},
        "edges": [{"from": "__start__", "to": "think"}, {"from": "think", "to": "__end__"}]})
    model_server.rules({"text": "first", "times": 1}, {"text": "second", "times": 1},
                       {"text": "third", "times": 1}, {"text": "fourth"})

    def ask(topic, **fields):
        job = site.api.wait(site.api.submit("Why?", graph_name="kept", input={"topic": topic}, **fields))
        assert job["status"] == "COMPLETED", job
        return job

    first, again = ask("sky"), ask("sky")
    assert first["result"] == again["result"] == "first"
    assert first["usage"]["output_tokens"] > 0 and not (again["usage"] or {}).get("output_tokens")
    assert ask("sea")["result"] == "second" and len(model_server.calls()) == 2
    # what the node reads beside the state counts, and so does any change of the catalog
    assert ask("sky", variables={"mood": "grim"})["result"] == "third"
    put(site.api, "other", TALK)
    assert ask("sky")["result"] == "fourth"
