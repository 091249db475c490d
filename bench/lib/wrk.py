"""wrk, the HTTP load: 64 connections, one thread, and nothing of it may fail.

Every request of a POST is distinct by a number in its body. wrk breaks off what is in flight when
its time is over, so the server may have done as many requests more as there are connections.
"""

import json
import os
import pathlib
import subprocess
import tempfile

from .processes import BenchError, support

CONNECTIONS = 64

POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local n = %(first)d
request = function()
  n = n + 1
  return wrk.format(nil, "%(path)s", nil, %(before)s .. n .. %(after)s)
end
"""
GET = """
local paths = {%(paths)s}
local n = 0
request = function()
  n = n %% #paths + 1
  return paths[n]
end
init = function()
  for i = 1, #paths do paths[i] = wrk.format("GET", paths[i]) end
end
"""
DONE = """
done = function(summary, latency)
  local e = summary.errors
  print(string.format('{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"errors":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def lua(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def post(base, path, body, seconds, first=0):
    """Posts `body` with its "{n}" replaced by first + 1, first + 2 …; what _run() returns."""
    before, after = body.split("{n}")
    return _run(base, POST % {"path": path, "first": first, "before": lua(before),
                              "after": lua(after)}, seconds)


def get(base, paths, seconds):
    """Gets each of `paths` in turn."""
    return _run(base, GET % {"paths": ",".join(map(lua, paths))}, seconds)


def _run(base, script, seconds):
    """{"requests", "seconds", "rate", "p50_ms", "p99_ms", "cpu"}; BenchError if anything failed."""
    with tempfile.TemporaryDirectory(prefix="aiplat-bench-wrk-") as folder:
        path = pathlib.Path(folder, "load.lua")
        path.write_text(script + DONE)
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", str(path),
                   base]
        child = subprocess.Popen([*support.dies_with_us("KILL"), *command], text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    lines = [line for line in text.splitlines() if line.startswith('{"requests"')]
    if child.returncode != 0 or not lines:
        raise BenchError(f"wrk ended with {child.returncode}: {text[-500:]}")
    result = json.loads(lines[0])
    if result["errors"] or not result["requests"]:
        raise BenchError(f"{result['errors']} of {result['requests']} requests failed")
    result["rate"] = result["requests"] / result["seconds"]
    result["cpu"] = usage.ru_utime + usage.ru_stime
    return result


def version():
    text = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return (text.stdout + text.stderr).split()[1].removeprefix("debian/")
