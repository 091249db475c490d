"""schemathesis, a tester nobody here wrote, reads /openapi.yaml and tries to break the server."""

import subprocess
import sys
import venv

import programs
import pytest

pytestmark = pytest.mark.network
EXAMPLES = 25


@pytest.fixture(scope="session")
def schemathesis():
    """The command, installed from PyPI into the build folder."""
    folder = programs.build_folder() / "schemathesis"
    command = folder / "bin" / "schemathesis"
    if not command.exists():
        venv.create(folder, with_pip=True, clear=True)
        requirements = programs.REPOSITORY / "tests" / "support" / "schemathesis.txt"
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", "-r",
                        requirements], check=True, stdout=sys.stderr)
    return command


def test_the_server_keeps_to_its_own_contract(dev, schemathesis):
    dev.start(LOG_LEVEL="info")
    done = subprocess.run(
        [schemathesis, "run", f"{dev.api.url}/openapi.yaml", "--url", dev.api.url,
         # What JSON Schema cannot say is refused too: NUL in a text, the name of another in PUT.
         "--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-examples", str(EXAMPLES), "--phases",
         "examples,coverage,fuzzing,stateful", "--request-timeout", "10", "--seed", "1",
         "--suppress-health-check", "all"],
        capture_output=True, text=True, cwd=dev.folder, check=False)
    assert dev.programs[0].is_running(), "the server died"
    assert done.returncode == 0, done.stdout[-20000:]
