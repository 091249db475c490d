"""One fault run from its beginning to its judgement.

Called by tests/fault/run.  It makes the plan, starts the stage and the load, lets the faults
strike, waits until everything is quiet, writes down what the store holds, measures the recoveries, and asks
tests/fault/check for its judgement.  It must never decide itself whether a job was handled rightly.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "support"))
import faults  # noqa: E402
import programs  # noqa: E402
import recovery  # noqa: E402
import schedule  # noqa: E402
import servers  # noqa: E402
import stage as stages  # noqa: E402

BURST = 900              # jobs of the warm-up, above the concurrency of all workers together: each
                         # then has as many connections to the models as it keeps, as after an outage
WARM_UP, BASELINE = 5.0, 3.0  # seconds: of load, then of none, before the run
QUIET = 13.0             # seconds that everything is left alone at the end
IDLE = 35.0              # seconds after which idle connections to the models are closed: in long
                         # runs both levels are taken then, and next to nothing may have been added
IDLE_FROM = 300.0        # seconds of faults, below which that would take too large a part of the run
SAMPLE_EVERY = 0.5       # seconds; the levels are means over three seconds or more
COOL_DOWN = 8.0          # of load after the last fault, in the long form
QUIET_WITHIN = 90.0      # seconds after the load's end in which everything accepted must have ended
LEAST_JOBS_A_SECOND = 5  # fewer accepted than this is no test
HARNESS_ERRORS = (OSError, ValueError, AssertionError, LookupError, subprocess.SubprocessError,
                  servers.ServerError, servers.amqp.AmqpError)


def arguments():
    parser = argparse.ArgumentParser(
        prog="tests/fault/run", description="Every accepted job ends once, under any fault.")
    parser.add_argument("--minutes", type=float, default=2.0, help="of faults (2)")
    parser.add_argument("--seed", type=int, help="of the plan and the load (chosen and printed)")
    parser.add_argument("--short", action="store_true", help="the fixed plan of ./check")
    parser.add_argument("--only", default="", metavar="FAULT,…", help="faults or families")
    parser.add_argument("--rate", type=float, default=60.0, help="jobs a second (60)")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a good run, too")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    parser.add_argument("--log-level", default="info", help="of our programs (info)")
    parser.add_argument("--junit", metavar="FILE", help="also write the result as JUnit does")
    return parser.parse_args()


def build():
    """A build with fault points, unless AIPLAT_BUILD_DIR names one."""
    if "AIPLAT_BUILD_DIR" in os.environ:
        return
    folder = programs.REPOSITORY / "build-fault"
    os.environ["AIPLAT_BUILD_DIR"] = str(folder)
    if not (folder / "build.ninja").exists():
        subprocess.run(["meson", "setup", folder, "-Dfault_points=true"], cwd=programs.REPOSITORY,
                       check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(["ninja", "-C", folder, *stages.BUILT], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise SystemExit(done.stdout[-4000:])


class Locks:
    """What a fault occupies, while it lasts longer than the plan had thought."""

    def __init__(self):
        self.busy = set()
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, names):
        with self.changed:
            self.changed.wait_for(lambda: not names & self.busy)
            self.busy |= names
        try:
            yield
        finally:
            with self.changed:
                self.busy -= names
                self.changed.notify_all()


class Run:
    """One run."""

    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        self.stage = stages.Stage(folder, args.log_level)
        self.locks = Locks()
        self.problems = []  # of the harness itself
        self.done = threading.Event()

    def make_plan(self):
        kinds = faults.all_faults()
        possible = {name: kind for name, kind in kinds.items() if kind.is_possible(self.stage)}
        self.impossible = sorted(kinds.keys() - possible.keys())
        self.kinds = possible
        if self.args.short:
            self.seconds = schedule.SHORT_SECONDS
            return schedule.short_plan(self.args.seed, possible)
        self.seconds = self.args.minutes * 60.0
        only = [one for one in self.args.only.split(",") if one]
        return schedule.plan(self.args.seed, self.seconds, schedule.chosen(possible, only))

    # -- while it runs ------------------------------------------------------------------------

    def strike(self, planned):
        """One fault from strike to heal, in a thread of its own."""
        kind = self.kinds[planned.fault]
        fault = kind(self.stage, planned.target, random.Random(planned.seed))
        entry = {"fault": planned.fault, "target": planned.target, "round": planned.round,
                 "alone": planned.alone, "detail": None}
        with self.locks.hold(kind.occupies(planned.target)):
            entry["t0"] = time.time()
            try:
                entry["detail"] = fault.strike()
                time.sleep(planned.seconds)
            except HARNESS_ERRORS as error:
                self.problems.append(f"{planned.fault} {planned.target}: {error!r}")
            try:
                fault.heal()
            except HARNESS_ERRORS as error:
                self.problems.append(f"{planned.fault} {planned.target}, its end: {error!r}")
            entry["t1"] = time.time()
        self.stage.write("faults.jsonl", entry)
        self.say(f"{entry['t0'] - self.began:7.1f} s  {planned.fault} {planned.target}, "
                 f"{entry['t1'] - entry['t0']:.1f} s {entry['detail'] or ''}")

    def say(self, text):
        if not self.args.json:
            print(text, flush=True)

    def sample(self):
        """resources.jsonl, all the time."""
        with open(self.folder / "resources.jsonl", "a", encoding="utf-8") as out:
            while not self.done.wait(SAMPLE_EVERY):
                for member in list(self.stage.members.values()):
                    self.stage.bound_log(member)
                    one = sample_of(member)
                    if one:
                        out.write(json.dumps(one) + "\n")
                out.flush()

    def warm_up(self):
        """Load that every process has its share of, then none: what is then held is the level to
        which everything must come back."""
        self.stage.start_load(self.args.rate, 0, BURST)
        self.supervise_for(WARM_UP)
        self.end_load()
        self.become_quiet()
        self.supervise_for(self.idle_seconds())
        began = time.time()
        self.supervise_for(BASELINE)
        self.baseline = [began, time.time()]

    def play(self, plan):
        """Everything between the first request and the last."""
        self.stage.start_load(self.args.rate, self.args.seed)
        self.began = time.time()
        began, threads, waiting = time.monotonic(), [], sorted(plan, key=lambda one: one.at)
        rest_over, number = 0.0, None
        while waiting or threads or time.monotonic() - began < self.seconds:
            now = time.monotonic() - began
            while waiting and waiting[0].at <= now:
                if waiting[0].round != number and not self.args.short:
                    if threads or now < rest_over:
                        break  # the last round took longer than planned: it gets its rest
                    began += now - waiting[0].at
                    number = waiting[0].round
                one = waiting.pop(0)
                thread = threading.Thread(target=self.strike, args=(one,), daemon=True)
                thread.start()
                threads.append(thread)
            self.stage.supervise()
            if threads:
                rest_over = now + max(self.kinds[one.fault].rest for one in plan
                                      if one.round == number or self.args.short)
            threads = [one for one in threads if one.is_alive()]
            time.sleep(0.05)
        self.supervise_for(0.0 if self.args.short else COOL_DOWN)

    def supervise_for(self, seconds, until=lambda: False):
        """The supervisor's rounds for some time, or until something is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until():
            self.stage.supervise()
            time.sleep(0.05)

    def end_load(self):
        found = []

        def stop():
            found.append(self.stage.stop_load())
        thread = threading.Thread(target=stop, daemon=True)
        thread.start()
        self.supervise_for(160.0, lambda: not thread.is_alive())
        self.load = found[0] if found else {}
        if not found:
            self.problems.append("the load did not end")

    def become_quiet(self):
        """Until every job has ended and queue and outbox are empty, or patience is at its end."""
        began = time.monotonic()
        self.left = None
        while time.monotonic() - began < QUIET_WITHIN:
            self.supervise_for(0.3)
            self.left = self.what_is_left()
            if not any(self.left.values()):
                break
        self.quiet_after = time.monotonic() - began

    def what_is_left(self):
        (jobs,), (outbox,) = self.stage.sql(
            "SELECT count(*) FROM jobs WHERE status IN ('QUEUED', 'PROCESSING')"
            " UNION ALL SELECT count(*) FROM outbox")
        return {"jobs": int(jobs), "outbox": int(outbox), "queue": self.stage.queue_depth()}

    def settle(self):
        """Leaves everything alone, and writes down when that was."""
        self.supervise_for(QUIET + self.idle_seconds())
        ended = time.time()
        (self.folder / "run.json").write_text(json.dumps(
            {"t0": self.began, "t1": self.load_ended, "seed": self.args.seed,
             "baseline": self.baseline, "quiet": [ended - QUIET + 10.0, ended],
             "idle_connections_closed": self.idle_seconds() > 0}))

    def idle_seconds(self):
        return IDLE if self.seconds >= IDLE_FROM else 0.0

    def write_store(self):
        (self.folder / "outbox.json").write_text(json.dumps(
            {"outbox": self.left["outbox"], "queue": self.left["queue"]}))
        self.write_rows("store.jsonl", "SELECT to_jsonb(jobs) FROM jobs")
        self.write_rows("keys.jsonl", "SELECT to_jsonb(idempotency_keys) FROM idempotency_keys")

    def write_rows(self, name, query):
        """What a query finds, a row a line."""
        with open(self.folder / name, "w", encoding="utf-8") as out:
            subprocess.run(
                ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-v", "FETCH_COUNT=5000", "-d",
                 self.stage.postgres.url(self.stage.database), "-c", query], stdout=out, check=True)

    # -- the end ------------------------------------------------------------------------------

    def perform(self, plan):
        sampler = threading.Thread(target=self.sample, daemon=True)
        try:
            self.stage.begin()
            sampler.start()
            self.warm_up()
            self.play(plan)
            self.end_load()
            self.load_ended = time.time()
            self.become_quiet()
            self.settle()
            self.write_store()
            self.done.set()
            sampler.join()
            self.stage.end()
        finally:
            self.done.set()
            self.stage.abandon()
            for server in ("postgres", "rabbitmq"):
                keep_log(getattr(self.stage, server, None), self.folder / f"{server}.log")

    def judge(self):
        """Prints everything; returns the exit code."""
        measured = recovery.measure(self.folder)
        rows = sum(1 for _ in recovery.lines(self.folder / "store.jsonl"))
        complaints = self.problems + self.stage.complaints
        if any(self.left.values()):
            complaints.append(f"not quiet {QUIET_WITHIN:.0f} s after the load's end: {self.left}")
        if rows < LEAST_JOBS_A_SECOND * self.seconds:
            complaints.append(f"only {rows} jobs: that is no test")
        for name, flow, elsewhere in measured:
            if flow is None:
                complaints.append(f"{name}: jobs never flowed again")
            if elsewhere is not None and elsewhere > recovery.PROMISE:
                complaints.append(f"{name}: its jobs ran elsewhere only after {elsewhere:.1f} s")
        checked = subprocess.run([HERE / "check", self.folder], capture_output=True, text=True,
                                 check=False)
        for line in recovery.table(measured):
            self.say(line)
        self.say(f"{rows} jobs, {len(measured)} faults, quiet {self.quiet_after:.1f} s after the "
                 f"load; {self.load}")
        if self.impossible:
            self.say(f"not possible here: {', '.join(self.impossible)}")
        self.say(checked.stdout + checked.stderr)
        for text in complaints:
            self.say(f"PROBLEM: {text}")
        code = 1 if complaints or checked.returncode else 0
        if self.args.json:
            print(json.dumps({"seed": self.args.seed, "jobs": rows, "faults": len(measured),
                              "problems": complaints, "violations": checked.stdout.splitlines()
                              if checked.returncode else [], "folder": str(self.folder)}))
        return code, complaints, checked.stdout


