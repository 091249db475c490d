"""What the peers share: installing from a committed lock file, once, and running a program of a
peer's to its last line.

Used by bench/peers/*/peer.py. It installs into the peer's cache folder alone, never into the tree,
and knows nothing of any one platform.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

from bench.lib.peer import BenchError, Peer

STAMP = "installed"


def client_environment():
    """For pip and npm: what the user configured for them, less what would write into the tree."""
    return {name: value for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "NODE_PATH", "VIRTUAL_ENV")}


def run_visibly(command, folder):
    """An installer's command; its output is shown only when it fails."""
    done = subprocess.run([str(word) for word in command], cwd=folder, env=client_environment(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, command))}\n{done.stdout}")


class InstalledPeer(Peer):
    """A peer whose versions `manifests` name; install_into() fills an empty folder."""

    manifests = ()

    def fingerprint(self):
        digest = hashlib.sha256()
        for manifest in self.manifests:
            digest.update((self.home / manifest).read_bytes())
        return digest.hexdigest()

    def install(self):
        stamp = self.cache / STAMP
        if stamp.exists() and stamp.read_text() == self.fingerprint():
            return
        print(f"{self.home.name}: installing into {self.cache}", file=sys.stderr, flush=True)
        shutil.rmtree(self.cache, ignore_errors=True)
        self.cache.mkdir(parents=True)
        self.install_into(self.cache)
        stamp.write_text(self.fingerprint())

    def install_into(self, folder):
        raise NotImplementedError

    def interpreter(self):
        """The words before a program's own."""
        raise NotImplementedError

    def program(self, command, options, label="load", timeout=600.0):
        """Runs `program COMMAND OPTIONS` to its end; returns the figures it printed last."""
        process = self.spawn_program(command, options, label)
        deadline = time.monotonic() + timeout
        while process.is_running():
            if time.monotonic() > deadline:
                process.stop()
                raise BenchError(f"{self.name} {command}: not done within {timeout:.0f} s\n"
                                 f"{process.log_tail()}")
            time.sleep(0.01)
        self.processes.remove(process)
        if process.process.returncode != 0:
            raise BenchError(f"{self.name} {command}\n{process.log_tail()}")
        return json.loads(process.log_tail(1))

    def spawn_program(self, command, options, label, ready=None):
        words = [*self.interpreter(), command, json.dumps(options)]
        process = self.spawn(words, label)
        if ready:
            process.wait_until(lambda: ready in process.log_path.read_text(errors="replace"))
        return process


class NodePeer(InstalledPeer):
    """A peer on Node.js: package.json, package-lock.json, program.js."""

    manifests = ("package.json", "package-lock.json")
    package = ""

    def install_into(self, folder):
        for manifest in self.manifests:
            shutil.copy(self.home / manifest, folder)
        # The lock file's versions and hashes, as `npm ci`, which however refuses a lock file
        # that leaves out an optional package for another operating system.
        run_visibly(["npm", "install", "--no-save", "--omit=dev", "--ignore-scripts",
                     "--no-audit", "--no-fund"], folder)

    def environment(self):
        return {**super().environment(), "NODE_ENV": "production",
                "NODE_PATH": str(self.cache / "node_modules")}

    def interpreter(self):
        return ["node", self.home / "program.js"]

    def version(self):
        package = self.cache / "node_modules" / self.package / "package.json"
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
        return (f"{json.loads(package.read_text())['version']}, "
                f"Node.js {node.stdout.strip().removeprefix('v')}")


class PythonPeer(InstalledPeer):
    """A peer on Python: requirements.txt with every version pinned, in a virtual environment."""

    manifests = ("requirements.txt",)
    package = ""

    def install_into(self, folder):
        run_visibly([sys.executable, "-m", "venv", folder / "venv"], folder)
        run_visibly([self.python(), "-m", "pip", "install", "--quiet", "--no-deps",
                     "-r", self.home / "requirements.txt"], folder)

    def python(self):
        return self.cache / "venv" / "bin" / "python"

    def environment(self):
        return {**super().environment(), "PYTHONPATH": str(self.home),
                "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}

    def interpreter(self):
        return [self.python(), "-m", "program"]

    def version(self):
        ask = ("import sys, importlib.metadata as m; "
               f"print(m.version({self.package!r}) + ', Python %d.%d.%d' % sys.version_info[:3])")
        done = subprocess.run([self.python(), "-c", ask], capture_output=True, text=True,
                              check=True)
        return done.stdout.strip()
