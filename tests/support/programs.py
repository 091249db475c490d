"""Runs the built programs as an operator would: as processes with settings in the environment.

Called by the scenario tests.  It must never reach into a program by any other way than its
command line, its environment, its signals and its output.
"""

import os
import pathlib
import shlex
import signal
import subprocess
import time

import servers

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARIES = {"aiplat-gateway": "bin/gateway/aiplat-gateway",
            "aiplat-worker": "bin/worker/aiplat-worker", "aiplatctl": "bin/aiplatctl/aiplatctl"}
# What of our own environment the programs may see; everything else is told to them on purpose.
PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
             "LSAN_OPTIONS", "LLVM_PROFILE_FILE")


def build_folder():
    return pathlib.Path(os.environ.get("AIPLAT_BUILD_DIR", REPOSITORY / "build")).resolve()


def binary(name):
    return build_folder() / BINARIES[name]


def wrapper():
    """AIPLAT_TEST_WRAPPER, for instance "valgrind -q --error-exitcode=99", goes before each."""
    return shlex.split(os.environ.get("AIPLAT_TEST_WRAPPER", ""))


def environment(settings, home):
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env.update(HOME=str(home), TZ="America/St_Johns")  # a half-hour zone shows who forgot UTC
    env.update({name: str(value) for name, value in settings.items() if value is not None})
    return env


class Program:
    """One running program and its log (both output streams, one file)."""

    def __init__(self, name, arguments, settings, folder, label=None):
        self.name = label or name
        self.folder = pathlib.Path(folder)
        self.settings = dict(settings)
        self.command = [*wrapper(), str(binary(name)), *arguments]
        self.log_path = self.folder / f"{self.name}.log"
        self.process = None
        self.last_log = ""

    def start(self):
        self.started_at = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*servers.dies_with_us("KILL"), *self.command], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=self.folder,
                env=environment(self.settings, self.folder))
        return self

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, signum):
        self.process.send_signal(signum)

    def term(self):
        self.signal(signal.SIGTERM)

    def kill9(self):
        """Ends the program as a crash does, and waits until it is gone."""
        if self.is_running():
            self.signal(signal.SIGKILL)
        self.process.wait()

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def wait(self, timeout=15.0):
        """The exit code; an AssertionError if the program is still there after `timeout`."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout} s") from None

    def log(self):
        """What the program wrote; once its folder is gone, what it had written at the last call."""
        try:
            self.last_log = self.log_path.read_text(errors="replace")
        except OSError:
            pass
        return self.last_log

    def resident_bytes(self):
        status = pathlib.Path("/proc", str(self.pid), "status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def processor_seconds(self):
        stat = pathlib.Path("/proc", str(self.pid), "stat").read_text().rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def run(name, *arguments, settings=None, folder, stdin="", timeout=30.0):
    """Runs a program to its end; returns subprocess.CompletedProcess with text streams."""
    return subprocess.run([*wrapper(), str(binary(name)), *arguments], input=stdin,
                          capture_output=True, text=True, cwd=folder, timeout=timeout,
                          env=environment(settings or {}, folder), check=False)
