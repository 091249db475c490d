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
# A client posts a job and reads it until it has ended; a job that has not is read again later.
POST_AND_READ = """
local first, n = %(first)d, 0
local ids, from, to = {}, 1, 0
local pause = %(pause)f
local threads = {}
setup = function(thread) table.insert(threads, thread) end
local clock = require("ffi")
clock.cdef[[ struct bench_time { long s, ns; }; int clock_gettime(int, struct bench_time *); ]]
local t = clock.new("struct bench_time")
local function now()
  clock.C.clock_gettime(1, t)
  return tonumber(t.s) + tonumber(t.ns) / 1e9
end
local headers = {["Content-Type"] = "application/json"}
request = function()
  local head = ids[from]
  if head and (head[2] <= now() or to - from > 4096) then
    ids[from] = nil
    from = from + 1
    return wrk.format("GET", %(get_before)s .. head[1] .. %(get_after)s)
  end
  n = n + 1
  return wrk.format("POST", "%(path)s", headers, %(before)s .. (first + n) .. %(after)s)
end
posted, ended_jobs, failed_jobs = 0, 0, 0
response = function(status, _, body)
  local id = body:match('"job_id"%%s*:%%s*"([^"]+)"')
  local state = body:match('"status"%%s*:%%s*"(%%u+)"')
  if status == 201 or status == 202 then
    posted = posted + 1
    to = to + 1
    ids[to] = {id, 0}
  elseif state == "COMPLETED" then
    ended_jobs = ended_jobs + 1
  elseif state == "FAILED" or state == "CANCELLED" or not id then
    failed_jobs = failed_jobs + 1
  else
    to = to + 1
    ids[to] = {id, now() + pause}
  end
end
"""
DONE_READING = """
done = function(summary, latency)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout + threads[1]:get("failed_jobs")
  print(string.format('{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"errors":%d,' ..
    '"posted":%d,"ended":%d}', summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed,
    threads[1]:get("posted"), threads[1]:get("ended_jobs")))
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


def post_and_read(base, path, body, path_get, seconds, first=0, pause=0.02, connections=256):
    """Posts jobs and reads each until it is COMPLETED. `path_get` may wait ("?wait=30"); where it
    does not, a job that has not ended is read again after `pause`. Adds "posted" and "ended"."""
    before, after = body.split("{n}")
    get_before, get_after = path_get.split("{id}")
    script = POST_AND_READ % {"path": path, "first": first, "pause": pause, "before": lua(before),
                              "after": lua(after), "get_before": lua(get_before),
                              "get_after": lua(get_after)}
    return _run(base, script, seconds, connections, DONE_READING)


def _run(base, script, seconds, connections=CONNECTIONS, done=DONE):
    """{"requests", "seconds", "rate", "p50_ms", "p99_ms", "cpu"}; BenchError if anything failed."""
    with tempfile.TemporaryDirectory(prefix="aiplat-bench-wrk-") as folder:
        path = pathlib.Path(folder, "load.lua")
        path.write_text(script + done)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s",
                   str(path), base]
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
