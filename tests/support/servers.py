#!/usr/bin/env python3
"""Starts private PostgreSQL, RabbitMQ, Redis and model servers for tests, and ends them again.

Called as a library by the scenario tests (which also kill, freeze and restart the servers), and
as a command by ./check and by developers:

    tests/support/servers.py run --postgres --redis -- build/tests/integration/some_suite
    tests/support/servers.py up                     # prints `export` lines, stays until Ctrl-C

Without a choice of servers it starts all but aimock, which wants npm and the network once.

Every server listens on loopback alone, on a port chosen at random, keeps everything it writes in
one temporary folder, and is ended by process id.  It must never touch a service of the machine,
a well-known port, or a file outside its own folder.
"""

import argparse
import atexit
import os
import pathlib
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import amqp  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
START_TIMEOUT = 90.0
_handed_out = set()
_running = []


class ServerError(Exception):
    """A server did not start or stop; the text ends with the last lines of its log."""


def free_port():
    """A free loopback port below the range the kernel gives to outgoing connections, so that it
    stays free for a server that is killed and started again."""
    while True:
        port = random.randint(10000, 32000)
        if port in _handed_out:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _handed_out.add(port)
        return port


def process_tree(pid):
    """The ids of a process and of everything below it, parents first."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    found = [pid]
    for one in found:
        found.extend(parents.get(one, []))
    return found


def signal_tree(pid, signum):
    for one in process_tree(pid):
        try:
            os.kill(one, signum)
        except ProcessLookupError:
            pass


def gone(pid):
    """True when a process has ended, a zombie that waits for its parent counting as ended."""
    try:
        stat = pathlib.Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return True
    return stat.rsplit(")", 1)[1].split()[0] in "ZX"


def wait_for(what, ready, timeout=START_TIMEOUT, pause=0.02):
    """Polls `ready` until it answers true; raises ServerError naming `what` when it never does."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise ServerError(f"{what}: not within {timeout:.0f} s")
        time.sleep(pause)


