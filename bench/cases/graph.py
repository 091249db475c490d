"""graph: the graph engine in memory, by bench/graph_steps.c, and peers' engines on the same graphs."""

import re
import subprocess

from bench.lib.ours import GRAPH
from bench.lib.processes import BenchError
from bench.lib.result import OURS, Metric

WORK = ("graphs in one process, in memory: loops of 1,000 steps, a chain of 3 nodes, a fan-out of 5 "
        "and join, and 10,000 runs in flight")
TARGET = ("a step under 0.3 µs, at step 1,000 of a growing list under 1 µs; runs under 1.5 and 4 µs; "
          "3 nodes from JSON under 20 µs")
METRICS = [Metric("loop", "step of a loop, one integer channel", "ns", 300, "lower"),
           Metric("late", "step of a loop that appends 100 bytes, after 1,000 steps", "ns", 1000, "lower"),
           Metric("chain", "chain of 3, a whole run", "ns", 1500, "lower"),
           Metric("fan", "fan-out of 5 and join, a whole run", "ns", 4000, "lower"),
           Metric("compile", "build and compile a chain of 3", "ns", better="lower"),
           Metric("document", "a graph of 3 nodes and a condition from JSON text, compiled", "ns", 20000, "lower"),
           Metric("memory", "a run in flight, beyond its state", "bytes", 4096, "lower")]
# The beginning of each line that counts, spaces squeezed.
LINES = {"loop": "loop of 1000 steps, one integer, by index", "late": "loop appending 100 bytes, steps 1000",
         "chain": "chain of 3, fresh input", "fan": "fan-out of 5 and join, fresh input",
         "compile": "build, compile and free a chain of 3",
         "document": "the same of 3 nodes, from JSON text", "memory": "10,000 runs in flight"}
LINE = re.compile(r"^(.+?) ([\d.]+) (?:ns|bytes) a (?:step|run|graph)\b")


def ours(context, result):
    done = subprocess.run([GRAPH], capture_output=True, text=True, check=False, timeout=120)
    found = {}
    for line in done.stdout.splitlines():
        if match := LINE.match(" ".join(line.split())):
            found.update({key: float(match[2]) for key, begin in LINES.items()
                          if match[1].startswith(begin)})
    if done.returncode != 0 or (missing := set(LINES) - set(found)):
        raise BenchError(f"graph-steps: {missing if done.returncode == 0 else done.stderr}")
    result.add(OURS, **found)
    context.say(OURS, f"{found['loop']:.0f} ns a step, {found['chain']:.0f} ns a chain")


def peer(context, result, one):
    found = one.graph()
    if not found or set(found) - set(LINES):
        raise BenchError(f"figures for {sorted(found)}, not {sorted(LINES)}")
    result.add(one.name, **found)
    context.say(one.name, ", ".join(f"{key} {value:,.0f}" for key, value in found.items()))


def run(context):
    result = context.result("graph", WORK, TARGET, METRICS)
    context.interleave([(OURS, lambda: ours(context, result)),
                        *((one.name, lambda one=one: peer(context, result, one))
                          for one in context.peers_that("graph"))])
    result.fact("Each figure of a round is the best of several repetitions within it.")
    return result
