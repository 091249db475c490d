"""Where a fault run takes place: private servers, our programs, a proxy between them, a supervisor.

Called by runner.py, which starts it and lets it supervise, and by faults/, which break it.  Two
gateways and three workers run as an operator would run them, every connection of theirs through
proxy.py; one that ends is started again after a second, as systemd does.  Everything written goes
below one folder.  It must never reach into a program by any other way than its command line, its
environment, its signals and its connections.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import amqp  # noqa: E402
import api  # noqa: E402
import programs  # noqa: E402
import servers  # noqa: E402

GATEWAYS = ("gateway-1", "gateway-2")
WORKERS = ("worker-1", "worker-2", "worker-3")
FAKED_CLOCKS = ("gateway-2", "worker-3")  # these run beneath libfaketime, whether it lies or not
FAKETIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
MARKER = "m[0-9a-z]+z"
QUEUE, EXCHANGE = "ai_tasks", "ai_events"
BUILT = ("bin/gateway/aiplat-gateway", "bin/worker/aiplat-worker", "tests/fault/disk_fault.so")
RESTART_AFTER = 1.0      # RestartSec of deploy/systemd
MOST_LOG = 64 << 20      # bytes of one program's log, beyond which it is cut and complained of
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE,
           signal.SIGSYS, signal.SIGTRAP)
SANITIZERS = ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer",
              "WARNING: ThreadSanitizer")


class Models(servers.ModelServer):
    """The model server, which writes down every call and remembers few."""

    calls = None

    def command(self):
        return [*super().command(), "--remember", "1000", "--calls", str(self.calls), "--marker",
                MARKER]


def disk_fault():
    """The shared object that fills and slows the database's disk."""
    return programs.build_folder() / "tests/fault/disk_fault.so"


class Postgres(servers.Postgres):
    """PostgreSQL on a disk that disk_fault.so can fill and slow down."""

    def prepare(self):
        super().prepare()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        os.chmod(self.disk, 0o755)

    def stop_immediately(self):
        """Without a checkpoint, as if the power failed: recovery from the log at the next start."""
        self._end(signal.SIGQUIT, 10.0)

    def environment(self):
        env = super().environment()
        if disk_fault().exists():
            env.update(LD_PRELOAD=str(disk_fault()), AIPLAT_DISK_FAULTS=str(self.disk))
        return env


class Member:
    """One place for a program of ours: what runs there, and what it is to be started with."""

    def __init__(self, name, settings, folder):
        self.name = name
        self.settings = settings
        self.extra = {}  # what a fault adds for as long as it lasts
        self.folder = folder
        self.program = None
        self.restart_at = None
        self.starts = 0
        self.may_end = False  # a fault has told it to

    def start(self):
        binary = "aiplat-gateway" if self.name.startswith("gateway") else "aiplat-worker"
        self.program = programs.Program(binary, [], {**self.settings, **self.extra}, self.folder,
                                        self.name)
        self.program.start()
        self.starts += 1
        self.restart_at = None

    def kill9(self):
        """Ends it as a crash does; the supervisor starts the next one."""
        if self.program.is_running():
            self.program.signal(signal.SIGKILL)

    def term(self):
        self.may_end = True
        if self.program.is_running():
            self.program.term()

    def freeze(self):
        self.program.freeze()

    def thaw(self):
        if self.program.is_running():
            self.program.thaw()

    def is_stopped(self):
        """True while a SIGSTOP holds it."""
        try:
            stat = pathlib.Path("/proc", str(self.program.pid), "stat").read_text()
        except OSError:
            return False
        return stat.rsplit(")", 1)[1].split()[0] == "T"


