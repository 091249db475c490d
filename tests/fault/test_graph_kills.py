r"""kill -9 at every boundary of the steps of a graph: whatever was confirmed never runs again.

A run without faults tells which boundaries there are (../../libaiplat/base/fault_point.h: graph.*, and
where a job is claimed and ended). Then, for each boundary, a job of its own in a place of its own: its
worker kills itself there, another goes on, and the job must end as the undisturbed one did, with no call
of a model or a tool repeated that the store had confirmed. Wants a build with fault_points:

    AIPLAT_BUILD_DIR=build-fault /usr/bin/python3 -m pytest -c tests/scenario/pytest.ini \
        --rootdir=tests tests/fault/test_graph_kills.py

Cases run side by side, as they mostly wait for a lease to end. They share the model server, which tells
them apart by what their prompts hold.
"""

import concurrent.futures
import contextlib
import http.server
import json
import pathlib
import queue
import re
import threading
import time
import uuid

import mcp_server
import pytest
import sse
from scenario_sites import EmbeddedSite, ServedSite

LANES = 20         # cases at a time in places of their own
SERVED_LANES = 8   # places with a gateway, a queue and a database each
PATIENCE = 60.0
SETTINGS = {"AIPLAT_LEASE_MS": 1000, "AIPLAT_HEARTBEAT_MS": 200, "LOG_LEVEL": "info"}
POINTS = ("accept.committed", "claim.committed", "graph.*", "finish.sent", "finish.committed",
          "resume.committed")
NAMED = ";".join(f"{point}=sleep:0" for point in POINTS)  # each is told when it is passed
ENDED = ("COMPLETED", "FAILED", "CANCELLED")


# -- the graphs ------------------------------------------------------------------------------


def approve(questions):
    draft = questions[0]["value"]["question"]["draft"]
    is_good = draft == "A better ode."
    return {"value": {"approved": True} if is_good else {"approved": False, "remarks": "better"}}


def agree(questions):
    return {"value": True}


def answer_one(questions):
    """The first; the others are asked again."""
    return {"answers": {questions[0]["id"]: "yes to " + questions[0]["value"]}}


class Shape:
    """A graph, the input of its jobs, the rules its model answers by, and what it comes to."""

    def __init__(self, name, result, calls, rules, prompt="Why?", width=1, **more):
        self.name, self.result, self.calls, self.rules = name, result, calls, rules
        self.prompt, self.width = prompt, width
        self.input = more.get("input", {})
        self.documents = more.get("documents", {})  # that are to be stored first
        self.answer = more.get("answer")
        self.tool_calls = more.get("tool_calls", 0)
        self.is_kept = more.get("is_kept", True)
        self.earlier = more.get("earlier", ())  # inputs of jobs that the thread has seen before
        self.checkpoint = more.get("checkpoint")  # of the thread, where to begin
        self.calls_of_steps = more.get("calls_of_steps")  # where `width` says too little
        self.most_more = more.get("most_more")  # calls that one kill may cost, wherever

    def __repr__(self):
        return self.name


SHIPPED = [
    Shape("assistant", "Because.", 1, [{"text": "Because."}], is_kept=False),
    Shape("approve", "A better ode.", 2,
          [{"contains": "sent it back", "text": "A better ode."}, {"text": "An ode."}],
          prompt="An ode", answer=approve),
    Shape("map-reduce-summary", "All.", 4,
          [{"contains": "S0\n\nS1\n\nS2", "text": "All."},
           *({"contains": f"text {i}", "text": f"S{i}"} for i in range(3))],
          prompt="a headline", input={"texts": [f"text {i}" for i in range(3)]},
          width=3, calls_of_steps=(0, 3, 0, 0, 1, 0)),
    Shape("moderated-assistant", "Because.", 2,
          [{"contains": "You judge", "text": '{"category": "ok", "reason": "fine"}'},
           {"text": "Because."}]),
    Shape("plan-and-execute", "42", 5,
          [{"contains": "You carry out one step", "text": "did"},
           {"contains": "- two: did", "text": '{"is_done": true, "answer": "42", "steps": []}'},
           {"contains": "- one: did", "text": '{"is_done": false, "answer": "", "steps": ["two"]}'},
           {"contains": "Make a plan", "text": '{"steps": ["one", "two"]}'}]),
    Shape("react-agent", "Both said it.", 2,
          [{"last": "tool", "text": "Both said it."},
           {"tool_calls": [{"name": "t__echo", "arguments": {"text": word}}
                           for word in ("one", "two")]}], tool_calls=2),
]