def dies_with_us(signal_name):
    """What goes before a command so that it ends even if we are killed.  The kernel means the
    thread that started it, not the process: nothing, then, for a passing thread."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return ["setpriv", "--pdeathsig", signal_name]


class Server:
    """What all servers share.  start() is spawn() and wait_ready(), which callers with several
    servers call apart so that the servers start side by side."""

    name = "server"
    stop_signal = signal.SIGTERM
    stop_timeout = 20.0

    def __init__(self, production=False):
        """`production`: configured as on a machine that does real work, for benchmarks; otherwise
        small and quick to start, for tests."""
        self.production = production
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"aiplat-{self.name}-"))
        self.port = free_port()
        self.log = self.folder / "log"
        self.process = None
        _running.append(self)
        self.prepare()

    def prepare(self):
        """Writes what the server needs before its first start."""

    def command(self):
        raise NotImplementedError

    def environment(self):
        return dict(os.environ)

    def answers(self):
        """True when the server takes requests."""
        raise NotImplementedError

    def url(self):
        raise NotImplementedError

    # -- life -------------------------------------------------------------------------------

    def launch(self, command, log):
        """Starts a child in a session of its own, out of reach of our terminal's Ctrl-C."""
        with open(log, "ab") as out:
            return subprocess.Popen(
                [*dies_with_us("TERM"), *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=self.folder, env=self.environment(), start_new_session=True)

    def spawn(self):
        self.process = self.launch(self.command(), self.log)

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise ServerError(f"{self.name} ended with {self.process.returncode}")
            return self.answers()
        try:
            wait_for(f"{self.name} on port {self.port}", ready)
        except ServerError as error:
            raise ServerError(f"{error}\n{self.log_tail()}") from None

    def start(self):
        self.spawn()
        self.wait_ready()
        return self

    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def _end(self, first_signal, timeout):
        if not self.is_running():
            return
        tree = process_tree(self.pid())
        signal_tree(self.pid(), signal.SIGCONT)
        if first_signal != signal.SIGKILL:
            os.kill(self.pid(), first_signal)
            deadline = time.monotonic() + timeout
            while not all(gone(pid) for pid in tree) and time.monotonic() < deadline:
                self.process.poll()
                time.sleep(0.01)
        for pid in tree:
            if not gone(pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.process.wait()
        wait_for(f"the end of {self.name}", lambda: all(gone(pid) for pid in tree), 10.0, 0.005)

    def stop(self):
        """Ends the server in its own orderly way; its data stay for a later start()."""
        self._end(self.stop_signal, self.stop_timeout)

    def kill9(self):
        """Ends the server and all its processes as a crash does."""
        self._end(signal.SIGKILL, 0)

    def restart(self):
        self.stop()
        return self.start()

    def freeze(self):
        """Stops every process of the server where it stands; connections stay open, unanswered."""
        signal_tree(self.pid(), signal.SIGSTOP)

    def thaw(self):
        signal_tree(self.pid(), signal.SIGCONT)

    def remove(self):
        """Ends the server and deletes its folder."""
        try:
            self._end(self.stop_signal, self.stop_timeout)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            if self in _running:
                _running.remove(self)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.remove()

    def log_tail(self, lines=30):
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


class Postgres(Server):
    """PostgreSQL with fsync on, since what survives a crash is what is being tested."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": roll back and go, without waiting for clients

    @staticmethod
    def binaries():
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"),
                       key=lambda path: int(path.parts[-3]))
        if found:
            return found[-1].parent
        if shutil.which("postgres"):
            return pathlib.Path(shutil.which("postgres")).parent
        raise ServerError("PostgreSQL is not installed (Debian: postgresql-15)")

    def prepare(self):
        # The server refuses to run as root, so root runs it as its own user.
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.data = self.folder / "data"
        self.binary = self.binaries()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        initdb = [self.binary / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust",
                  "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run(self.as_user(initdb), check=True, cwd=self.folder,
                       stdout=subprocess.DEVNULL)
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\n"
                       f"unix_socket_directories = '{self.folder}'\nfsync = on\n"
                       "synchronous_commit = on\nmax_connections = 200\n"
                       "log_line_prefix = '%m [%p] %d '\n")
            if self.production:
                conf.write(self.production_settings())

    @staticmethod
    def production_settings():
        """What PostgreSQL's documentation (20.4, 20.5, 20.7) advises for a database of its own size
        on an SSD: a quarter of the memory, at most 2 GB, and checkpoints far apart."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        return (f"shared_buffers = {min(memory // 4, 2048)}MB\n"
                f"effective_cache_size = {memory // 2}MB\n"
                "max_wal_size = 8GB\nmin_wal_size = 1GB\ncheckpoint_timeout = 15min\n"
                "maintenance_work_mem = 512MB\nrandom_page_cost = 1.1\n"
                "full_page_writes = on\n")

    def standby(self):
        """A streaming standby of this server, running; promote() makes it a server of its own."""
        other = Postgres(self.production)
        shutil.rmtree(other.data)
        copy = [self.binary / "pg_basebackup", "-D", other.data, "-R", "-X", "stream", "-c", "fast",
                "-d", f"{self.url()}?application_name=standby"]
        subprocess.run(self.as_user(copy), check=True, cwd=other.folder)
        with open(other.data / "postgresql.conf", "a") as conf:
            conf.write(f"port = {other.port}\nunix_socket_directories = '{other.folder}'\n")
        return other.start()

    def promote(self):
        self.sql("SELECT pg_promote(true, 30)")

    def as_user(self, command):
        if os.geteuid() != 0:
            return command
        return ["setpriv", "--reuid", self.user, "--regid", self.user, "--init-groups", *command]

    def command(self):
        # A change of user clears the death signal: it is set again behind that.
        postgres = [self.binary / "postgres", "-D", self.data]
        return self.as_user([*dies_with_us("INT"), *postgres])

    def answers(self):
        ask = [self.binary / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ask, check=False).returncode == 0

    def spawn(self):
        # A killed postmaster leaves its lock file; it would look alive if its id were reused.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        super().spawn()

    def url(self, database="postgres"):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def sql(self, text, database="postgres"):
        """Runs SQL in psql; returns the rows as lists of strings."""
        # Values may hold any text, so fields and rows are parted by ASCII's own separators.
        done = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-F", "\x1f", "-R", "\x1e", "-v", "ON_ERROR_STOP=1",
             "-d", self.url(database), "-f", "-"], input=text, capture_output=True, text=True,
            check=False)
        if done.returncode != 0:
            raise ServerError(f"psql: {done.stderr.strip()}")
        rows = done.stdout.removesuffix("\n")
        return [row.split("\x1f") for row in rows.split("\x1e")] if rows else []

    def create_database(self):
        """An empty database of its own for one test; returns its name."""
        name = f"t_{secrets.token_hex(4)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name):
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class RabbitMQ(Server):
    """RabbitMQ with its own Erlang port mapper, node name, cookie and folders."""

    name = "rabbitmq"

    def prepare(self):
        self.dist_port, self.epmd_port = free_port(), free_port()
        self.node = f"aiplat-{secrets.token_hex(4)}@localhost"
        self.epmd = None
        self.log = self.folder / "log" / "rabbit.log"
        self.log.parent.mkdir()
        self.set_cookie(secrets.token_hex(16))
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "env.conf").write_text("")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "log.file = rabbit.log\nlog.console = false\n"
            # its default is made for production: half a gigabyte, which tests would wait for
            + ("" if self.production else "raft.wal_max_size_bytes = 33554432\n"))

    def set_cookie(self, secret):
        self.cookie = secret
        cookie = self.folder / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.write_text(secret)
        cookie.chmod(0o400)

    def environment(self):
        # `detached` makes Debian's start script become the Erlang process, so its id is ours.
        return {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LANG": "C.UTF-8",
            "HOME": str(self.folder), "detached": "1",
            "RABBITMQ_NODENAME": self.node, "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.log.parent), "RABBITMQ_LOGS": str(self.log),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "+sbwt none +sbwtdcpu none +sbwtdio none "
                "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CTL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
            "ERL_EPMD_PORT": str(self.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    @staticmethod
    def program(name):
        # Behind Debian's wrapper, which would switch user and use the machine's own folders.
        path = pathlib.Path("/usr/lib/rabbitmq/bin", name)
        if path.exists():
            return str(path)
        if shutil.which(name):
            return shutil.which(name)
        raise ServerError("RabbitMQ is not installed (Debian: rabbitmq-server)")

    def command(self):
        return [self.program("rabbitmq-server")]

    def spawn(self):
        if self.epmd is None:
            # Ours, in the foreground: left to itself Erlang starts one that outlives everybody.
            command = ["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"]
            self.epmd = self.launch(command, self.folder / "epmd.log")
            wait_for("epmd", self.epmd_answers, 10.0)
        super().spawn()

    def epmd_answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.epmd_port), timeout=1).close()
        except OSError:
            return False
        return True

    def answers(self):
        try:
            amqp.Connection(self.url(), timeout=2.0).close()
        except (OSError, amqp.AmqpError):
            return False
        return True

    def remove(self):
        super().remove()
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd.wait()

    def url(self, vhost=""):
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{vhost}"

    def ctl(self, *args):
        """Runs rabbitmqctl; returns what it prints.  Takes a second or two."""
        command = [self.program("rabbitmqctl"), "-q", "-n", self.node, *args]
        done = subprocess.run(command, env={**self.environment(), "detached": ""},
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"rabbitmqctl {' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout

    def join(self, first):
        """Becomes a node of the cluster of `first`, whose port mapper and cookie it uses.  Both are
        running; what this one held is gone."""
        self.ctl("stop_app")
        self.ctl("reset")
        self.ctl("join_cluster", first.node)
        self.ctl("start_app")

    @classmethod
    def cluster(cls, size):
        """Nodes of one cluster, running.  Kill any of them; remove() each, the first one last."""
        nodes = [cls() for _ in range(size)]
        first = nodes[0]
        for node in nodes[1:]:
            node.epmd_port = first.epmd_port
            node.set_cookie(first.cookie)
        first.start()
        for node in nodes[1:]:
            node.epmd = first.epmd  # one port mapper: by it they find each other
            node.spawn()
        for node in nodes[1:]:
            node.wait_ready()
            node.join(first)
        return nodes

    def memory_alarm(self, on):
        """Makes the broker block every publisher, as it does when memory runs out."""
        self.ctl("set_vm_memory_high_watermark", "0" if on else "0.4")


class Redis(Server):
    """Redis that keeps nothing on disk, since the product must not need it to; in production it
    keeps an append-only file, as those who keep their jobs in it must."""

    name = "redis"
    appendfsync = "everysec"

    def command(self):
        if not shutil.which("redis-server"):
            raise ServerError("Redis is not installed (Debian: redis-server)")
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
                str(self.folder), "--save", "", "--appendonly", "yes" if self.production else "no",
                "--appendfsync", self.appendfsync, "--maxmemory-policy", "noeviction",
                "--databases", "1024"]

    def ask(self, *words):
        """Sends one command; returns the first line of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
            parts = [f"*{len(words)}\r\n"] + [f"${len(w.encode())}\r\n{w}\r\n" for w in words]
            link.sendall("".join(parts).encode())
            return link.makefile("rb").readline().strip().decode()

    def answers(self):
        try:
            return self.ask("PING") == "+PONG"
        except OSError:
            return False

    def url(self, database=0):
        return f"redis://127.0.0.1:{self.port}/{database}"


class ModelServer(Server):
    """Our own model server (model_server.py) as a process."""

    name = "models"

    def command(self):
        return [sys.executable, str(HERE / "model_server.py"), "--port", str(self.port)]

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.url()}/control", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def url(self):
        return f"http://127.0.0.1:{self.port}"


class Aimock(Server):
    """npm's @copilotkit/aimock, a model server nobody here wrote (aimock/package.json).

    It is installed with `npm ci` below the build folder, from the lock files in aimock/; where
    the machine's Node.js is too old for it (Debian 12 has 18) a newer one comes the same way."""

    name = "aimock"
    node_needed = (20, 15)

    @classmethod
    def installed(cls, source):
        """The folder where the packages of one lock file are, installed now if they are not."""
        build = pathlib.Path(os.environ.get("AIPLAT_BUILD_DIR", HERE.parents[1] / "build"))
        target = build / "npm" / source.name
        lock = (source / "package-lock.json").read_bytes()
        stamp = target / "installed-lock.json"
        if not stamp.exists() or stamp.read_bytes() != lock:
            if not shutil.which("npm"):
                raise ServerError("npm is not installed (Debian: npm)")
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / "package.json", target)
            shutil.copy(source / "package-lock.json", target)
            done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=target,
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ServerError(f"npm ci in {target}: {done.stderr}")
            stamp.write_bytes(lock)
        return target / "node_modules"

    def node(self):
        found = shutil.which("node")
        if found:
            text = subprocess.run([found, "--version"], capture_output=True, text=True,
                                  check=True).stdout
            if tuple(int(part) for part in text.lstrip("v").split(".")[:2]) >= self.node_needed:
                return found
        return next(self.installed(HERE / "aimock" / "node").glob("node-linux-*/bin/node"))

    def prepare(self):
        self.script = self.installed(HERE / "aimock") / "@copilotkit/aimock/dist/cli.js"
        self.node_path = self.node()

    def command(self):
        return [self.node_path, str(self.script), "--host", "127.0.0.1", "--port",
                str(self.port), "--fixtures", str(HERE / "aimock" / "fixtures.json"), "--strict",
                "--log-level", "warn"]

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.url()}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def url(self):
        return f"http://127.0.0.1:{self.port}"


