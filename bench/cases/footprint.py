"""footprint: what the programs take when nothing happens, and for a job that waits."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

from bench.lib.ours import BUILD, CTL, GATEWAY, WORKER, Ours
from bench.lib.processes import BenchError, memory_bytes, support
from bench.lib.result import OURS, Metric

WAITING = 10000
KEPT_FREE = 32  # slots that a worker keeps from any one configuration
WORK = ("a gateway from exec until it listens; resident memory of an idle gateway and worker on "
        "PostgreSQL, RabbitMQ and Redis; what a worker takes for each of 10,000 jobs whose "
        "(simulated) model has not answered; sizes of the stripped files")
TARGET = "start under 50 ms, gateway under 15 MB"
METRICS = [Metric("start", "gateway, from exec to listening", "ms", 50, "lower"),
           Metric("gateway", "gateway, idle", "MB", 15, "lower"),
           Metric("worker", "worker, idle", "MB", better="lower"),
           Metric("job", "worker, a waiting job", "bytes", better="lower"),
           Metric("library", "libaiplat.so, stripped", "kB", better="lower"),
           Metric("programs", "gateway, worker and aiplatctl, stripped", "kB", better="lower")]


def listening_after(we):
    """Milliseconds from exec until the port takes connections; the process itself is ended."""
    port = support.free_port()
    env = we.environment(AIPLAT_LISTEN=f"127.0.0.1:{port}")
    with open(os.devnull, "wb") as null:
        began = time.monotonic()
        child = subprocess.Popen([GATEWAY], env=env, cwd=we.folder, stdout=null, stderr=null)
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    return (time.monotonic() - began) * 1000
                except ConnectionRefusedError:
                    time.sleep(0.0002)
                if child.poll() is not None or time.monotonic() - began > 10:
                    raise BenchError("the gateway does not listen")
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(30)


def stripped_kb(path):
    with tempfile.NamedTemporaryFile(prefix="aiplat-bench-strip-") as out:
        subprocess.run(["strip", "-o", out.name, str(path)], check=True)
        return pathlib.Path(out.name).stat().st_size / 1000


def waiting_job_bytes(we, worker, idle):
    we.psql.ask("INSERT INTO llm_configs (name, provider, model_name) "
                "VALUES ('slow', 'simulated', 'latency=600000')")
    driver = we.start_submit(WAITING, group=500, in_flight=8, config="slow")
    we.submit_result(driver)
    deadline = time.monotonic() + 60
    while we.count("PROCESSING") < WAITING:
        worker.check()
        if time.monotonic() > deadline:
            raise BenchError(f"{we.count('PROCESSING')} of {WAITING} jobs are waiting")
        time.sleep(0.1)
    we.end(driver)
    return (memory_bytes(worker.pid) - idle) / WAITING


def ours(context, result):
    with context.stage() as stage, Ours(stage, AIPLAT_DRAIN_TIMEOUT_MS=100) as we:
        we.migrate()
        starts = [listening_after(we) for _ in range(11)][1:]
        for value in starts:
            result.add(OURS, start=value)
        gateway = we.gateway()
        worker = we.worker(AIPLAT_CONCURRENCY=WAITING + KEPT_FREE)
        time.sleep(3)
        idle = memory_bytes(worker.pid)
        result.add(OURS, gateway=we.resident_mb(gateway), worker=idle / 1e6)
        a_job = waiting_job_bytes(we, worker, idle)
        result.add(OURS, job=a_job)
        worker.stop(20)  # it leaves what it was told to wait for: another exit code than 0
        we.processes.remove(worker)
        context.say(OURS, f"start {sorted(starts)[len(starts) // 2]:.1f} ms, gateway "
                          f"{result.samples['gateway'][OURS][-1]:.1f} MB, worker {idle / 1e6:.1f} MB, "
                          f"{a_job:,.0f} bytes a waiting job")


def run(context):
    result = context.result("footprint", WORK, TARGET, METRICS)
    context.interleave([(OURS, lambda: ours(context, result))])
    library = next((BUILD / "libaiplat").glob("libaiplat.so.*.*.*"))
    result.add(OURS, library=stripped_kb(library),
               programs=sum(stripped_kb(path) for path in (GATEWAY, WORKER, CTL)))
    return result