# A graph inside another: its own question, and several of it side by side.
LOOK_UP = {
    "state": {"prompt": {}, "seen": {}, "n": {"type": "add"}, "may": {}, "answer": {}},
    "nodes": {
        "look": {"type": "llm", "prompt": '"Describe it: " + .prompt', "write": {"seen": "$answer"}},
        "count": {"type": "transform", "write": {"n": "1"}},
        "check": {"type": "llm", "prompt": '"Check it: " + .seen + " " + .prompt',
                  "write": {"answer": "$answer"}},
    },
    "edges": [{"from": "__start__", "to": "look"}, {"from": "look", "to": "count"},
              {"from": "count", "to": "check"}, {"from": "check", "to": "__end__"}],
}
ASKING = {
    **LOOK_UP,
    "nodes": {**LOOK_UP["nodes"], "ask": {"type": "human", "question": ".seen",
                                          "write": {"may": "$answer"}}},
    "edges": [{"from": "__start__", "to": "look"}, {"from": "look", "to": "ask"},
              {"from": "ask", "to": "count"}, {"from": "count", "to": "check"},
              {"from": "check", "to": "__end__"}],
}


def around(inner, enter, **visit):
    """A graph that runs `inner` between a call of its own and another."""
    return {
        "state": {"prompt": {}, "places": {}, "found": {"type": "append"}, "answer": {}},
        "nodes": {
            "begin": {"type": "llm", "prompt": '"Where to? " + .prompt',
                      "write": {"places": '$answer | split(" ")'}},
            "visit": {"type": "subgraph", "graph": inner, **visit,
                      "write": {"found": "[[$result.answer, $result.n]]"}},
            "say": {"type": "llm", "prompt": '"Sum up: \\(.found) " + .prompt',
                    "write": {"answer": "$answer"}},
        },
        "edges": [{"from": "__start__", "to": "begin"}, enter, {"from": "visit", "to": "say"},
                  {"from": "say", "to": "__end__"}],
        "result": '"\\(.answer) \\(.found)"',
    }


VISITS = [{"contains": "Sum up", "text": "Well:"}, {"contains": "Check it", "text": "It is old."},
          {"contains": "Describe it", "text": "old"}, {"text": "Rome Oslo"}]
NESTED = [
    Shape("trip", 'Well: [["It is old.",1]]', 4, VISITS, answer=agree,
          documents={"asking": ASKING, "trip": around(
              "asking", {"from": "begin", "to": "visit"},
              input="{prompt: (.places[0] + \" \" + .prompt)}")}),
    Shape("tour", 'Well: [["It is old.",1],["It is old.",1]]', 6, VISITS, width=2,
          documents={"look-up": LOOK_UP, "tour": around(
              "look-up", {"from": "begin", "send": {"items": ".places", "to": "visit"}},
              input="{prompt: ($item + \" \" + .prompt)}")}),
]

# Two questions, answered one by one, beside a call of a model; what follows waits for all of them.
SURVEY = {
    "state": {"prompt": {}, "topics": {}, "votes": {"type": "append"}, "note": {}, "answer": {}},
    "nodes": {
        "split": {"type": "transform", "write": {"topics": '["tea", "coffee"]'}},
        "ask": {"type": "human", "question": "$item", "write": {"votes": "[$answer]"}},
        "note": {"type": "llm", "prompt": '"Note: " + .prompt', "write": {"note": "$answer"}},
        "sum": {"type": "llm", "defer": True, "prompt": '"Sum up \\(.votes): " + .prompt',
                "write": {"answer": "$answer"}},
    },
    "edges": [{"from": "__start__", "to": "split"}, {"from": "split", "to": "note"},
              {"from": "split", "send": {"items": ".topics", "to": "ask"}},
              {"from": "ask", "to": "sum"}, {"from": "note", "to": "sum"},
              {"from": "sum", "to": "__end__"}],
    "result": '"\\(.note) \\(.answer) \\(.votes)"',
}
NESTED.append(
    Shape("survey", 'Noted. Both. ["yes to tea","yes to coffee"]', 2,
          [{"contains": "Sum up", "text": "Both."}, {"text": "Noted."}], answer=answer_one, width=2,
          most_more=1, documents={"survey": SURVEY}))

