"""Both adapters against aimock, a model server nobody here wrote."""

import threading

import api
import pytest

pytestmark = pytest.mark.network
HAIKU = "Code flows like water\nBugs hide in the logic streams\nDebug brings clarity"
both = pytest.mark.parametrize("config", ["default-smart", "claude-sonnet"])


@pytest.fixture
def jobs(dev, aimock):
    return dev.start(OPENAI_BASE_URL=f"{aimock.url()}/v1", ANTHROPIC_BASE_URL=aimock.url()).api


@pytest.fixture(autouse=True)
def fresh_counts(aimock):
    """The fixtures that answer badly the first time count from nought in each test."""
    aimock.restart()


@both
def test_an_answer(jobs, config):
    job = jobs.run("Write a haiku about programming", config_name=config)
    assert (job["status"], job["result"]) == ("COMPLETED", HAIKU)


@both
def test_429_with_retry_after(jobs, config):
    assert jobs.run("I asked too fast", config_name=config)["result"] == "Patience pays."


@both
def test_529_overloaded(jobs, config):
    job = jobs.run("I asked while overloaded", config_name=config)
    assert job["result"] == "The crowd has gone."


@both
def test_401(jobs, config):
    job = jobs.run("I asked without a key", config_name=config)
    assert job["status"] == "FAILED" and job["error_code"] == "caller_authentication"
    assert job["attempt"] == 1


@both
def test_no_answer_known(jobs, config):
    job = jobs.run("Something aimock was not told", config_name=config, max_attempts=1)
    assert job["status"] == "FAILED" and job["error_code"].startswith("provider_")


@both
@pytest.mark.parametrize("chaos", ["dropRate", "malformedRate", "disconnectRate", "rateLimitRate"])
def test_chaos_that_passes(jobs, aimock, config, chaos):
    control = api.Api(aimock.url())
    assert control.post("/__aimock/chaos", {chaos: 1}).status == 200
    calm = threading.Timer(1.0, control.delete, ["/__aimock/chaos"])
    calm.start()
    job = jobs.run("Write a haiku about programming", config_name=config, max_attempts=5,
                   retry_delay=0.5)
    calm.join()
    assert (job["status"], job["result"]) == ("COMPLETED", HAIKU)
