"""Gateway and worker start fast and are small while they have nothing to do."""

import os
import time

import pytest

# A sanitizer's shadow memory and valgrind's translation are not the product's.
pytestmark = pytest.mark.skipif(
    bool(os.environ.get("AIPLAT_TEST_WRAPPER") or os.environ.get("AIPLAT_TEST_SANITIZED")),
    reason="measures the product, not its instruments")


def test_the_gateway_starts_with_little_work(served):
    """Processor time, for other tests run beside this one; bench/run footprint has the seconds."""
    served.gateway().term()  # applies the migrations
    works = []
    for _ in range(5):
        gateway = served.gateway()
        while served.api.get("/ready").status != 200:
            time.sleep(0.001)
        works.append(gateway.processor_seconds())
        gateway.term()
        gateway.wait(5)
    assert sorted(works)[2] < 0.1, works


def test_the_worker_starts_with_little_work(served, model_server):
    """From exec to the model call of a job that was waiting."""
    served.gateway()
    works = []
    for number in range(5):
        served.api.submit(f"waiting {number}")
        time.sleep(0.3)
        worker = served.worker()
        model_server.wait_calls(1, f"waiting {number}")
        works.append(worker.processor_seconds())
        worker.term()
        worker.wait(5)
    assert sorted(works)[2] < 0.1, works


def test_idle_programs_are_small_and_quiet(served):
    served.start(LOG_LEVEL="info")
    served.api.run("warm up")
    time.sleep(1)
    before = {program.name: program.processor_seconds() for program in served.programs}
    time.sleep(5)
    for program in served.programs:
        assert program.resident_bytes() < 20 * 2**20, program.name
        assert program.processor_seconds() - before[program.name] < 0.15, program.name