# Jobs of a thread: what each is fed with must be in the state once.
TALK = {
    "state": {"prompt": {}, "fed": {"type": "append"}, "n": {"type": "add"}, "answer": {}},
    "nodes": {"reply": {"type": "llm", "prompt": ".prompt", "write": {"answer": "$answer"}},
              "count": {"type": "transform", "write": {"n": "1"}}},
    "edges": [{"from": "__start__", "to": "reply"}, {"from": "reply", "to": "count"},
              {"from": "count", "to": "__end__"}],
    "result": '"\\(.fed | join(" ")) \\(.n) \\(.answer)"',
}
THREADS = [
    Shape("talk", "one two 2 Well.", 1, [{"text": "Well."}], documents={"talk": TALK},
          earlier=[{"fed": ["one"]}], input={"fed": ["two"]}),
    # input, reply, count: the third checkpoint is the end of the first job
    Shape("fork", "one three 2 Well.", 1, [{"text": "Well."}], documents={"fork": TALK},
          earlier=[{"fed": ["one"]}, {"fed": ["two"]}], checkpoint=3, input={"fed": ["three"]}),
]


# -- tools -----------------------------------------------------------------------------------


class Tools:
    """An MCP server on loopback; what is called is noted under the path that it was called by.
    Callers die while they wait: nobody hears of an answer that nobody takes."""

    def __init__(self):
        self.calls = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if message.get("method") == "tools/call":
                    outer.calls.setdefault(self.path, []).append(message["params"])
                response = mcp_server.answer(message, None)
                body = json.dumps(response).encode() if response else b""
                self.send_response(200 if response else 202)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(OSError):
                    self.end_headers()
                    self.wfile.write(body)

            def do_DELETE(self):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def settings(self, folder, marker):
        path = pathlib.Path(folder) / f"{marker}.json"
        path.write_text(json.dumps({"servers": {"t": {"url": f"{self.url}/{marker}"}}}))
        return {"AIPLAT_MCP_SERVERS": str(path)}

    def count(self, marker):
        return len(self.calls.get(f"/{marker}", ()))


@pytest.fixture(scope="module")
def tools():
    server = Tools()
    yield server
    server.server.shutdown()
    server.server.server_close()


# -- places ----------------------------------------------------------------------------------


class Embedded:
    """A place of one case: everything in one process, on SQLite."""

    keeps_events = False  # they are gone with the process

    @staticmethod
    def owner(_):
        return "true"

    def __init__(self, folder, settings):
        folder.mkdir()
        self.site = EmbeddedSite(folder, settings)

    def start(self, **settings):
        try:
            self.site.start(**settings)
        except AssertionError:
            if self.site.programs[-1].process.returncode != -9:
                raise  # else it has killed itself already
        return self.site.programs[-1]

    def end_case(self):
        self.site.programs[-1].kill9()
        self.site.stop()


class Served:
    """A place of many cases, one after the other: PostgreSQL, RabbitMQ, Redis, and one gateway."""

    keeps_events = True

    @staticmethod
    def owner(job_id):
        return f"owner = '{job_id}'"

    def __init__(self, folder, settings, servers):
        folder.mkdir()
        self.site = ServedSite(folder, settings, servers)
        self.site.gateway()

    def start(self, **settings):
        return self.site.worker(**settings)

    def end_case(self):
        self.site.programs[-1].kill9()

    def close(self):
        self.site.stop()
        self.site.remove()


