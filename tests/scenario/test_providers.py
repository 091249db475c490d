"""The OpenAI and Anthropic adapters against our model server, good and bad answers."""

import hashlib
import time

import pytest

PROTOCOLS = [("openai", "default-smart"), ("anthropic", "claude-sonnet")]
both = pytest.mark.parametrize("protocol, config", PROTOCOLS)


@pytest.fixture
def jobs(dev):
    """These tests are about the provider; the store does not matter."""
    return dev.start().api


@both
def test_a_call_is_what_the_provider_expects(jobs, dev, model_server, protocol, config):
    job = jobs.run("Hello", config_name=config)
    assert job["status"] == "COMPLETED"
    (call,) = model_server.calls()
    assert call["protocol"] == protocol and call["status"] == 200
    assert call["user"] == "Hello" and call["system"]
    assert call["body"]["temperature"] == 0.7 and call["body"]["max_tokens"] == 4096
    assert job["provider"] == protocol and job["model_name"] == call["model"]


@both
def test_the_key_is_the_one_the_configuration_names(jobs, model_server, protocol, config, dev):
    jobs.run("Hello", config_name=config)
    headers = model_server.calls()[0]["headers"]
    if protocol == "openai":
        seen, sent = headers["authorization"], f"Bearer {dev.keys['OPENAI_API_KEY']}"
    else:
        seen, sent = headers["x-api-key"], dev.keys["ANTHROPIC_API_KEY"]
    assert seen["sha256"] == hashlib.sha256(sent.encode()).hexdigest()


@both
def test_tokens_are_those_the_provider_counted(jobs, dev, model_server, protocol, config):
    model_server.rules({"text": "four", "tokens": 321})
    job = jobs.run("x" * 400, config_name=config)
    call = model_server.calls()[0]
    prompt_tokens = -(-len((call["system"] + call["user"]).encode()) // 4)
    assert dev.sql("SELECT input_tokens, output_tokens FROM jobs") == [[str(prompt_tokens), "321"]]
    assert job["result"] == "four"


@both
def test_429_is_tried_again_no_sooner_than_asked(jobs, model_server, protocol, config):
    model_server.rules({"times": 1, "status": 429, "headers": {"Retry-After": "1"}}, {})
    assert jobs.run("hurry", config_name=config)["status"] == "COMPLETED"
    first, second = model_server.calls()
    assert (first["status"], second["status"]) == (429, 200)
    assert 0.95 < second["time"] - first["ended"] < 6


@both
@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 529])
def test_passing_troubles_are_tried_again(jobs, model_server, protocol, config, status):
    model_server.rules({"times": 1, "status": status}, {})
    assert jobs.run("again", config_name=config)["status"] == "COMPLETED"
    assert [call["status"] for call in model_server.calls()] == [status, 200]


@both
@pytest.mark.parametrize("how", [{"disconnect": "before"}, {"disconnect": "mid"}])
def test_broken_connections_are_tried_again(jobs, model_server, protocol, config, how):
    model_server.rules({"times": 1, **how}, {})
    assert jobs.run("again", config_name=config)["status"] == "COMPLETED"
    assert len(model_server.calls()) == 2


@both
@pytest.mark.parametrize("status, kind", [
    (400, "caller_invalid_request"), (401, "caller_authentication"), (403, "caller_permission"),
    (404, "caller_not_found"), (413, "caller_too_large")])
def test_hopeless_refusals_fail_at_once_and_say_whose_fault(jobs, model_server, protocol, config,
                                                           status, kind):
    model_server.rules({"status": status})
    job = jobs.run("hopeless", config_name=config)
    assert job["status"] == "FAILED" and job["error_code"] == kind and job["error"]
    assert len(model_server.calls()) == 1


def test_a_used_up_quota_is_a_429_that_is_not_tried_again(jobs, model_server):
    model_server.rules({"status": 429, "error": {"code": "insufficient_quota",
                                                 "type": "insufficient_quota"}})
    job = jobs.run("broke")
    assert job["status"] == "FAILED" and job["error_code"] == "caller_quota"
    assert len(model_server.calls()) == 1


