"""aiplatctl as an operator types it."""

import json
import pathlib
import subprocess
import threading
import time
import uuid

import programs
import pytest


def test_run_answers_a_prompt_and_exits(dev, model_server):
    model_server.rules({"text": "Bits in a quiet row"})
    done = dev.ctl("run", "Write a haiku")
    assert done.returncode == 0 and "Bits in a quiet row" in done.stdout


def test_run_without_a_key_says_that_it_is_simulated(dev):
    done = dev.ctl("run", "hello", OPENAI_API_KEY=None, ANTHROPIC_API_KEY=None)
    assert done.returncode == 0 and "simulated" in (done.stdout + done.stderr).lower()


def test_run_that_fails_exits_otherwise(dev, model_server):
    model_server.rules({"status": 401})
    done = dev.ctl("run", "hello")
    assert done.returncode not in (0, -6, -11)
    assert "401" in done.stderr and not done.stdout


def test_run_without_standard_streams(dev):
    """Nothing opened later may take their numbers: the log would be written into the database."""
    settings = {**dev.settings, "OPENAI_API_KEY": None, "ANTHROPIC_API_KEY": None}
    done = subprocess.run(
        ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", programs.binary("aiplatctl"), "run", "hello"],
        cwd=dev.folder, env=programs.environment(settings, dev.folder), timeout=30, check=False)
    assert done.returncode == 0
    assert dev.sql("PRAGMA integrity_check") == [["ok"]]
    assert dev.sql("SELECT status FROM jobs") == [["COMPLETED"]]


def test_a_job_from_submit_to_status(site):
    submitted = site.ctl("submit", "What is C?", "--json")
    assert submitted.returncode == 0, submitted.stderr
    job_id = json.loads(submitted.stdout)["job_id"]
    waited = site.ctl("wait", job_id, "--json")
    assert waited.returncode == 0 and json.loads(waited.stdout)["status"] == "COMPLETED"
    status = json.loads(site.ctl("status", job_id, "--json").stdout)
    assert status["result"].endswith("What is C?") and site.api.job(job_id) == status
    assert job_id in site.ctl("list").stdout


def test_the_prompt_can_come_from_stdin(site, model_server):
    submitted = site.ctl("submit", "-", "--json", stdin="line one\nline two\n")
    job = site.api.wait(json.loads(submitted.stdout)["job_id"])
    assert job["prompt"].rstrip("\n") == "line one\nline two"


def test_cancel(site, model_server):
    model_server.rules({"hang": True})
    job_id = site.api.submit("stop me")
    model_server.wait_calls(1)
    assert site.ctl("cancel", job_id).returncode == 0
    assert site.api.wait(job_id)["status"] == "CANCELLED"
    assert site.ctl("wait", job_id).returncode != 0


def test_an_unknown_job_is_an_error(site):
    done = site.ctl("status", "550e8400-e29b-41d4-a716-446655440000")
    assert done.returncode not in (0, -6, -11) and done.stderr and not done.stdout


def test_configurations(site, model_server):
    assert "default-smart" in site.ctl("config", "list").stdout
    done = site.ctl("config", "set", "mine", "--provider", "openai", "--model", "gpt-mine",
                    "--api-key-env", "OPENAI_API_KEY", "--temperature", "0.1")
    assert done.returncode == 0, done.stderr
    shown = json.loads(site.ctl("config", "show", "mine", "--json").stdout)
    assert (shown["model_name"], shown["temperature"]) == ("gpt-mine", 0.1)
    time.sleep(0.6)
    site.api.run("x", config_name="mine")
    assert model_server.calls()[0]["model"] == "gpt-mine"
    assert site.ctl("config", "delete", "mine").returncode == 0
    assert site.ctl("config", "show", "mine").returncode != 0
    assert site.ctl("config", "set", "bad", "--provider", "openai", "--model", "m",
                    "--temperature", "9").returncode != 0


def test_templates(site, model_server):
    done = site.ctl("template", "set", "curt", "--content", "Be curt.")
    assert done.returncode == 0, done.stderr
    assert "curt" in site.ctl("template", "list").stdout
    assert "Be curt." in site.ctl("template", "show", "curt").stdout
    assert site.ctl("template", "delete", "curt").returncode == 0


GRAPH = {"description": "Says no.", "nodes": {"end": {"type": "fail", "message": "\"no\""}},
         "edges": [{"from": "__start__", "to": "end"}, {"from": "end", "to": "__end__"}]}


