"""The machine and the versions of everything that takes part, for the head of the report."""

import os
import pathlib
import platform
import re
import subprocess
import tempfile
import time

from . import wrk
from .processes import ROOT, support


def _first(command, pattern):
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(pattern, text.stdout + text.stderr)
    return found[1] if found else None


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return " ".join(line.split(":", 1)[1].split())
    return platform.machine()


def fdatasync_rate(seconds=1.0):
    """Writes of 8 kB a second that are on the disk, where the servers keep their data."""
    with tempfile.NamedTemporaryFile(prefix="aiplat-bench-sync-") as file:
        block, fd = os.urandom(8192), file.fileno()
        os.posix_fallocate(fd, 0, 64 * 2**20)
        os.fsync(fd)
        n, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            os.pwrite(fd, block, n % 8192 * 8192)
            os.fdatasync(fd)
            n += 1
        return n / (time.monotonic() - began)


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "memory_gb": round(memory, 1),
            "kernel": platform.release(), "fdatasync_per_s": round(fdatasync_rate())}


def commit():
    """The tree's commit, with a mark when files differ from it."""
    head = _first(["git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD"], r"([0-9a-f]+)")
    if not head:
        return "no repository"
    changed = subprocess.run(["git", "-C", str(ROOT), "status", "--porcelain", "--",
                              ".", ":!docs/benchmarks.md"], capture_output=True, text=True,
                             check=False).stdout.strip()
    return head + (" with changes" if changed else "")


def _package(name):
    try:
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True,
                              text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def versions(peers):
    found = {
        "aiplat": commit(),
        "compiler": _first(["cc", "--version"], r"^(.+)"),
        "PostgreSQL": _first([str(support.Postgres.binaries() / "postgres"), "--version"],
                             r"(\d[\w.]*)"),
        "RabbitMQ": _package("rabbitmq-server"),
        "Redis": _first(["redis-server", "--version"], r"v=([\d.]+)"),
        "libmicrohttpd": _package("libmicrohttpd12"), "libcurl": _package("libcurl4"),
        "libpq": _package("libpq5"), "librabbitmq": _package("librabbitmq4"),
        "hiredis": _package("libhiredis0.14"), "libuv": _package("libuv1"), "wrk": wrk.version(),
    }
    for peer in peers:
        found[peer.name] = peer.version()
    return {name: version for name, version in found.items() if version}