KINDS = {
    # RabbitMQ first: it takes longest to start.
    "rabbitmq": (RabbitMQ, "AIPLAT_TEST_RABBITMQ_URL"),
    "redis": (Redis, "AIPLAT_TEST_REDIS_URL"),
    "models": (ModelServer, "AIPLAT_TEST_MODEL_URL"),
    "aimock": (Aimock, "AIPLAT_TEST_AIMOCK_URL"),
    "postgres": (Postgres, "AIPLAT_TEST_DATABASE_URL"),
}
DEFAULT_KINDS = ("rabbitmq", "redis", "models", "postgres")  # those that need no network


def start_all(names):
    """Starts servers side by side; returns them by name.  On failure none is left running."""
    started = {}
    try:
        for name, (kind, _) in KINDS.items():
            if name in names:
                started[name] = kind()
                started[name].spawn()
        for server in started.values():
            server.wait_ready()
    except BaseException:
        remove_all()
        raise
    return started


@atexit.register
def remove_all():
    """Ends everything this process started and deletes its folders."""
    for server in list(_running):
        try:
            server.remove()
        except (OSError, ServerError) as error:
            print(f"servers: {error}", file=sys.stderr)


def exit_on_signals():
    """Turns SIGTERM and SIGHUP into an ordinary exit, which ends the servers; for main programs."""
    def leave(signum, _):
        sys.exit(128 + signum)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def exports(started):
    return {KINDS[name][1]: server.url() for name, server in started.items()}


