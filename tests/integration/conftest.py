"""pytest reads this by itself: where the shared test code is, and servers that go when we go."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import servers  # noqa: E402


def pytest_configure(config):
    servers.exit_on_signals()
