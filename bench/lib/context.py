"""What a case is given: the servers, our contenders' and the peers' rounds one after the other, and a
voice on the terminal.
"""

import sys
import time

from . import ours as our_programs
from .processes import BenchError
from .result import OURS, Result


class Terminal:
    """Lines that stay and one that is overwritten; on stderr when stdout is for a machine."""

    def __init__(self, stream):
        self.stream, self.is_live = stream, stream.isatty()
        self.passing = False

    def line(self, text=""):
        if self.passing:
            self.stream.write("\r\033[K")
            self.passing = False
        print(text, file=self.stream, flush=True)

    def live(self, text):
        if self.is_live:
            self.stream.write(f"\r\033[K{text[:110]}")
            self.stream.flush()
            self.passing = True


class Context:
    def __init__(self, site, terminal, peers, rounds=3, quick=False, budget=None,
                 deadline=None):
        self.site, self.terminal, self.peers = site, terminal, peers
        self.rounds, self.quick = rounds, quick
        self.budget = budget      # seconds a case may take before peers lose further rounds
        self.deadline = deadline  # on the monotonic clock; then nobody has further rounds
        self.rates = {}           # (peer, capability) → jobs/s, for the size of the next round

    def seconds(self):
        """How long a steady load is measured."""
        return 3 if self.quick else 7

    def result(self, name, work, target, metrics):
        """Begins a case."""
        self.current = Result(name, work, target, metrics)
        self.began = time.monotonic()
        self.terminal.line(f"{name}: {work}")
        return self.current

    def say(self, contender, text):
        self.terminal.line(f"  {contender:<34} {text}")

    def live(self, text):
        self.terminal.live(f"  … {text}")

    def peers_that(self, capability):
        return [peer for peer in self.peers if capability in peer.capabilities]

    def stage(self, needs=our_programs.NEEDS, more=()):
        return self.site.stage(set(needs) | set(more))

    def interleave(self, contenders, rounds=None):
        """Runs [(name, function)] one after the other, round by round. A failure of ours ends the
        case; that of a peer ends the peer's part in it. Either way the whole run has failed."""
        rounds = rounds or self.rounds
        out = set()
        for number in range(rounds):
            if number > 0 and self.deadline and time.monotonic() > self.deadline:
                self.current.fact(f"The run took too long: {number} of {rounds} rounds.")
                break
            for name, work in contenders:
                is_late = self.budget and time.monotonic() - self.began > self.budget
                if name in out or (is_late and name in {peer.name for peer in self.peers}
                                   and number > 0):
                    continue
                self.live(f"{self.current.name}: {name}, round {number + 1} of {rounds}")
                try:
                    work()
                except Exception as error:
                    if name not in {peer.name for peer in self.peers}:
                        raise
                    out.add(name)
                    self.current.failures.append(f"{name}: {error}")
                    self.say(name, f"FAILED: {error}")

    def run_peer(self, peer, work, more=()):
        """`work(stage)` between the peer's start and stop, on a stage of its own."""
        with self.stage(peer.needs, more) as stage:
            try:
                peer.start(stage)
                work(stage)
            finally:
                peer.stop()

    def peer_size(self, peer, capability, most):
        """How many jobs take a peer some seconds: few at first, then by the rate it has shown."""
        wanted = 2 if self.quick else 6
        rate = self.rates.get((peer.name, capability))
        if rate is None:
            return min(most, 3000)
        return int(min(most, max(1000, round(rate * wanted, -3))))

    def sized(self, peer, capability, most, work):
        """work(n) → seconds, once more with the right n when the first one was too short to mean
        anything. `work` begins from an empty stage each time. Returns (n, seconds)."""
        for _ in range(2):
            n = self.peer_size(peer, capability, most)
            seconds = work(n)
            if not seconds > 0:
                raise BenchError(f"{n} jobs in {seconds} s")
            is_first = (peer.name, capability) not in self.rates
            self.rates[(peer.name, capability)] = n / seconds
            if not is_first or n == most:
                break
        return n, seconds


__all__ = ["BenchError", "Context", "OURS", "Terminal"]
