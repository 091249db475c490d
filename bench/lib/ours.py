"""Our own programs in a benchmark: gateway, workers and the C driver, with settings as in production
(the defaults, but for the addresses of the servers), and what the store says about them.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.request

from .processes import BenchError, CpuClock, Process, ROOT, memory_bytes, support

BUILD = ROOT / "build-bench"
NEEDS = {"postgres", "rabbitmq", "redis"}
GATEWAY = BUILD / "bin/gateway/aiplat-gateway"
WORKER = BUILD / "bin/worker/aiplat-worker"
CTL = BUILD / "bin/aiplatctl/aiplatctl"
SUBMIT = BUILD / "bench/submit-jobs"
MODELS = BUILD / "bench/model-server"
GRAPH = BUILD / "bench/graph-steps"
CHECKPOINTS = BUILD / "bench/checkpoints"
TARGETS = [str(path.relative_to(BUILD)) for path in (GATEWAY, WORKER, CTL, SUBMIT, MODELS, GRAPH,
                                                     CHECKPOINTS)]
QUEUE = "ai_tasks"


def build(say):
    """A release build in a folder of its own; quick when nothing has changed."""
    log = tempfile.NamedTemporaryFile("w+", prefix="aiplat-bench-build-")
    def quietly(*command):
        if subprocess.run(command, stdout=log, stderr=log, cwd=ROOT, check=False).returncode != 0:
            log.seek(0)
            raise BenchError("the build failed:\n" + "".join(log.readlines()[-40:]))
    if not (BUILD / "build.ninja").exists():
        say("configuring a release build in build-bench/")
        quietly("meson", "setup", str(BUILD), "--buildtype=release", "-Dbench=true")
    say("building")
    quietly("ninja", "-C", str(BUILD), *TARGETS)


class Psql:
    """One psql that stays connected: an answer costs a round trip, not a process."""

    MARK = "--answered--"

    def __init__(self, url):
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=0", "-d", url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            bufsize=1)
        self.ask("SET application_name = 'bench'")

    def ask(self, statement):
        """The rows of one statement, as lists of strings."""
        self.process.stdin.write(f"{statement};\n\\echo {self.MARK}\n")
        self.process.stdin.flush()
        rows = []
        while (line := self.process.stdout.readline().rstrip("\n")) != self.MARK:
            if not line and self.process.poll() is not None:
                raise BenchError("psql has ended")
            if line.startswith(("ERROR:", "FATAL:", "psql:")):
                raise BenchError(f"psql: {line}")
            if line:
                rows.append(line.split("\t"))
        return rows

    def value(self, statement):
        return self.ask(statement)[0][0]

    def is_true(self, statement):
        return self.value(statement) == "t"

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours:
    """The platform on a stage. Use as a context manager."""

    def __init__(self, stage, **settings):
        self.stage = stage
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="aiplat-bench-ours-"))
        self.settings = {"DATABASE_URL": stage.postgres.url, "RABBITMQ_URL": stage.rabbitmq.url,
                         "REDIS_URL": stage.redis.url, **settings}
        self.processes = []
        self.url = None
        self._psql = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop(is_error=kind is not None)

    # -- processes --------------------------------------------------------------------------

    def environment(self, **settings):
        env = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH")
               if name in os.environ}
        env["HOME"] = str(self.folder)
        env.update({name: str(value) for name, value in {**self.settings, **settings}.items()})
        return env

    def spawn(self, label, command, **settings):
        process = Process(command, env=self.environment(**settings), folder=self.folder, label=label)
        self.processes.append(process)
        return process

    def gateway(self, **settings):
        """A gateway that says it is ready: database, queue, cache and catalog are there."""
        port = support.free_port()
        one = self.spawn("gateway", [GATEWAY], AIPLAT_LISTEN=f"127.0.0.1:{port}", **settings)
        self.url = f"http://127.0.0.1:{port}"
        one.wait_until(lambda: self.get("/ready").get("status") == "ready")
        return one

    def worker(self, label="worker", **settings):
        return self.spawn(label, [WORKER], **settings)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def post_job(self, **job):
        request = urllib.request.Request(f"{self.url}/v1/jobs", json.dumps(job).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["job_id"]

    def config_for_models(self, name="bench", model="bench", api_key_env="", delay_ms=0):
        """A configuration that asks the stage's model server, written as an operator may: in SQL."""
        self.stage.model_server.set_delay(delay_ms)
        self.psql.ask("INSERT INTO llm_configs (name, provider, model_name, base_url, api_key_env) "
                      f"VALUES ('{name}', 'openai', '{model}', '{self.stage.models.url}', "
                      f"'{api_key_env}')")

    def migrate(self):
        """The tables, as an operator makes them before the first start."""
        done = subprocess.run([CTL, "migrate"], env=self.environment(), capture_output=True,
                              text=True, check=False, cwd=self.folder)
        if done.returncode != 0:
            raise BenchError(f"aiplatctl migrate: {done.stdout}{done.stderr}")

    def pids(self):
        return {one.label: one.pid for one in self.processes if one.is_running()}

    def cpu(self):
        """A clock over our processes and the servers of the stage."""
        return CpuClock({**self.stage.pids(), **self.pids()})

    def end(self, process):
        """Ends one program in its orderly way, which must work."""
        process.check()
        code = process.stop()
        if code != 0:
            raise BenchError(f"{process.label} ended with {code}\n{process.log_tail()}")
        self.processes.remove(process)

    def stop(self, is_error=False):
        try:
            if self._psql:
                self._psql.close()
            for process in reversed(list(self.processes)):
                if is_error:
                    process.stop(5)
                else:
                    self.end(process)
        finally:
            for process in self.processes:
                process.stop(0)
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- the driver -------------------------------------------------------------------------

    def start_submit(self, n, group=1, in_flight=64, rate=0, config="simulated", label="load"):
        command = [SUBMIT, "--jobs", n, "--group", group, "--in-flight", in_flight, "--rate", rate,
                   "--config", config]
        return self.spawn(label, command)

    def submit_result(self, process, timeout=120):
        """What the driver printed once all its jobs were stored; it goes on publishing."""
        def line():
            text = process.log_path.read_text(errors="replace")
            return next((one for one in text.splitlines() if one.startswith('{"jobs"')), None)
        process.wait_until(line, timeout)
        result = json.loads(line())
        if result["errors"]:
            raise BenchError(f"{result['errors']} jobs were not accepted: {result['error']}")
        return result

    def fill(self, n, config="simulated"):
        """Exactly n queued jobs in the store, each with a message in the queue; one that was long in
        coming is published once more, to our own cost."""
        driver = self.start_submit(n, group=500, in_flight=8, config=config)
        self.submit_result(driver)
        self.wait_outbox_empty(120)
        self.end(driver)
        self.must_count("QUEUED", n)
        depth = self.stage.queue_depth(QUEUE)
        if depth < n:
            raise BenchError(f"{depth} messages in the queue for {n} jobs")

    # -- the store --------------------------------------------------------------------------

    @property
    def psql(self):
        if not self._psql:
            self._psql = Psql(self.stage.postgres.url)
        return self._psql

    def count(self, status=None):
        where = f" WHERE status = '{status}'" if status else ""
        return int(self.psql.value(f"SELECT count(*) FROM jobs{where}"))

    def must_count(self, status, n):
        found = self.count(status)
        if found != n:
            raise BenchError(f"{found} jobs are {status or 'there'}, not {n}: "
                             f"{self.psql.ask('SELECT status, count(*) FROM jobs GROUP BY 1')}")

    def wait_ended(self, timeout, pause=0.02, check=()):
        """Waits until no job is QUEUED or PROCESSING; index scans, so that asking costs little."""
        self._wait("jobs to end", "SELECT NOT EXISTS (SELECT 1 FROM jobs WHERE status = 'QUEUED') AND "
                   "NOT EXISTS (SELECT 1 FROM jobs WHERE status = 'PROCESSING')", timeout, pause, check)

    def wait_outbox_empty(self, timeout, pause=0.02):
        self._wait("the outbox to be empty",
                   "SELECT NOT EXISTS (SELECT 1 FROM outbox WHERE id > 0)", timeout, pause)

    def _wait(self, what, statement, timeout, pause, check=()):
        deadline = time.monotonic() + timeout
        self.psql.ask("SET enable_seqscan = off")
        while not self.psql.is_true(statement):
            for process in [*check, *self.processes]:
                process.check()
            if time.monotonic() > deadline:
                raise BenchError(f"waited {timeout:.0f} s for {what}: " + str(self.psql.ask(
                    "SELECT status, count(*) FROM jobs GROUP BY 1 "
                    "UNION ALL SELECT NULL, count(*) FROM outbox")))
            time.sleep(pause)

    def resident_mb(self, process, field="VmRSS"):
        return memory_bytes(process.pid, field) / 1e6
