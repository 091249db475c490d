"""Logs: JSON lines for machines, readable ones on a terminal, and a trace that can be followed."""

import json
import os
import pty
import secrets
import subprocess
import time

import programs
import pytest
import servers as server_kinds


def records(site):
    return [json.loads(line) for line in site.logs().splitlines()]


def test_every_line_is_json_with_the_same_members(site):
    site.api.run("hello")
    found = records(site)
    assert found
    for record in found:
        assert {"time", "level", "message"} <= record.keys(), record
        assert record["time"].endswith("Z") and record["level"] in (
            "debug", "info", "warning", "error")


def test_a_trace_goes_through_job_log_and_model_call(site, model_server):
    trace_id = secrets.token_hex(16)
    header = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    job_id = site.api.post("/v1/jobs", {"prompt": "traced"}, header).json()["job_id"]
    assert site.api.wait(job_id)["trace_id"] == trace_id
    assert trace_id in model_server.calls("traced")[0]["headers"]["traceparent"]
    about_it = [record for record in records(site) if record.get("job_id") == job_id]
    assert about_it and {record.get("trace_id") for record in about_it} == {trace_id}


def test_a_job_without_a_trace_gets_one(site):
    trace_id = site.api.run("not traced")["trace_id"]
    assert len(trace_id) == 32 and int(trace_id, 16)


@pytest.mark.parametrize("header", ["", "00-zz-zz-01", "x" * 5000, f"00-{'0' * 32}-{'0' * 16}-01"])
def test_a_broken_trace_header_harms_nobody(running_dev, header):
    answer = running_dev.api.post("/v1/jobs", {"prompt": "x"}, {"traceparent": header})
    assert answer.status in (201, 400)


def test_a_quiet_level_is_quiet(dev):
    dev.start(LOG_LEVEL="error")
    dev.api.run("hush")
    assert dev.logs() == ""


@pytest.mark.skipif(
    bool(os.environ.get("AIPLAT_TEST_WRAPPER") or os.environ.get("AIPLAT_TEST_SANITIZED")),
    reason="measures the product, not its instruments")
@pytest.mark.parametrize("server, how", [("postgres", "kill9"), ("postgres", "freeze"),
                                         ("rabbitmq", "kill9")])
def test_an_outage_is_said_and_not_repeated(request, served, model_server, server, how):
    """20 s without a server, with work under way and new requests: few lines, and no hot loop."""
    if how == "freeze" and not request.config.getoption("--full"):
        pytest.skip("one more minute: --full")
    model_server.rules({"latency_ms": 1000})
    served.start(LOG_LEVEL="info")
    served.let_queue_settle()
    for number in range(40):
        served.api.submit(f"under way {number}")
    model_server.wait_calls(40)
    getattr(getattr(served, server), how)()
    lines = {program: len(program.log().splitlines()) for program in served.programs}
    spent = {program: program.processor_seconds() for program in served.programs}
    until = time.monotonic() + 20
    while time.monotonic() < until:
        served.api.post("/v1/jobs", {"prompt": "x"})
        time.sleep(0.5)
    for program in served.programs:
        written = program.log().splitlines()[lines[program]:]
        written = [line for line in written if '"job_id"' not in line]  # a line a job
        text = program.name + "\n" + "\n".join(written)
        assert 0 < len(written) < 20, text
        assert program.processor_seconds() - spent[program] < 0.05 * 20, text


def test_a_terminal_gets_readable_lines(dev):
    """Under a pseudo-terminal the same program writes lines for people, and drains on Ctrl-C."""
    ours, theirs = pty.openpty()
    settings = {**dev.settings, "LOG_LEVEL": "info", "TERM": "xterm",
                "AIPLAT_LISTEN": f"127.0.0.1:{server_kinds.free_port()}"}
    process = subprocess.Popen([programs.binary("aiplatctl"), "dev"], stdin=theirs, stdout=theirs,
                               stderr=theirs, cwd=dev.folder, start_new_session=True,
                               env=programs.environment(settings, dev.folder))
    os.close(theirs)
    time.sleep(1)
    process.terminate()
    assert process.wait(10) == 0
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert text.strip() and not text.lstrip().startswith("{")
