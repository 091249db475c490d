"""MCP servers: their tools in graphs, over pipes and over HTTP.  The first tests use a server of ours
(../support/mcp_server.py); those marked "network" one that nobody here wrote, from npm."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import time

import pytest
import servers as support

SUPPORT = pathlib.Path(support.__file__).parent
OURS = {"command": ["/usr/bin/python3", str(SUPPORT / "mcp_server.py")]}


def graph(tool, **extra):
    return {"state": {"prompt": {}, "arguments": {}, "answer": {}},
            "nodes": {"use": {"type": "tool", "tool": tool, "arguments": ".arguments",
                              "write": {"answer": "$result"}, **extra}},
            "edges": [{"from": "__start__", "to": "use"}, {"from": "use", "to": "__end__"}],
            "result": ".answer"}


def settings(folder, **named):
    path = pathlib.Path(folder) / "mcp.json"
    path.write_text(json.dumps({"servers": named}))
    return {"AIPLAT_MCP_SERVERS": str(path)}


def use(api, tool, arguments, **fields):
    """Stores a graph around one tool, and runs a job of it."""
    name = tool.replace("_", "-")
    answer = api.put(f"/v1/graphs/{name}", {"document": graph(tool)})
    assert answer.status in (200, 201), answer
    body = {"prompt": "-", "graph_name": name, "input": {"arguments": arguments}, "max_attempts": 1, **fields}
    answer = api.post("/v1/jobs", body)
    assert answer.status == 201, answer
    return answer.json()["job_id"]


def result(api, tool, arguments):
    job = api.wait(use(api, tool, arguments))
    assert job["status"] == "COMPLETED", job
    return job["result"]


def processes(word):
    """Ids of processes that have the word in their command line."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / "cmdline").read_bytes() and \
                    b"Z" not in (folder / "stat").read_bytes().split(b")")[-1].split()[0]:
                found.append(int(folder.name))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("kind", ["dev", "served"])
def test_tools_of_a_child_process(request, folder, kind):
    mark = f"--mark-{os.getpid()}-{time.time()}"
    named = settings(folder, t={"command": OURS["command"] + [mark]})
    site = request.getfixturevalue(kind).start(**named)
    assert result(site.api, "t__echo", {"text": "through everything"}) == "through everything"
    assert json.loads(result(site.api, "t__sum_of-two", {"a": "2", "b": 3})) == {"sum": 5}
    failed = site.api.wait(use(site.api, "t__fail", {}))
    assert failed["status"] == "FAILED" and "it did not work" in json.dumps(failed)
    assert site.api.wait(use(site.api, "t__die", {}))["status"] == "FAILED"
    assert result(site.api, "t__echo", {"text": "again"}) == "again"
    assert len(processes(mark)) == 1


def test_a_worker_that_is_told_to_end_takes_its_servers_along(dev, folder):
    mark = f"--mark-{os.getpid()}-{time.time()}"
    site = dev.start(**settings(folder, t={"command": OURS["command"] + [mark]}))
    assert result(site.api, "t__echo", {"text": "x"}) == "x"
    assert processes(mark)
    site.stop()
    assert processes(mark) == []


def test_a_wrong_file_stops_the_start(dev, folder):
    path = pathlib.Path(folder) / "mcp.json"
    path.write_text('{"servers": {"a": {"command": []}}}')
    with pytest.raises(Exception):
        dev.start(AIPLAT_MCP_SERVERS=str(path))


# -- npm's @modelcontextprotocol/server-everything -----------------------------------------------


@pytest.fixture(scope="session")
def everything():
    """The command that starts it."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed (Debian: nodejs npm)")
    modules = support.Aimock.installed(SUPPORT / "mcp_everything")
    return ["node", str(modules / "@modelcontextprotocol/server-everything/dist/index.js")]


@pytest.fixture(params=["stdio", "http"])
def with_everything(request, dev, folder, everything):
    if request.param == "stdio":
        yield dev.start(**settings(folder, e={"command": everything + ["stdio"]}))
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(everything + ["streamableHttp"], stderr=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, env={**os.environ, "PORT": str(port)})
    try:
        # Not waited for: it is found when it is there.
        yield dev.start(**settings(folder, e={"url": f"http://127.0.0.1:{port}/mcp"}))
    finally:
        server.terminate()
        server.wait()


def come_up(api):
    """Its tools are there only when it has started, which takes Node.js a while."""
    for _ in range(40):
        job = api.wait(use(api, "e__echo", {"message": "hello"}))
        if job["status"] == "COMPLETED":
            return job["result"]
        time.sleep(0.5)
    raise AssertionError(job)


@pytest.mark.network
def test_everything(with_everything):
    api = with_everything.api
    assert come_up(api) == "Echo: hello"
    assert result(api, "e__get-sum", {"a": 2, "b": 40.5}) == "The sum of 2 and 40.5 is 42.5."
    weather = json.loads(result(api, "e__get-structured-content", {"location": "Chicago"}))
    assert weather["temperature"] > 0 and weather["conditions"]
    image = json.loads(result(api, "e__get-tiny-image", {}))
    assert "image" in [block["type"] for block in image]
    links = json.loads(result(api, "e__get-resource-links", {"count": 2}))
    assert len([block for block in links if block["type"] == "resource_link"]) == 2
    wrong = api.wait(use(api, "e__get-sum", {"a": "two"}))
    assert wrong["status"] == "FAILED" and "arguments" in json.dumps(wrong), wrong
    long = result(api, "e__trigger-long-running-operation", {"duration": 1, "steps": 3})
    assert long == "Long running operation completed. Duration: 1 seconds, Steps: 3."


@pytest.mark.network
def test_everything_can_be_cancelled(with_everything):
    api = with_everything.api
    come_up(api)
    job_id = use(api, "e__trigger-long-running-operation", {"duration": 60, "steps": 60})
    time.sleep(0.5)
    began = time.time()
    assert api.post(f"/v1/jobs/{job_id}/cancel").status < 300
    assert api.wait(job_id)["status"] == "CANCELLED"
    assert time.time() - began < 2
    assert result(api, "e__echo", {"message": "x"}) == "Echo: x"
