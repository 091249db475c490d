"""The servers that ours and the peers run on: one of each, configured as in production, shared by a
whole run, and empty for whoever comes next.

A *stage* is what one contender gets for one round: an empty PostgreSQL database after a checkpoint,
an empty RabbitMQ virtual host, an empty Redis, and the model server. Servers that it does not need
are frozen meanwhile, so that they take nothing from it.
"""

import dataclasses
import json
import pathlib
import secrets
import shutil
import socket
import ssl
import subprocess
import urllib.request

from .processes import BenchError, Process, ROOT, support  # noqa: F401


@dataclasses.dataclass
class Endpoint:
    """One server as a contender sees it."""

    url: str
    pid: int


class FastModels(support.Server):
    """bench/model_server.c as a process: answers at once, or after a delay."""

    name = "bench-models"

    def __init__(self, binary, delay_ms=0):
        self.binary, self.delay_ms = binary, delay_ms
        super().__init__(production=True)

    def command(self):
        return [str(self.binary), "--port", str(self.port), "--delay", str(self.delay_ms)]

    def answers(self):
        try:
            return self.stats() is not None
        except OSError:
            return False

    def ask(self, path, method="GET"):
        request = urllib.request.Request(self.base() + path, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def stats(self):
        """{"requests": n, "open": n, "most_open": n, …} since the start or the last reset."""
        return self.ask("/stats")

    def seen(self):
        """[{"key", "model", "calls", "first_ns"}] since then."""
        return self.ask("/seen")

    def set_delay(self, delay_ms):
        self.ask(f"/delay/{delay_ms}", "POST")

    def reset(self):
        self.ask("/reset", "POST")

    def base(self):
        return f"http://127.0.0.1:{self.port}"

    def url(self):
        return f"{self.base()}/v1"


class ModelsOverH2(FastModels):
    """bench/model_server_h2.mjs: the same over HTTP/2 and TLS, by a certificate of its own."""

    name = "bench-models-h2"

    def __init__(self):
        super().__init__(shutil.which("node"))
        if not self.binary:
            raise BenchError("node is not there: Debian's nodejs, or another of version 18 or newer")

    def prepare(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        self.folder / "key.pem", "-out", self.certificate()],
                       check=True, capture_output=True)

    def certificate(self):
        return self.folder / "certificate.pem"

    def command(self):
        script = pathlib.Path(__file__).resolve().parents[1] / "model_server_h2.mjs"
        return [self.binary, str(script), str(self.port), str(self.folder / "key.pem"),
                str(self.certificate())]

    def ask(self, path, method="GET"):
        request = urllib.request.Request(self.base() + path, method=method)
        trust = ssl.create_default_context(cafile=self.certificate())
        with urllib.request.urlopen(request, timeout=5, context=trust) as answer:
            return json.load(answer)

    def base(self):
        return f"https://127.0.0.1:{self.port}"


class Stage:
    """.postgres, .rabbitmq, .redis, .models: Endpoints, None where not asked for."""

    def __init__(self, site, needs):
        self.site, self.needs = site, needs
        self.postgres = self.rabbitmq = self.redis = self.models = None
        name = f"b_{secrets.token_hex(4)}"
        if "postgres" in needs:
            server = site.server("postgres")
            server.sql(f"CREATE DATABASE {name}")
            server.sql("CHECKPOINT")
            self.database = name
            self.postgres = Endpoint(server.url(name), server.pid())
        if "rabbitmq" in needs:
            server = site.server("rabbitmq")
            self.vhost = name
            site.erlang(
                f'rabbit_vhost:add(<<"{name}">>, <<"bench">>), rabbit_auth_backend_internal:'
                f'set_permissions(<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"bench">>)')
            self.rabbitmq = Endpoint(server.url(name), server.pid())
        for redis in ("redis", "redis-always"):
            if redis in needs:
                server = site.server(redis)
                server.ask("FLUSHALL", "SYNC")
                self.redis = Endpoint(server.url(), server.pid())
        for models in ("models", "models-h2"):
            if models in needs:
                server = self.model_server = site.server(models)
                server.set_delay(0)
                server.reset()
                self.models = Endpoint(server.url(), server.pid())

    def sql(self, text):
        """Rows, as lists of strings, from the contender's database."""
        return self.site.server("postgres").sql(text, self.database)

    def count(self, text):
        return int(self.sql(text)[0][0])

    def queue_depth(self, queue):
        with support.amqp.Connection(self.rabbitmq.url) as connection:
            return connection.queue_depth(queue)[0]

    def pids(self):
        found = {"postgres": self.postgres, "rabbitmq": self.rabbitmq, "redis": self.redis,
                 "model server": self.models}
        return {label: end.pid for label, end in found.items() if end}

    def close(self):
        """Leaves nothing behind that would keep a server busy while the next one is measured."""
        if self.postgres:
            self.site.server("postgres").drop_database(self.database)
        if self.rabbitmq:
            self.site.erlang(f'rabbit_vhost:delete(<<"{self.vhost}">>, <<"bench">>)')
        if self.redis:
            name = "redis-always" if "redis-always" in self.needs else "redis"
            self.site.server(name).ask("FLUSHALL", "SYNC")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RedisAlways(support.Redis):
    name = "redis-always"
    appendfsync = "always"


class Site:
    """All servers of a run. They start when first needed."""

    KINDS = {"postgres": support.Postgres, "rabbitmq": support.RabbitMQ, "redis": support.Redis,
             "redis-always": RedisAlways}

    def __init__(self, model_server):
        self.model_server = model_server
        self.running, self.frozen = {}, set()

    def server(self, name):
        if name not in self.running:
            made = (FastModels(self.model_server) if name == "models"
                    else ModelsOverH2() if name == "models-h2"
                    else self.KINDS[name](production=True))
            self.running[name] = made.start()
        return self.running[name]

    def stage(self, needs):
        """The servers in `needs`, empty and awake; all others frozen."""
        needs = set(needs)
        for name, server in self.running.items():
            if name in needs and name in self.frozen:
                server.thaw()
                self.frozen.discard(name)
            elif name not in needs and name not in self.frozen:
                server.freeze()
                self.frozen.add(name)
        return Stage(self, needs)

    def erlang(self, expression):
        """Runs an expression in the broker's Erlang machine: one start of rabbitmqctl, not three."""
        return self.server("rabbitmq").ctl("eval", f"{expression}.")

    def forget_ended(self):
        """After a failure: a server that ended is started anew by the next who needs it."""
        for name, server in list(self.running.items()):
            if not server.is_running():
                del self.running[name]
                self.frozen.discard(name)
                server.remove()

    def close(self):
        for server in list(self.running.values()):
            server.remove()
        self.running.clear()


def port_is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False
