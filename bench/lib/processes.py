"""Processes of a benchmark: starting and ending them by id, and what they cost.

Used by the servers, our programs and the peers alike, so that all are counted the same way. CPU
time is read from /proc for whole trees; a process that ends between two readings is still counted
where its parent waited for it (cutime, cstime).
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import servers as support  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A benchmark whose figures cannot be trusted: lost jobs, errors, something that never came up."""


def cpu_seconds(pid):
    """User and system time of a process, of everything below it, and of ended children."""
    total = 0
    for one in support.process_tree(pid):
        try:
            stat = pathlib.Path("/proc", str(one), "stat").read_text()
        except OSError:
            continue
        fields = stat.rsplit(")", 1)[1].split()
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS


def memory_bytes(pid, field="VmRSS"):
    """VmRSS (now) or VmHWM (the peak so far) of one process."""
    for line in pathlib.Path("/proc", str(pid), "status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"process {pid} has ended")


class CpuClock:
    """CPU seconds by label between start() and stop(), of trees named by {label: pid}."""

    def __init__(self, pids):
        self.pids = dict(pids)
        self.before = {label: cpu_seconds(pid) for label, pid in self.pids.items()}

    def stop(self):
        return {label: round(cpu_seconds(pid) - self.before[label], 2)
                for label, pid in self.pids.items()}


class Process:
    """One child with its log. Ends with us, and by its id."""

    def __init__(self, command, *, env, folder, label):
        self.label = label
        self.log_path = pathlib.Path(folder) / f"{label}.log"
        self.began = time.monotonic()
        with open(self.log_path, "wb") as log:  # what it printed is this life's
            self.process = subprocess.Popen(
                [*support.dies_with_us("KILL"), *map(str, command)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=folder, env=env, start_new_session=True)
        self.pid = self.process.pid

    def log_tail(self, lines=30):
        text = self.log_path.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def is_running(self):
        return self.process.poll() is None

    def check(self):
        """A BenchError when it has ended of its own accord."""
        if not self.is_running():
            raise BenchError(f"{self.label} ended with {self.process.returncode}\n{self.log_tail()}")

    def wait_until(self, ready, timeout=60.0, pause=0.005):
        """Polls `ready` (an OSError counts as no) until it answers true."""
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            try:
                if ready():
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise BenchError(f"{self.label}: not ready within {timeout:.0f} s\n{self.log_tail()}")
            time.sleep(pause)

    def stop(self, timeout=30.0):
        """SIGTERM, and SIGKILL to what is left of the tree after `timeout`; returns the exit code."""
        if self.is_running():
            tree = support.process_tree(self.pid)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                pass
            for pid in tree:
                if not support.gone(pid):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
        return self.process.wait()
