"""Random small graphs come to the same in our engine and in LangGraph.js (tests/differential/run)."""

import pathlib
import subprocess
import sys

import pytest

RUN = pathlib.Path(__file__).resolve().parents[1] / "differential" / "run"


@pytest.mark.network
def test_random_graphs_come_to_the_same_in_langgraph():
    done = subprocess.run([sys.executable, RUN, "--seed", "1", "--graphs", "300"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280, check=False)
    assert done.returncode == 0, done.stdout
