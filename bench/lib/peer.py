"""What somebody else's job platform must be able to do to be measured beside ours.

A peer is a folder bench/peers/NAME with a peer.py that holds one or more subclasses of Peer (a
platform may be measured in several configurations). It is installed into a cache folder of the
user's, from the public registries, with the versions that its committed lock file names. Cases ask
for a capability and run every installed peer that has it, round by round between our own rounds.

Life of a peer in a round:

    stage = empty servers                            (bench/lib/servers.py)
    peer.start(stage)                                what accepts jobs; no worker yet
    peer.add(…) | peer.fill(…); peer.drain(…) | …    one capability; see below
    peer.stop()                                      everything it started

The numbers that a peer returns are seconds on the monotonic clock, measured inside the process that
does the work, from the first call to the last answer, without starting that process.
"""

import importlib.util
import inspect
import os
import pathlib
import shutil
import tempfile

from .processes import BenchError, Process, ROOT, support

CAPABILITIES = {
    "http": "takes jobs over HTTP: http()",
    "status": "tells a job's status over HTTP: http()",
    "add": "jobs one by one from concurrent callers in one process: add(n, callers)",
    "bulk": "many jobs in one call, as its documentation says: bulk(n)",
    "drain": "one worker process works off a queue: fill(n), then drain(n)",
    "e2e": "a worker that calls a model server over HTTP: start_worker(), completed()",
    "latency": "a lone job from add to recorded done: latency(n)",
    "graph": "graphs in one process, in memory, without servers: graph()",
}


def cache_folder(name):
    """Where a peer is installed: $XDG_CACHE_HOME/aiplat-bench/NAME."""
    base = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
    return pathlib.Path(base) / "aiplat-bench" / name


class Peer:
    name = ""                  # as its table row says, for instance "BullMQ, fsync always"
    why_this_way = ""          # one line, with the address of the documentation that says so
    needs = frozenset()        # of "postgres", "rabbitmq", "redis", "redis-always"; not "models"
    capabilities = frozenset() # keys of CAPABILITIES

    # -- before any round -------------------------------------------------------------------

    def version(self):
        """The platform's version and its runtime's: "5.2.1, Node.js 20.20". After install()."""
        raise NotImplementedError

    def install(self):
        """Once, into self.cache; quick when that was done before. Prints what it does."""
        raise NotImplementedError

    # -- a round ----------------------------------------------------------------------------

    def start(self, servers):
        """Makes tables and queues and starts what accepts jobs. servers.postgres.url (an empty
        database), servers.rabbitmq.url (an empty virtual host), servers.redis.url (empty),
        servers.models.url (OpenAI's base URL, …/v1; with e2e only). No worker may run yet."""
        raise NotImplementedError

    def stop(self):
        """Ends everything that start(), drain() and start_worker() left running."""
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()

    def pids(self):
        """{label: pid} of its processes that run now; labels such as "api", "worker", "load"."""
        return {one.label: one.pid for one in self.processes if one.is_running()}

    # -- http, status -----------------------------------------------------------------------

    def http(self):
        """(base URL, path of POST, body with "{n}" where a number makes it distinct, path of GET
        with "{id}"). POST answers 2xx with JSON whose "job_id" names the job."""
        raise NotImplementedError

    def accepted(self):
        """How many jobs are in its store now, in whatever state."""
        raise NotImplementedError

    # -- add, bulk, drain -------------------------------------------------------------------

    def add(self, n, callers=64):
        """n jobs, one call a job, `callers` at once in one process; seconds."""
        raise NotImplementedError

    def bulk(self, n):
        """n jobs by the call for many, in batches as its documentation advises; seconds."""
        raise NotImplementedError

    def fill(self, n):
        """n queued jobs, by whatever way is quickest."""
        raise NotImplementedError

    def drain(self, n):
        """Starts one worker process; returns seconds from its start until the n jobs that are
        queued are recorded done, which it checks by count. The handler returns a short text."""
        raise NotImplementedError

    # -- e2e --------------------------------------------------------------------------------

    def start_worker(self):
        """Starts one worker process whose jobs ask the model server."""
        raise NotImplementedError

    def completed(self):
        """How many jobs are recorded done now."""
        raise NotImplementedError

    # -- latency ----------------------------------------------------------------------------

    def latency(self, n):
        """n jobs, one after the other: seconds each, from the call that adds it until it is recorded
        done. Starts the worker itself, and lets some jobs go first that are not counted."""
        raise NotImplementedError

    # -- graph ------------------------------------------------------------------------------

    def graph(self):
        """Of bench/cases/graph.py's figures those it can give: {"loop": nanoseconds a step, "late",
        "chain", "fan", "compile", "memory": bytes}. Called without start()."""
        raise NotImplementedError

    # -- helpers for peers ------------------------------------------------------------------

    def __init__(self, home=None):
        self.home = pathlib.Path(home or pathlib.Path(inspect.getfile(type(self))).parent)
        self.cache = cache_folder(self.home.name)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"aiplat-bench-{self.home.name}-"))
        self.processes = []

    def spawn(self, command, label, env=None, ready=None, timeout=60.0):
        """Starts a process of the peer's, logs to self.folder, waits until `ready()` is true."""
        process = Process(command, env={**self.environment(), **(env or {})}, folder=self.folder,
                          label=label)
        self.processes.append(process)
        if ready:
            process.wait_until(ready, timeout)
        return process

    def environment(self):
        """What its processes see of ours: no settings of other programs, no proxies."""
        kept = ("PATH", "LANG", "HOME", "TMPDIR")
        return {name: os.environ[name] for name in kept if name in os.environ}

    @staticmethod
    def free_port():
        return support.free_port()

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def load_peers(only=None):
    """An instance of every peer class in bench/peers/*/peer.py, by folder and order in the file."""
    found = []
    for path in sorted((ROOT / "bench" / "peers").glob("*/peer.py")):
        if only and path.parent.name not in only:
            continue
        spec = importlib.util.spec_from_file_location(f"bench.peers.{path.parent.name}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for value in vars(module).values():
            if (inspect.isclass(value) and issubclass(value, Peer) and value is not Peer
                    and value.__module__ == module.__name__ and value.name):
                found.append(value(path.parent))
    return found


__all__ = ["BenchError", "CAPABILITIES", "Peer", "cache_folder", "load_peers"]