def run_command(started, command):
    child = subprocess.Popen(command, env={**os.environ, **exports(started)})
    try:
        return child.wait()
    except BaseException:
        # Our own end is the command's end too: give it a moment to clean up, then insist.
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
        raise


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    forms = parser.add_subparsers(dest="form", required=True)
    for form, text in (("run", "run a command beneath the servers, exit with its code"),
                       ("up", "print the environment and stay until Ctrl-C")):
        one = forms.add_parser(form, help=text, description=text)
        for name in KINDS:
            one.add_argument(f"--{name}", action="store_true", help=f"start {name}")
        if form == "run":
            one.add_argument("command", nargs="+", help="the command, after --")
    args = parser.parse_args()
    chosen = [name for name in KINDS if getattr(args, name)] or list(DEFAULT_KINDS)
    exit_on_signals()
    try:
        started = start_all(chosen)
        if args.form == "run":
            code = run_command(started, args.command)
            return code if code >= 0 else 128 - code
        for name, value in exports(started).items():
            print(f"export {name}={value}", flush=True)
        print("# ready; Ctrl-C ends the servers", file=sys.stderr, flush=True)
        signal.pause()
    except ServerError as error:
        print(f"servers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except FileNotFoundError as error:
        print(f"servers: {error}", file=sys.stderr)
        return 127
    return 0


if __name__ == "__main__":
    sys.exit(main())
