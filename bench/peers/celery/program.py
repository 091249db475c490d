"""`python -m program COMMAND '{…}'`: a producer of Celery tasks, and a clock.

Started by peer.py; the last line printed is the figures as JSON. A task is done when its result is
in the result backend.
"""

import itertools
import json
import os
import sys
import threading
import time

import redis

import jobs

WARM = 20


def add(options):
    """One call a task; threads share the producers of the broker's connection pool."""
    count, failures = itertools.count(), []

    def caller():
        try:
            while (i := next(count)) < options["n"]:
                jobs.prompt.apply_async((f"Write a haiku about programming, number {i}",))
        except Exception as error:  # any lost job spoils the figure
            failures.append(error)

    threads = [threading.Thread(target=caller) for _ in range(options["callers"])]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    if failures:
        raise failures[0]
    return {"seconds": seconds}


def results():
    return redis.Redis.from_url(os.environ["RESULT_URL"])


def watch(options):
    """Seconds from the first results seen until all are there; the first ones do not count."""
    store, n = results(), options["n"]
    print("watching", flush=True)
    while (first := store.dbsize()) == 0:
        time.sleep(0.001)
    began = time.monotonic()
    while store.dbsize() < n:
        time.sleep(0.002)
    seconds = (time.monotonic() - began) * n / max(n - first, 1)
    stats = jobs.app.control.inspect(timeout=2).stats()
    ran = [worker["total"].get("jobs.prompt", 0) for worker in stats.values()]
    states = {json.loads(store.get(key))["status"] for key in store.scan_iter(count=10000)
              if key.startswith(b"celery-task-meta-")}
    if sum(ran) != n or store.dbsize() != n or states != {"SUCCESS"}:
        raise SystemExit(f"{n} tasks, {ran} ran, {store.dbsize()} results, {states}")
    return {"seconds": seconds}


def latency(options):
    seconds = []
    for i in range(WARM + options["n"]):
        began = time.monotonic()
        jobs.prompt.delay(f"Write a haiku about programming, number {i}").get(
            timeout=30, interval=0.001)
        seconds.append(time.monotonic() - began)
    return {"seconds": seconds[WARM:]}


def completed(_options):
    return {"completed": results().dbsize()}


COMMANDS = {"add": add, "watch": watch, "latency": latency, "completed": completed}
print(json.dumps(COMMANDS[sys.argv[1]](json.loads(sys.argv[2]))))