# -- a case ----------------------------------------------------------------------------------


class Case:
    """One job, whose first worker is told to die at a point (`order`; "": at none)."""

    def __init__(self, place, shape, marker, order, dies_again=False):
        self.place, self.shape, self.marker, self.order = place, shape, marker, order
        self.dies_again = dies_again  # whoever goes on has the same order
        self.fields = {"max_attempts": 100}
        if place.keeps_events:
            self.fields["stream"] = True
        if shape.checkpoint:
            self.fields["checkpoint"] = shape.checkpoint
        self.n_kills = 0
        self.job_id = None
        self.passed = []  # points, the last is that where it was killed
        self.killed_at = None
        self.confirmed, self.n_saved = -1, 0

    @property
    def api(self):
        return self.place.site.api

    def store_documents(self):
        for name, document in self.shape.documents.items():
            answer = self.api.put(f"/v1/graphs/{name}", {"document": document})
            assert answer.status in (200, 201), answer

    def submit(self, key, fed, **fields):
        """With a key: whoever dies between accepting and answering is asked again."""
        body = {"prompt": f"{self.shape.prompt} {key}.", "graph_name": self.shape.name, **fields}
        if fed:
            body["input"] = fed
        if self.shape.earlier:
            body["thread_id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, self.marker))
        answer = self.api.post("/v1/jobs", body, {"Idempotency-Key": key})
        assert answer.status in (200, 201), answer
        return answer.json()["job_id"]

    def run_earlier(self, **settings):
        """The jobs that came before in the thread."""
        program = self.place.start(**settings)
        self.store_documents()
        for number, fed in enumerate(self.shape.earlier):
            job = self.api.wait(self.submit(f"{self.marker}-earlier-{number}", fed))
            assert job["status"] == "COMPLETED", job
        program.kill9()

    def step(self):
        """One look at the job, and what a person would do; the job once it has ended."""
        if not self.job_id:
            self.store_documents()
            self.job_id = self.submit(self.marker, self.shape.input, **self.fields)
        job = self.api.job(self.job_id)
        if job["status"] == "INTERRUPTED":
            answer = self.api.post(f"/v1/jobs/{self.job_id}/resume",
                                   self.shape.answer(job["questions"]))
            assert answer.status in (200, 409), answer
        return job if job["status"] in ENDED else None

    def bury(self, program, settings):
        """The worker is dead: note where it died and what is kept, start another."""
        assert program.process.returncode == -9, f"{program.name}: {program.process.returncode}"
        self.n_kills += 1
        *self.passed, self.killed_at = points_of(program)
        if self.job_id:
            self.look_into_store()
        return self.start(self.dies_again, settings)

    def start(self, is_doomed, settings):
        order = f"{NAMED};{self.order}" if is_doomed else None
        return self.place.start(AIPLAT_FAULT_POINTS=order, **settings)

    def look_into_store(self):
        """What is confirmed: the last step, and tasks of the one after it."""
        of = self.place.owner(self.job_id)
        self.confirmed = int(self.place.site.sql(
            f"SELECT coalesce(max(step), -1) FROM checkpoints WHERE {of}")[0][0])
        self.n_saved = int(self.place.site.sql(
            f"SELECT count(*) FROM checkpoint_tasks WHERE {of} AND n = "
            f"(SELECT max(n) FROM checkpoints WHERE {of})")[0][0])

    def is_quiet(self):
        """Whether all that was called when the worker died is confirmed, where one task runs at a
        time. The first step of a run begins while its input is being saved: then what is confirmed
        is not what the step has done."""
        passed = list(self.passed)
        while passed and passed[-1] in ("accept.committed", "claim.committed", "resume.committed"):
            passed.pop()  # of nothing, or of the job: no call is made there
        if not passed or passed[-1].startswith("finish."):
            return True
        if passed[-1] == "graph.step":  # calls begin behind it
            return self.killed_at == "graph.step"
        since = " ".join(passed).rpartition("graph.step")[2]
        return passed[-1] == "graph.saved" and bool(re.search("graph.task .*graph.save ", since))

    def begun(self):
        """The number of the last step that was begun, when no graph was inside another."""
        return self.passed.count("graph.step")

    def expect_events(self):
        """Who follows the job hears of it in order, once, and of one end, whoever has died. Of an end
        that the worker did not live to tell, the store tells, which cannot know what else was lost."""
        if not self.place.keeps_events:
            return
        events = sse.follow(self.api, self.job_id)
        ids = [tuple(map(int, event.id.split("-"))) for event in events if event.id]
        kinds = [event.type for event in events]
        assert ids == sorted(set(ids)), f"{self.marker}: {events}"
        assert kinds[-1] == "end" and kinds.count("end") == 1, f"{self.marker}: {events}"
        assert "step_started" in kinds, f"{self.marker}: {events}"
        assert "gap" not in kinds or (self.killed_at or "").startswith("finish."), \
            f"{self.marker}: {events}"

    def is_to_die_at_the_end(self):
        return self.order.startswith("finish.committed=kill")

    def run(self, **settings):
        """The ended job, and the points that the first worker has passed."""
        if self.shape.earlier:
            self.run_earlier(**settings)
        doomed = program = self.start(True, settings)
        deadline = time.monotonic() + PATIENCE
        try:
            while True:
                try:
                    job = self.step()
                except OSError:  # killed while we talked to it
                    job = None
                if not program.is_running() and (program is doomed or self.dies_again):
                    program = self.bury(program, settings)
                elif job and not (program is doomed and self.is_to_die_at_the_end()):
                    self.expect_events()
                    return job, points_of(doomed)
                assert time.monotonic() < deadline, f"{self.marker}: did not end: {job}"
                time.sleep(0.05)
        finally:
            self.place.end_case()
            self.has_lost_lease = any("the lease was lost" in one.log() for one in {doomed, program})


def points_of(program):
    return re.findall(r"^fault point (\S+)$", program.log(), flags=re.M)


# -- all cases of a graph --------------------------------------------------------------------


class Campaign:
    """All boundaries of one graph, in places that `open_place` gives and takes back."""

    def __init__(self, word, shape, model_server, tools, open_place):
        self.word = word  # for the markers of this campaign's cases
        self.shape, self.model_server, self.tools = shape, model_server, tools
        self.open_place = open_place
        self.seen = []  # (order, where it died, calls, calls of tools)
        model_server.rules(*shape.rules)

    def calls(self, marker):
        return len(self.model_server.calls(f"{marker}."))

    def run_case(self, order, dies_again=False):
        """Once more where the machine was too slow for the leases."""
        for n in range(3):
            marker = f"{self.word}-{self.shape.name}-" + \
                re.sub("[^a-z0-9]+", "-", f"{order or 'unhurt'}-{n}{'-again' * dies_again}")
            with self.open_place(marker) as place:
                case = Case(place, self.shape, marker, order, dies_again)
                job, points = case.run(**self.tools.settings(place.site.folder, marker))
            if not case.has_lost_lease:
                break
        self.judge(case, job)
        return case, points

    def judge(self, case, job):
        shape, calls, used = self.shape, self.calls(case.marker), self.tools.count(case.marker)
        told = f"{case.marker}, killed at {case.killed_at}: {calls} calls, {used} of tools, {job}"
        assert job["status"] == "COMPLETED" and job["result"] == shape.result, told
        assert 0 <= calls - shape.calls <= self.most_more(case), told
        assert shape.tool_calls <= used <= shape.tool_calls + self.most_more_of_tools(case), told
        self.seen.append((case.order, case.killed_at, calls, used))

    def most_more(self, case):
        """How many calls may have been made twice: those that no confirmed write holds."""
        shape = self.shape
        if not case.killed_at:
            return 0
        if case.dies_again:
            return shape.width * case.n_kills
        if not shape.is_kept:
            return 1 if "graph.task" in case.passed else 0
        if shape.most_more is not None:
            return shape.most_more
        if case.is_quiet() and shape.width == 1:
            return 0
        if not shape.calls_of_steps:
            return shape.width
        if case.begun() == 0 or case.confirmed >= case.begun():
            return 0
        return max(0, shape.calls_of_steps[case.begun() - 1] - case.n_saved)

    def most_more_of_tools(self, case):
        if not case.killed_at or case.is_quiet() and not case.dies_again:
            return 0
        return self.shape.tool_calls * case.n_kills

    def undisturbed(self):
        """The points that a run passes, in order."""
        case, points = self.run_case("")
        assert not case.killed_at
        return points

    def orders(self, points):
        """kill at the Nth of a kind, for all there are."""
        yield from (f"graph.*=kill@{n + 1}"
                    for n in range(sum(point.startswith("graph.") for point in points)))
        for name in (name for name in POINTS if name != "graph.*"):
            yield from (f"{name}=kill@{n + 1}" for n in range(points.count(name)))

    def run(self, lanes):
        points = self.undisturbed()
        orders = list(self.orders(points))
        with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
            again = pool.submit(self.run_again) if self.shape.is_kept else None
            cases = [case for case, _ in pool.map(self.run_case, orders)]
        if again:
            again.result()
        for case in cases:
            # How many saves there are where tasks run side by side is a matter of time, as are
            # claims of nothing.
            assert case.killed_at or self.shape.width > 1 or case.order.startswith("claim."), \
                f"{case.order}: was not killed"
        self.run_on(sum(order.startswith("graph.*") for order in orders))
        return points

    def run_again(self):
        """Each worker dies, when it has come as far as one save and little further."""
        case, _ = self.run_case("graph.*=kill@8", dies_again=True)
        assert case.n_kills > 0

    def run_on(self, n):
        """Beyond what the undisturbed run has passed, until nobody is killed."""
        while self.run_case(f"graph.*=kill@{n + 1}")[0].killed_at:
            n += 1

    def report(self, points):
        kinds = {point: points.count(point) for point in dict.fromkeys(points)}
        print(f"{self.shape.name}: {len(self.seen)} cases; an undisturbed run passes {kinds}")


@pytest.fixture
def in_own_places(folder, model_settings):
    """Each case has its own place, on SQLite."""
    @contextlib.contextmanager
    def open_place(marker):
        yield Embedded(folder / marker, {**model_settings, **SETTINGS})
    return open_place


@pytest.mark.parametrize("shape", SHIPPED, ids=repr)
def test_a_shipped_graph_is_killed_at_every_boundary(shape, model_server, tools, in_own_places):
    campaign = Campaign("own", shape, model_server, tools, in_own_places)
    campaign.report(campaign.run(LANES))


@pytest.mark.parametrize("shape", NESTED + THREADS, ids=repr)
def test_a_stored_graph_is_killed_at_every_boundary(shape, model_server, tools, in_own_places):
    campaign = Campaign("own", shape, model_server, tools, in_own_places)
    campaign.report(campaign.run(LANES))


@pytest.fixture(scope="module")
def lanes(shared_servers, model_process, tmp_path_factory):
    """Places on servers, each for one case at a time."""
    settings = {"OPENAI_BASE_URL": f"{model_process.url()}/v1", **SETTINGS}
    folder = tmp_path_factory.mktemp("kills")
    free = queue.Queue()
    with concurrent.futures.ThreadPoolExecutor(SERVED_LANES) as pool:
        places = list(pool.map(lambda number: Served(folder / f"lane-{number}", settings,
                                                     shared_servers), range(SERVED_LANES)))
    for place in places:
        free.put(place)

    @contextlib.contextmanager
    def open_place(_):
        place = free.get()
        try:
            yield place
        finally:
            free.put(place)
    yield open_place
    with concurrent.futures.ThreadPoolExecutor(SERVED_LANES) as pool:
        list(pool.map(Served.close, places))


@pytest.mark.parametrize("shape", [SHIPPED[-1], NESTED[0], THREADS[0]], ids=repr)
def test_on_servers_a_graph_is_killed_at_every_boundary(shape, model_server, tools, lanes):
    campaign = Campaign("served", shape, model_server, tools, lanes)
    campaign.report(campaign.run(SERVED_LANES))
