"""PostgreSQL restarted, killed, frozen, without connections, on a full disk, and slow."""

import os
import signal
import socket
import struct
import threading
import time

from faults import Fault
from servers import process_tree


class PostgresFault(Fault):
    targets, rest = ("postgres",), 10.0


class RestartedFast(PostgresFault):
    name, lasts = "postgres.restarted_fast", (0.0, 3.0)

    def strike(self):
        self.stage.postgres.stop()

    def heal(self):
        self.stage.postgres.start()


class RestartedImmediately(PostgresFault):
    """As if the machine lost power: recovery from the log when it starts."""

    name, lasts = "postgres.restarted_immediately", (0.0, 3.0)

    def strike(self):
        self.stage.postgres.stop_immediately()

    def heal(self):
        self.stage.postgres.start()


class Killed(RestartedImmediately):
    name = "postgres.killed"

    def strike(self):
        self.stage.postgres.kill9()


class Frozen(PostgresFault):
    name, lasts = "postgres.frozen", (2.0, 15.0)

    def strike(self):
        self.stage.postgres.freeze()

    def heal(self):
        self.stage.postgres.thaw()


class BackendsTerminated(PostgresFault):
    """pg_terminate_backend on everybody, a few times over."""

    name = "postgres.backends_terminated"

    def strike(self):
        ended = 0
        for _ in range(self.rng.randint(1, 3)):
            ended += len(self.stage.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"))
            time.sleep(self.rng.uniform(0.0, 1.0))
        return {"backends": ended}


class BackendKilled(PostgresFault):
    """kill -9 of one backend: the server throws out all the others and recovers."""

    name = "postgres.backend_killed"

    def strike(self):
        rows = self.stage.sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                              " AND pid <> pg_backend_pid() ORDER BY state_change DESC LIMIT 1")
        for (pid,) in rows:
            if int(pid) in process_tree(self.stage.postgres.pid()):
                os.kill(int(pid), signal.SIGKILL)


class StatementsCancelled(PostgresFault):
    """pg_cancel_backend on whatever runs, many times a second."""

    name, lasts = "postgres.statements_cancelled", (2.0, 4.0)

    def strike(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.cancel, daemon=True)
        self.thread.start()

    def cancel(self):
        while not self.over.is_set():
            self.stage.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state ="
                           " 'active' AND datname = current_database() AND pid <> pg_backend_pid()")
            time.sleep(0.02)

    def heal(self):
        self.over.set()
        self.thread.join()


class ConnectionsExhausted(PostgresFault):
    """Somebody else holds every connection the server has, and the programs have lost theirs."""

    name, lasts = "postgres.connections_exhausted", (3.0, 8.0)

    def connect(self):
        """A backend of ours, or None when the server has no more."""
        link = socket.create_connection(("127.0.0.1", self.stage.postgres.port), timeout=5.0)
        body = struct.pack(">I", 196608) + b"user\0postgres\0database\0postgres\0\0"
        link.sendall(struct.pack(">I", len(body) + 4) + body)
        heard = b""
        while not heard.endswith(b"Z\0\0\0\x05I"):
            data = link.recv(4096)
            if not data:
                link.close()
                return None
            heard += data
        return link

    def strike(self):
        self.links = []
        self.fill()
        query = (b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"
                 + self.stage.database.encode() + b"'\0")
        self.links[0].sendall(b"Q" + struct.pack(">I", len(query) + 4) + query)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.keep_full, daemon=True)
        self.thread.start()

    def fill(self):
        while link := self.connect():
            self.links.append(link)

    def keep_full(self):
        while not self.over.is_set():
            self.fill()
            time.sleep(0.01)

    def heal(self):
        self.over.set()
        self.thread.join()
        for link in self.links:
            link.close()


class SlowCommit(PostgresFault):
    """Each commit waits for company that is not there."""

    name, lasts = "postgres.commits_delayed", (4.0, 8.0)

    def strike(self):
        self.stage.sql("ALTER SYSTEM SET commit_delay = 100000")
        self.stage.sql("ALTER SYSTEM SET commit_siblings = 0")
        self.stage.sql("SELECT pg_reload_conf()")

    def heal(self):
        self.stage.sql("ALTER SYSTEM RESET commit_delay")
        self.stage.sql("ALTER SYSTEM RESET commit_siblings")
        self.stage.sql("SELECT pg_reload_conf()")


class TablesLocked(PostgresFault):
    """Somebody locks the jobs as a careless migration does, longer than the programs wait."""

    name, lasts = "postgres.tables_locked", (0.0, 0.0)

    def strike(self):
        seconds = self.rng.uniform(2.0, 11.0)
        self.stage.sql("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE;"
                       f" SELECT pg_sleep({seconds:.1f}); COMMIT")
        return {"seconds": round(seconds, 1)}


class DiskFault(PostgresFault):
    """What disk_fault.so does to the server's files, by a file in the folder it looks at."""

    def flag(self, name):
        return self.stage.postgres.disk / name

    @classmethod
    def is_possible(cls, stage):
        return stage.has_disk_faults()

    def strike(self):
        self.flag(self.rule).write_text(self.value)

    def heal(self):
        self.flag(self.rule).unlink()


class DiskFull(DiskFault):
    """No file of the tables can grow: 53100 wherever a new page is needed."""

    name, lasts, rule, value = "postgres.disk_full", (4.0, 8.0), "data-full", ""


class LogDiskFull(DiskFault):
    """The write-ahead log cannot be written: the server panics and recovers again and again."""

    name, lasts, rule, value = "postgres.log_disk_full", (2.0, 5.0), "log-full", ""

    def heal(self):
        super().heal()
        if not self.stage.postgres.is_running():  # gave up: recovery could not write either
            self.stage.postgres.spawn()
        self.stage.postgres.wait_ready()


class SlowDisk(DiskFault):
    """Each flush of the log takes most of a second."""

    name, lasts, rule, value = "postgres.disk_slow", (5.0, 9.0), "sync-ms", "700"


class VerySlowDisk(DiskFault):
    """A flush takes longer than the programs wait for an answer."""

    name, lasts, rule, value = "postgres.disk_stuck", (7.0, 12.0), "sync-ms", "7000"