@both
@pytest.mark.parametrize("answer", [
    {"malformed": True}, {"html": True}, {"empty": True}, {"no_choices": True}, {"body": ""},
    {"body": "[]"}, {"body": "null"}, {"body": "{\"choices\": 7}"},
    {"body": "{\"choices\": [{}], \"content\": [{}]}"}])
def test_answers_that_are_none_fail_the_attempt(jobs, model_server, protocol, config, answer):
    model_server.rules(answer)
    job = jobs.run("what?", config_name=config, max_attempts=1)
    assert job["status"] == "FAILED" and job["error_code"] == "provider_bad_answer"


@both
def test_an_answer_in_drips_is_an_answer(jobs, model_server, protocol, config):
    model_server.rules({"drip_ms": 20, "text": "slowly but surely"})
    assert jobs.run("slow", config_name=config)["result"] == "slowly but surely"


@both
def test_usage_may_be_missing(jobs, model_server, protocol, config):
    model_server.rules({"no_usage": True, "text": "fine"})
    assert jobs.run("free", config_name=config)["result"] == "fine"


def test_a_silent_provider_runs_into_the_configured_timeout(jobs, dev, model_server):
    model_server.rules({"hang": True})
    dev.sql("UPDATE llm_configs SET timeout_seconds = 1 WHERE name = 'default-smart'")
    time.sleep(0.6)
    job = jobs.run("silence", max_attempts=1)
    assert job["status"] == "FAILED" and job["error_code"] == "provider_timeout"


def test_a_missing_key_fails_with_its_name(dev, model_server):
    dev.start(OPENAI_API_KEY=None, AIPLAT_SIMULATE_MISSING_KEYS="false")
    job = dev.api.run("locked out", max_attempts=1)
    assert job["status"] == "FAILED" and job["error_code"] == "caller_authentication"
    assert "OPENAI_API_KEY" in job["error"] and not model_server.calls()


def test_without_a_key_the_simulated_provider_answers_and_says_so(dev, model_server):
    dev.start(OPENAI_API_KEY=None)
    job = dev.api.run("anybody there?")
    assert job["status"] == "COMPLETED" and job["result"].startswith("[simulated]")
    assert not model_server.calls()


def test_base_url_makes_local_servers_work_without_a_key(jobs, dev, model_server):
    config = {"name": "local", "provider": "openai", "model_name": "llama3", "api_key_env": "",
              "base_url": f"{model_server.url}/v1"}
    assert jobs.post("/v1/llm-configs", config).status == 201
    jobs.run("hi", config_name="local", max_attempts=1)
    (call,) = model_server.calls()
    assert call["model"] == "llama3" and "authorization" not in call["headers"]


def test_a_provider_that_cannot_be_reached_is_its_fault(jobs):
    config = {"name": "nobody", "provider": "openai", "model_name": "m",
              "api_key_env": "OPENAI_API_KEY", "base_url": "http://127.0.0.1:1/v1"}
    assert jobs.post("/v1/llm-configs", config).status == 201
    job = jobs.run("hello?", config_name="nobody", max_attempts=1)
    assert job["status"] == "FAILED" and job["error_code"] == "provider_unreachable"


def test_reasoning_models_get_their_own_parameter(jobs, dev, model_server):
    dev.sql("UPDATE llm_configs SET model_name = 'o3-mini' WHERE name = 'default-smart'")
    time.sleep(0.6)
    assert jobs.run("think")["status"] == "COMPLETED"
    body = model_server.calls()[0]["body"]
    assert body["max_completion_tokens"] == 4096 and "max_tokens" not in body


@both
def test_a_thousand_calls_are_in_flight_at_once(dev, model_server, protocol, config):
    dev.start(AIPLAT_CONCURRENCY=1000)
    model_server.rules({"latency_ms": 3000})
    ids = [dev.api.submit(f"job {number}", config_name=config) for number in range(1000)]
    assert {dev.api.wait(job_id)["status"] for job_id in ids} == {"COMPLETED"}
    assert len(model_server.calls()) == 1000
    assert model_server.get("/control/log?count=1").json()["most_open"] > 250
