"""Drives a probe (probe.h): a small program around one adapter that is told what to do by lines."""

import os
import pathlib
import subprocess
import threading
import time

BUILD = pathlib.Path(os.environ.get("AIPLAT_BUILD_DIR",
                                    pathlib.Path(__file__).resolve().parents[2] / "build"))


class Probe:
    """A running probe.  Lines it wrote are kept in order; waiting for some always ends."""

    def __init__(self, name, *arguments, env=None):
        program = BUILD / "tests" / "integration" / name
        self.lines = []
        self.seen = 0
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            [str(program), *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, bufsize=1, env={**os.environ, **(env or {})})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def send(self, *commands):
        for command in commands:
            self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def matching(self, prefix, since=0):
        with self.changed:
            return [line for line in self.lines[since:] if line.startswith(prefix)]

    def mark(self):
        with self.changed:
            return len(self.lines)

    def wait(self, prefix, count=1, timeout=20.0, since=0):
        """The first `count` lines that start so, written after the mark `since`."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                found = [line for line in self.lines[since:] if line.startswith(prefix)]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    tail = "\n".join(self.lines[-15:])
                    raise AssertionError(f"{len(found)} of {count} lines {prefix!r}; last:\n{tail}")

    def ask(self, command, prefix=None, timeout=20.0):
        """Sends a command and returns the one line that answers it."""
        mark = self.mark()
        self.send(command)
        return self.wait(prefix or command.split()[0], since=mark, timeout=timeout)[0]

    def until(self, command, answer, timeout=20.0):
        """Asks again and again until the answer starts so."""
        deadline = time.monotonic() + timeout
        while not (last := self.ask(command)).startswith(answer):
            assert time.monotonic() < deadline, f"{command}: still {last!r}"
            time.sleep(0.05)

    def logs(self):
        return "\n".join(self.matching("log "))

    def quit(self, timeout=10.0):
        """Closes the adapter in order; the sanitizers speak now, if they have something to say."""
        self.send("quit")
        code = self.process.wait(timeout)
        self.reader.join(5)
        assert code == 0 and self.lines[-1] == "closed", "\n".join(self.lines[-40:])

    def kill(self):
        self.process.kill()
        self.process.wait()