def sample_of(member):
    """What a process holds at this moment; None when there is none."""
    try:
        process = pathlib.Path("/proc", str(member.program.pid))
        fields = dict(line.split(":", 1) for line in
                      (process / "status").read_text().splitlines() if ":" in line)
        return {"t": round(time.time(), 3), "process": member.name, "pid": member.program.pid,
                "rss_kb": int(fields["VmRSS"].split()[0]), "threads": int(fields["Threads"]),
                "fds": len(os.listdir(process / "fd"))}
    except (OSError, LookupError, AttributeError):
        return None


def keep_log(server, path):
    if server and server.log.exists():
        shutil.copy(server.log, path)


def write_junit(path, seconds, code, text):
    """One test case, for the counts at the end of ./check."""
    import xml.etree.ElementTree as xml
    suite = xml.Element("testsuite", name="fault")
    case = xml.SubElement(suite, "testcase", classname="tests/fault", name="run",
                          time=f"{seconds:.1f}")
    if code:
        xml.SubElement(case, "failure", message="violations").text = text
    xml.ElementTree(suite).write(path)


def open_many_files():
    """Everything that is started here inherits it: the proxy holds two sockets a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main():
    args = arguments()
    servers.exit_on_signals()
    open_many_files()
    args.seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1, 1 << 31)
    if args.short and not args.seed:
        args.seed = 1
    began = time.monotonic()
    if not args.plan:
        build()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="aiplat-fault-"))
    run = Run(args, folder)
    plan = run.make_plan()
    if args.plan:
        for one in plan:
            print(f"{one.at:7.1f} s  {one.fault} {one.target}, {one.seconds:.1f} s")
        folder.rmdir()
        return 0
    run.say(f"seed {args.seed}, {len(plan)} faults in {run.seconds:.0f} s, {folder}")
    try:
        run.perform(plan)
        code, complaints, text = run.judge()
    except BaseException:
        print(f"the run broke off; its files are in {folder}, seed {args.seed}", file=sys.stderr)
        raise
    if args.junit:
        write_junit(args.junit, time.monotonic() - began, code, "\n".join(complaints) + text)
    if code:
        print(f"FAILED. Files: {folder}  The same plan: tests/fault/run --seed {args.seed}"
              + (" --short" if args.short else f" --minutes {args.minutes:g}")
              + (f" --only {args.only}" if args.only else ""), file=sys.stderr)
    elif not args.keep:
        shutil.rmtree(folder)
    return code