class Stage:
    """Everything that runs during a fault run."""

    def __init__(self, folder, log_level="info"):
        self.folder = pathlib.Path(folder)
        self.log_level = log_level
        self.members = {}
        self.ports = {}
        self.complaints = []  # what our programs must not do, seen from outside
        self.journal_lock = threading.Lock()
        self.proxy_lock = threading.Lock()
        self.has_fault_points = any(
            b"AIPLAT_FAULT_STORE" in path.read_bytes() for pattern in ("libaiplat/*", "bin/*/*")
            for path in programs.build_folder().glob(pattern) if path.is_file())

    @staticmethod
    def has_disk_faults():
        return disk_fault().exists()

    # -- beginning and end --------------------------------------------------------------------

    def begin(self):
        self.rabbitmq = servers.RabbitMQ()
        self.rabbitmq.spawn()
        Models.calls = self.folder / "models.jsonl"
        self.redis, self.models, self.postgres = servers.Redis(), Models(), Postgres()
        started = (self.redis, self.models, self.postgres)
        for server in started:
            server.spawn()
        for server in (*started, self.rabbitmq):
            server.wait_ready()
        api.ModelControl(self.models.url()).rules({"numbered": True})
        self.database = self.postgres.create_database()
        self.start_proxy()
        self.start_events()
        self.clock_file = self.folder / "clock"
        self.set_clock(0)
        for name in (*GATEWAYS, *WORKERS):
            self.members[name] = Member(name, self.settings_of(name), self.folder)
            self.members[name].start()
        servers.wait_for("every gateway", lambda: all(map(self.is_ready, GATEWAYS)), 90.0)

    def start_proxy(self):
        links = {}
        for name in GATEWAYS:
            self.ports[name] = servers.free_port()
            links[f"clients>{name}"] = self.ports[name]
        for name in (*GATEWAYS, *WORKERS):
            links[f"{name}>postgres"] = self.postgres.port
            links[f"{name}>rabbitmq"] = self.rabbitmq.port
            links[f"{name}>redis"] = self.redis.port
        for name in WORKERS:
            links[f"{name}>models"] = self.models.port
        self.link_ports = {link: servers.free_port() for link in links}
        texts = [f"{link}={self.link_ports[link]}:{target}" for link, target in links.items()]
        self.proxy = self.helper("proxy.py", *texts)
        assert "ready" in json.loads(self.proxy.stdout.readline())

    def start_events(self):
        self.events = self.helper("events.py", self.rabbitmq.url(), EXCHANGE,
                                  self.folder / "events.jsonl")
        assert self.events.stdout.readline()

    def start_load(self, rate, seed, burst=0):
        """Returns once it runs; with a burst, it begins with so many long jobs at once."""
        urls = [f"http://127.0.0.1:{self.link_ports[f'clients>{name}']}" for name in GATEWAYS]
        self.load = self.helper("load.py", "--rate", rate, "--seed", seed, "--burst",
                                burst, "--log", self.folder / "clients.jsonl", *urls)
        assert self.load.stdout.readline()

    def stop_load(self, timeout=150.0):
        """Lets every client finish; returns what the load says of itself."""
        out, _ = self.load.communicate("stop\n", timeout)
        return json.loads(out)

    def helper(self, script, *arguments):
        with open(self.folder / f"{script}.log", "ab") as log:
            return subprocess.Popen(
                [*servers.dies_with_us("KILL"), sys.executable, str(HERE / script),
                 *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, start_new_session=True)

    def settings_of(self, name):
        def at(server):
            return self.link_ports[f"{name}>{server}"]
        settings = {
            "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{at('postgres')}/{self.database}",
            "RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{at('rabbitmq')}/",
            "REDIS_URL": f"redis://127.0.0.1:{at('redis')}/0", "LOG_LEVEL": self.log_level,
            "RABBITMQ_TASK_QUEUE": QUEUE, "RABBITMQ_EVENT_EXCHANGE": EXCHANGE,
            "AIPLAT_DRAIN_TIMEOUT_MS": 5000}
        if name in GATEWAYS:
            settings["AIPLAT_LISTEN"] = f"127.0.0.1:{self.ports[name]}"
        else:
            url = f"http://127.0.0.1:{at('models')}"
            settings.update(OPENAI_BASE_URL=f"{url}/v1", ANTHROPIC_BASE_URL=url,
                            OPENAI_API_KEY="sk-fault-suite-0123456789")
        if name in FAKED_CLOCKS and FAKETIME.exists():
            settings.update(LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=self.clock_file,
                            FAKETIME_CACHE_DURATION=1, FAKETIME_DONT_FAKE_MONOTONIC=1,
                            FAKETIME_DISABLE_SHM=1)
        return settings

    def end(self):
        """Ends our programs in the orderly way; complains of one that does not go."""
        for member in self.members.values():
            member.thaw()
            member.term()
        for member in self.members.values():
            try:
                member.program.wait(15.0)
            except AssertionError:
                self.complaints.append(f"{member.name}: SIGTERM was not enough")
                member.program.kill9()
            self.judge_exit(member)
        for process in (self.events, self.proxy):
            process.terminate()
            process.wait()
        for name in self.members:
            log = (self.folder / f"{name}.log").read_text(errors="replace")
            self.complaints += [f"{name}: {sign}" for sign in SANITIZERS if sign in log]

    def abandon(self):
        """Ends whatever still runs, at once."""
        for member in self.members.values():
            if member.program and member.program.is_running():
                member.program.kill9()
        for name in ("load", "events", "proxy"):
            process = getattr(self, name, None)
            if process and process.poll() is None:
                process.kill()
                process.wait()

    # -- the supervisor -----------------------------------------------------------------------

    def supervise(self):
        """One round: starts again what has ended; called some times a second by one thread."""
        for member in self.members.values():
            if member.program.is_running():
                continue
            if member.restart_at is None:
                self.judge_exit(member)
                member.restart_at = time.monotonic() + RESTART_AFTER
            elif time.monotonic() >= member.restart_at:
                member.start()

    def judge_exit(self, member):
        code = member.program.process.returncode
        self.write("exits.jsonl", {"t": time.time(), "process": member.name, "code": code})
        if -code in CRASHES:
            self.complaints.append(f"{member.name} crashed: {signal.strsignal(-code)}")
        elif code not in (-signal.SIGKILL, 0, 75) or (code in (0, 75) and not member.may_end):
            self.complaints.append(f"{member.name} ended with {code}")
        member.may_end = False

    def bound_log(self, member):
        """Cuts a log that fills the disk; our programs append, so they go on at its beginning."""
        path = self.folder / f"{member.name}.log"
        if path.exists() and path.stat().st_size > MOST_LOG:
            self.complaints.append(f"{member.name} has logged over {MOST_LOG >> 20} MB")
            os.truncate(path, 0)

    def is_ready(self, name):
        try:
            link = servers.urllib.request.urlopen(
                f"http://127.0.0.1:{self.ports[name]}/ready", timeout=2)
            with link:
                return link.status == 200
        except OSError:
            return False

    # -- what faults and judgement use --------------------------------------------------------

    def write(self, name, entry):
        with self.journal_lock, open(self.folder / name, "a", encoding="utf-8") as out:
            out.write(json.dumps(entry) + "\n")

    def disturb(self, links, mode="pass", **how):
        """Tells the proxy what to do to the links that match the pattern."""
        with self.proxy_lock:
            self.proxy.stdin.write(json.dumps({"links": links, "mode": mode, **how}) + "\n")
            self.proxy.stdin.flush()
            answer = json.loads(self.proxy.stdout.readline())
        if not answer.get("links"):
            raise servers.ServerError(f"the proxy and {links}: {answer}")

    def set_clock(self, seconds):
        """The offset of the clocks of FAKED_CLOCKS; a rename, so that no half a file is read."""
        path = self.clock_file.with_suffix(".new")
        path.write_text(f"{seconds:+d}\n" if seconds else "+0\n")
        path.rename(self.clock_file)

    def sql(self, text):
        return self.postgres.sql(text, self.database)

    def queue_depth(self):
        """Messages in the task queue."""
        try:
            with amqp.Connection(self.rabbitmq.url(), timeout=5.0) as connection:
                return connection.queue_depth(QUEUE)[0]
        except amqp.AmqpError as error:
            if "NOT_FOUND" in str(error):
                return 0
            raise
