"""Fixtures of the scenario tests: real servers, the built programs, and what a test asks of them.

pytest reads this file by itself.  The programs are found below AIPLAT_BUILD_DIR (default: build/
of the source tree).  Every test gets a database, queue, exchange and Redis database of its own on
servers shared by the whole run, and leaves nothing running.
"""

import itertools
import os
import pathlib
import secrets
import shutil
import signal
import sqlite3
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import amqp  # noqa: E402
import api as http_api  # noqa: E402
import programs  # noqa: E402
import servers as server_kinds  # noqa: E402

pytest.register_assert_rewrite("promises")

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_redis_databases = itertools.count(1)
_shared_sites = []


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true",
                     help="more of it: 20,000 jobs in the delivery test, minutes of overload, a cluster")
    parser.addoption("--network", action="store_true",
                     help="also the tests that fetch packages from npm and PyPI")


def pytest_configure(config):
    config.addinivalue_line("markers", "network: fetches packages; runs with --network only")
    server_kinds.exit_on_signals()


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--network"):
        for item in items:
            if item.get_closest_marker("network"):
                item.add_marker(pytest.mark.skip(reason="needs --network"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the last lines of every program's log beneath a failed test."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for site in item.__dict__.get("aiplat_sites", []) + _shared_sites:
            for program in site.programs:
                tail = "\n".join(program.log().splitlines()[-40:])
                code = program.process.poll() if program.process else "never started"
                report.sections.append((f"{program.name} (exit code {code})", tail))


# -- a place where programs run --------------------------------------------------------------


class Site:
    """A set of programs that work together, their settings, and ways to look at them."""

    def __init__(self, folder, settings):
        self.folder = pathlib.Path(folder)
        self.programs = []
        self.keys = {"OPENAI_API_KEY": f"sk-openai-{secrets.token_hex(12)}",
                     "ANTHROPIC_API_KEY": f"sk-ant-{secrets.token_hex(12)}"}
        self.settings = {"LOG_LEVEL": "debug", "AIPLAT_DRAIN_TIMEOUT_MS": 2000, **self.keys,
                         **settings}
        self.api = None

    def program(self, name, arguments=(), **settings):
        """Starts a program of ours with the site's settings and these."""
        number = sum(1 for p in self.programs if p.command[-1 - len(arguments)].endswith(name))
        label = f"{name}-{number + 1}"
        one = programs.Program(name, list(arguments), {**self.settings, **settings}, self.folder,
                               label)
        self.programs.append(one)
        return one.start()

    def listener(self, name, arguments=(), port=None, until="/ready", **settings):
        """Starts a program that serves HTTP and waits until it answers `until` with 200."""
        port = port or server_kinds.free_port()
        settings.setdefault("AIPLAT_LISTEN", f"127.0.0.1:{port}")
        one = self.program(name, arguments, **settings)
        one.port = port
        self.api = one.api = http_api.JobsApi(f"http://127.0.0.1:{port}")
        wait_for_200(one, until)
        return one

    def ctl(self, *arguments, stdin="", timeout=30.0, **settings):
        """Runs aiplatctl to its end with the site's settings."""
        if self.api:
            settings.setdefault("AIPLAT_URL", self.api.url)
        return programs.run("aiplatctl", *arguments, settings={**self.settings, **settings},
                            folder=self.folder, stdin=stdin, timeout=timeout)

    def logs(self):
        return "".join(program.log() for program in self.programs)

    def stop(self):
        """Ends every program, orderly first; then looks for what must never be in a log."""
        for program in self.programs:
            if program.is_running():
                program.thaw()
                program.term()
        stuck = []
        for program in self.programs:
            try:
                program.wait(10)
            except AssertionError:
                stuck.append(program.name)
                program.kill9()
        logs = self.logs()
        assert not stuck, f"SIGTERM was not enough for {stuck}"
        for program in self.programs:
            code = -program.process.returncode
            assert code not in CRASHES, f"{program.name} crashed: {signal.strsignal(code)}"
        for sign in ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer",
                     "WARNING: ThreadSanitizer"):
            assert sign not in logs, f"a sanitizer complains:\n{logs[logs.find(sign) - 200:]}"
        for key in self.keys.values():
            assert key not in logs, "an API key is in a log"


def wait_for_200(program, path, timeout=15.0):
    """Waits until a program answers `path` with 200."""
    deadline = time.monotonic() + timeout
    while True:
        assert program.is_running(), f"{program.name} ended with {program.process.returncode}"
        try:
            if program.api.get(path).status == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"{program.name}: no 200 on {path} in {timeout} s"
        time.sleep(0.005)


class EmbeddedSite(Site):
    """`aiplatctl dev`: everything in one process, on SQLite."""

    kind = "dev"

    def __init__(self, folder, settings):
        super().__init__(folder, settings)
        self.database = self.folder / "aiplat.db"
        self.settings["DATABASE_URL"] = f"sqlite:///{self.database}"

    def start(self, **settings):
        self.listener("aiplatctl", ["dev"], **settings)
        return self

    def sql(self, text):
        """Runs SQL in the store, as somebody with the sqlite3 shell would."""
        connection = sqlite3.connect(self.database, timeout=10)
        try:
            with connection:
                rows = connection.execute(text).fetchall()
        finally:
            connection.close()
        return [["" if value is None else str(value) for value in row] for row in rows]

    def dump(self):
        """Every byte the store holds."""
        return b"".join(path.read_bytes() for path in self.folder.glob("aiplat.db*"))


class ServedSite(Site):
    """Gateway and workers on PostgreSQL, RabbitMQ and Redis."""

    kind = "servers"

    def __init__(self, folder, settings, servers):
        super().__init__(folder, settings)
        self.servers = servers
        self.postgres, self.rabbitmq = servers["postgres"], servers["rabbitmq"]
        self.redis = servers["redis"]
        self.database = self.postgres.create_database()
        self.queue, self.exchange = f"{self.database}_tasks", f"{self.database}_events"
        self.settings.update(
            DATABASE_URL=self.postgres.url(self.database), RABBITMQ_URL=self.rabbitmq.url(),
            REDIS_URL=self.redis.url(next(_redis_databases)), RABBITMQ_TASK_QUEUE=self.queue,
            RABBITMQ_EVENT_EXCHANGE=self.exchange)

    def start(self, **settings):
        self.gateway(**settings)
        self.worker(**settings)
        return self

    def gateway(self, **settings):
        return self.listener("aiplat-gateway", **settings)

    def worker(self, **settings):
        return self.program("aiplat-worker", **settings)

    def workers(self, number, **settings):
        return [self.worker(**settings) for _ in range(number)]

    def sql(self, text):
        return self.postgres.sql(text, self.database)

    def dump(self):
        rows = [self.sql(f"SELECT * FROM {name}") for (name,) in self.sql(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")]
        return repr(rows).encode()

    def queue_depth(self):
        """Messages ready in the task queue."""
        with amqp.Connection(self.rabbitmq.url()) as connection:
            return connection.queue_depth(self.queue)[0]

    def let_queue_settle(self):
        """Waits until RabbitMQ has the queue itself on disk.  It writes the names of quorum queues
        half a second after the last change (3.10); one that loses its broker sooner comes back
        without a leader and stays dead, whoever its clients are."""
        time.sleep(2)

    def listen(self):
        """A connection that hears every domain event from now on; the caller closes it."""
        connection = amqp.Connection(self.rabbitmq.url())
        connection.listen(self.exchange)
        return connection

    def remove(self):
        try:
            with amqp.Connection(self.rabbitmq.url()) as connection:
                connection.delete_queue(self.queue)
                connection.delete_exchange(self.exchange)
        except (OSError, amqp.AmqpError):
            pass
        self.postgres.drop_database(self.database)


# -- fixtures --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_servers():
    """PostgreSQL, RabbitMQ and Redis for the whole run."""
    started = server_kinds.start_all(["rabbitmq", "redis", "postgres"])
    yield started
    for server in started.values():
        server.remove()


@pytest.fixture
def servers(shared_servers):
    """The shared servers; a test may kill, freeze and stop them, they are mended behind it."""
    yield shared_servers
    for server in shared_servers.values():
        if server.is_running():
            server.thaw()
        else:
            server.spawn()
    for server in shared_servers.values():
        server.wait_ready()


@pytest.fixture(scope="session")
def model_process():
    with server_kinds.ModelServer() as server:
        yield server


@pytest.fixture
def model_server(model_process):
    """Our model server, obedient and with an empty log."""
    control = http_api.ModelControl(model_process.url())
    control.reset()
    return control


@pytest.fixture(scope="session")
def aimock():
    with server_kinds.Aimock() as server:
        yield server


@pytest.fixture
def folder():
    """A short-lived folder, which SQLite and sockets may fill; kept when AIPLAT_KEEP is set."""
    path = tempfile.mkdtemp(prefix="aiplat-scenario-")
    yield pathlib.Path(path)
    if not os.environ.get("AIPLAT_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def model_settings(model_server):
    """Settings that send every provider's calls to our model server."""
    return {"OPENAI_BASE_URL": f"{model_server.url}/v1", "ANTHROPIC_BASE_URL": model_server.url}


def _remember(request, site):
    request.node.__dict__.setdefault("aiplat_sites", []).append(site)


@pytest.fixture
def dev(request, folder, model_settings):
    """An embedded site; nothing is started yet."""
    site = EmbeddedSite(folder, model_settings)
    _remember(request, site)
    yield site
    site.stop()


@pytest.fixture
def served(request, folder, servers, model_settings):
    """A site on real servers; nothing is started yet."""
    site = ServedSite(folder, model_settings, servers)
    _remember(request, site)
    yield site
    try:
        site.stop()
    finally:
        for server in servers.values():
            if server.is_running():
                server.thaw()
            else:
                server.start()
        site.remove()


@pytest.fixture(params=["dev", "servers"])
def site(request):
    """Started: the test runs once on the embedded default and once on real servers."""
    name = {"dev": "dev", "servers": "served"}[request.param]
    return request.getfixturevalue(name).start()


@pytest.fixture
def jobs(site):
    """The HTTP API of a started site."""
    return site.api


@pytest.fixture(scope="module")
def running_dev(request, model_process):
    """One embedded site shared by a whole file of tests that cannot disturb each other."""
    path = tempfile.mkdtemp(prefix="aiplat-scenario-")
    settings = {"OPENAI_BASE_URL": f"{model_process.url()}/v1",
                "ANTHROPIC_BASE_URL": model_process.url()}
    one = EmbeddedSite(path, settings).start()
    _shared_sites.append(one)
    yield one
    _shared_sites.remove(one)
    try:
        one.stop()
    finally:
        shutil.rmtree(path, ignore_errors=True)