def test_graphs(site):
    file = pathlib.Path(site.folder) / "graph.json"
    file.write_text(json.dumps(GRAPH), encoding="utf-8")
    assert site.ctl("graph", "check", str(file)).returncode == 0
    assert site.ctl("graph", "check", "--offline", str(file)).returncode == 0
    done = site.ctl("graph", "put", "mine", str(file))
    assert done.returncode == 0 and done.stdout == "mine: version 1\n", done.stderr
    got = site.ctl("graph", "get", "mine")
    assert got.returncode == 0 and json.loads(got.stdout) == GRAPH
    assert len(got.stdout.splitlines()) == 5
    changed = {**GRAPH, "description": "Says no, kindly."}
    done = site.ctl("graph", "put", "mine", "-", stdin=json.dumps(changed))
    assert done.returncode == 0 and "version 2" in done.stdout, done.stderr
    listed = site.ctl("graph", "ls")
    assert "mine" in listed.stdout and "Says no, kindly." in listed.stdout
    whole = json.loads(site.ctl("graph", "get", "mine", "--json").stdout)
    assert whole["version"] == 2 and whole["document"] == changed
    assert site.ctl("graph", "rm", "mine").returncode == 0
    assert site.ctl("graph", "get", "mine").returncode == 66
    assert site.ctl("graph", "rm", "mine").returncode == 66


@pytest.mark.parametrize("text, told", [
    ("{", "line 1"), ("[]", "document"), (json.dumps({**GRAPH, "nodes": 7}), "/nodes: ")])
def test_wrong_graphs_are_refused(site, text, told):
    for words in (["check", "-"], ["check", "--offline", "-"], ["put", "mine", "-"]):
        done = site.ctl("graph", *words, stdin=text)
        assert done.returncode == 64 and told in done.stderr, (words, done.stderr)
    assert site.ctl("graph", "get", "mine").returncode == 66


def test_health(site):
    assert site.ctl("health").returncode == 0


def test_health_of_a_site_without_a_database(served):
    served.start()
    served.postgres.kill9()
    assert served.ctl("health").returncode != 0


@pytest.mark.parametrize("command", [
    [], ["submit"], ["status"], ["wait"], ["list"], ["cancel"], ["run"], ["dev"], ["migrate"],
    ["config"], ["template"], ["graph"], ["graph", "put"], ["health"], ["completion"]])
def test_help(dev, command):
    done = dev.ctl(*command, "--help")
    assert done.returncode == 0 and not done.stderr
    assert "usage" in done.stdout.lower() or " ".join(command) in done.stdout


@pytest.mark.parametrize("arguments", [["explode"], ["list", "--explode"], ["status"], ["run"],
                                       ["config", "explode"], ["submit", ""]])
def test_wrong_usage_is_told_on_stderr(dev, arguments):
    done = dev.ctl(*arguments)
    assert done.returncode not in (0, -6, -11) and done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(dev, shell):
    done = dev.ctl("completion", shell)
    assert done.returncode == 0 and "submit" in done.stdout and "template" in done.stdout


def test_threads(site):
    thread = str(uuid.uuid4())
    written = site.ctl("thread", "update", thread, '{"prompt": "hi"}', "--graph", "react-agent",
                       "--as-node", "begin")
    assert written.returncode == 0 and written.stdout == "checkpoint 1\n", written
    assert thread in site.ctl("thread", "list").stdout
    shown = site.ctl("thread", "show", thread)
    assert shown.returncode == 0 and "idle" in shown.stdout, shown
    state = site.ctl("thread", "state", thread)
    assert json.loads(state.stdout)["prompt"] == "hi", state
    whole = json.loads(site.ctl("thread", "state", thread, "--checkpoint", "1", "--json").stdout)
    assert whole["next"] == ["agent"] and whole["source"] == "update", whole
    history = json.loads(site.ctl("thread", "history", thread, "--json").stdout)
    assert [entry["checkpoint"] for entry in history["checkpoints"]] == [1]
    assert site.ctl("thread", "state", thread, "--checkpoint", "2").returncode == 66
    assert site.ctl("thread", "update", thread, "{").returncode == 64
    assert site.ctl("thread", "update", thread, "{}", "--checkpoint", "x").returncode == 64
    assert site.ctl("thread", "show", str(uuid.uuid4())).returncode == 66


def test_drawing_a_graph(site, tmp_path):
    mermaid = site.ctl("graph", "draw", "react-agent")
    assert mermaid.returncode == 0 and mermaid.stdout.startswith("flowchart TD"), mermaid
    assert "agent<br/>llm" in mermaid.stdout
    document = json.loads(site.ctl("graph", "get", "react-agent").stdout)
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(document))
    dot = site.ctl("graph", "draw", "--file", str(file), "--format", "graphviz")
    assert dot.returncode == 0 and dot.stdout.startswith("digraph"), dot
    assert site.ctl("graph", "draw", "react-agent", "--json").stdout.count("flowchart") == 1
    assert site.ctl("graph", "draw", "nobody").returncode == 66
    assert site.ctl("graph", "draw").returncode == 64
    assert site.ctl("graph", "draw", "a", "--format", "png").returncode == 64


def test_watch_shows_what_is_asked(site):
    job_id = site.ctl("submit", "--graph", "approve", "Late parcel").stdout.strip()
    site.api.wait_status(job_id, "INTERRUPTED")
    answer = threading.Timer(0.5, site.ctl, ("resume", job_id, "--value", '{"approved": true}'))
    answer.start()
    watched = site.ctl("watch", job_id)
    answer.join()
    assert watched.returncode == 0, watched
    assert "approve it, or send it back" in watched.stderr, watched
    assert f"aiplatctl resume {job_id}" in watched.stderr
