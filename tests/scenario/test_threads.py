"""Threads: jobs that run one after the other, each with the state that the last has left."""

import json
import time
import uuid

DIARY = {
    "state": {"prompt": {}, "said": {"type": "append"}, "answer": {}},
    "nodes": {
        "note": {"type": "transform", "write": {"said": ".prompt"}},
        "tell": {"type": "transform", "write": {"answer": '.said | join(", ")'}},
    },
    "edges": [{"from": "__start__", "to": "note"}, {"from": "note", "to": "tell"},
              {"from": "tell", "to": "__end__"}],
}
ASK = {
    "state": {"prompt": {}, "go": {}, "answer": {}},
    "nodes": {"ask": {"type": "human", "question": '"Go on?"', "write": {"answer": "$answer"}}},
    "edges": [{"from": "__start__", "to": "ask"}, {"from": "ask", "to": "__end__"}],
}


def put(api, name, graph):
    answer = api.put(f"/v1/graphs/{name}", {"document": graph})
    assert answer.status in (200, 201), answer


def test_state_is_carried_from_job_to_job(site):
    put(site.api, "diary", DIARY)
    thread = str(uuid.uuid4())
    said = []
    for word in ("one", "two", "three"):
        said.append(word)
        job = site.api.wait(site.api.submit(word, graph_name="diary", thread_id=thread))
        assert job["result"] == ", ".join(said) and job["thread_id"] == thread, job
    other = site.api.wait(site.api.submit("else", graph_name="diary",
                                          thread_id=str(uuid.uuid4())))
    assert other["result"] == "else"
    # the third checkpoint is the end of the first job: input, note, tell
    back = site.api.wait(site.api.submit("anew", graph_name="diary", thread_id=thread,
                                         checkpoint=3))
    assert back["result"] == "one, anew" and back["checkpoint"] == 3, back
    history, path = [], f"/v1/threads/{thread}/history"
    while (page := site.api.get(f"{path}?limit=5{cursor if history else ''}").json()):
        history += page["checkpoints"]
        if not page["next_cursor"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    numbers = [entry["checkpoint"] for entry in history]
    assert numbers == list(range(len(history), 0, -1)) and len(history) == 12, history
    assert history[2]["source"] == "fork" and history[2]["parent"] == 3, history[2]
    assert history[-1]["source"] == "input" and history[-1]["parent"] is None
    assert history[0]["job_id"] == back["job_id"]
    listed = site.api.get(f"/v1/jobs?thread_id={thread}").json()["jobs"]
    assert [job["prompt"] for job in listed] == ["anew", "three", "two", "one"]
    after = site.api.wait(site.api.submit("on", graph_name="diary", thread_id=thread))
    assert after["result"] == "one, anew, on"
    unknown = site.api.wait(site.api.submit("?", graph_name="diary", thread_id=thread,
                                            checkpoint=4711))
    assert unknown["status"] == "FAILED", unknown
    assert unknown["error_code"] == "caller_checkpoint_not_found"


def test_one_job_of_a_thread_at_a_time(site):
    put(site.api, "ask", ASK)
    put(site.api, "diary", DIARY)
    thread = str(uuid.uuid4())
    first = site.api.submit("?", graph_name="ask", thread_id=thread)
    site.api.wait_status(first, "INTERRUPTED")
    second = site.api.submit("waits", graph_name="diary", thread_id=thread)
    refused = site.api.post("/v1/jobs", {"prompt": "no", "thread_id": thread,
                                         "multitask_strategy": "reject"})
    assert refused.status == 409, refused
    job = site.api.job(second)
    assert job["status"] == "QUEUED" and job["run_at"] is None, job
    assert site.api.post(f"/v1/jobs/{first}/resume", {"value": "yes"}).status == 200
    assert site.api.wait(first)["result"] == "yes"
    assert site.api.wait(second)["result"] == "waits"


def test_what_is_no_thread_is_refused(jobs):
    thread = str(uuid.uuid4())
    for fields in ({"thread_id": "mine"}, {"thread_id": str(uuid.UUID(int=0))}, {"checkpoint": 3},
                   {"thread_id": thread, "delay": 5}, {"thread_id": thread, "checkpoint": 0},
                   {"thread_id": thread, "multitask_strategy": "hope"}):
        answer = jobs.post("/v1/jobs", {"prompt": "hi", **fields})
        assert answer.status == 422, (fields, answer)
    assert jobs.get("/v1/jobs?thread_id=mine").status == 422
    assert jobs.get("/v1/threads/mine/history").status == 404
    assert jobs.get(f"/v1/threads/{thread}/history?cursor=ff").status == 422
    assert jobs.get(f"/v1/threads/{thread}/history").status == 404


def test_from_the_command_line(site):
    put(site.api, "diary", DIARY)
    thread = str(uuid.uuid4())
    for expected in ("first", "first, second"):
        done = site.ctl("submit", expected.rsplit(", ", maxsplit=1)[-1], "--graph", "diary",
                        "--thread", thread, "--wait", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"] == expected
    listed = json.loads(site.ctl("list", "--thread", thread, "--json").stdout)
    assert [job["prompt"] for job in listed["jobs"]] == ["second", "first"]


GATE = {
    "state": {"prompt": {}, "n": {"type": "add"}, "log": {"type": "append"}},
    "nodes": {
        "count": {"type": "transform", "write": {"n": "1", "log": '"count"'}},
        "small": {"type": "transform", "write": {"log": '"small"'}},
        "big": {"type": "transform", "write": {"log": '"big"'}},
    },
    "edges": [{"from": "__start__", "to": "count"},
              {"from": "count", "when": [{"if": ".n > 9", "to": "big"}], "else": "small"},
              {"from": "small", "to": "__end__"}, {"from": "big", "to": "__end__"}],
    "result": ".log | join(\",\")",
}


def test_threads_are_listed_and_tell_how_they_stand(site):
    put(site.api, "ask", ASK)
    put(site.api, "diary", DIARY)
    ids = [str(uuid.uuid4()) for _ in range(5)]
    for thread in ids:
        site.api.wait(site.api.submit("one", graph_name="diary", thread_id=thread))
    listed, cursor = [], ""
    while True:
        page = site.api.get(f"/v1/threads?limit=2{cursor}").json()
        assert len(page["threads"]) <= 2
        listed += [thread["thread_id"] for thread in page["threads"]]
        if not page["next_cursor"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [thread for thread in listed if thread in ids] == ids[::-1]
    assert len(listed) == len(set(listed))
    thread = site.api.get(f"/v1/threads/{ids[0]}").json()
    assert thread["status"] == "idle" and thread["checkpoint"] == 3, thread
    job = site.api.submit("?", graph_name="ask", thread_id=ids[0])
    site.api.wait_status(job, "INTERRUPTED")
    waiting = site.api.submit("waits", graph_name="diary", thread_id=ids[0])
    thread = site.api.get(f"/v1/threads/{ids[0]}").json()
    assert thread["status"] == "interrupted" and thread["job_id"] == job, thread
    assert thread["jobs_waiting"] == 1, thread
    refused = site.api.post(f"/v1/threads/{ids[0]}/state", {"values": {"answer": "x"}})
    assert refused.status == 409, refused
    site.api.post(f"/v1/jobs/{job}/cancel", {})
    site.api.wait(waiting)
    assert site.api.get(f"/v1/threads/{uuid.uuid4()}").status == 404


def test_a_state_is_read_and_written_as_a_node(site):
    put(site.api, "gate", GATE)
    thread = str(uuid.uuid4())
    job = site.api.wait(site.api.submit("go", graph_name="gate", thread_id=thread))
    assert job["result"] == "count,small", job
    path = f"/v1/threads/{thread}/state"
    state = site.api.get(path).json()
    assert state["values"]["log"] == ["count", "small"] and state["next"] == [], state
    assert state["job_id"] == job["job_id"] and state["checkpoint"] == 3
    first = site.api.get(f"{path}?checkpoint=1").json()
    assert first["source"] == "input" and first["next"] == ["count"], first
    # as if "count" had said so after the input: its router looks at what was written
    forked = site.api.post(path, {"values": {"n": 20, "log": ["me"]}, "as_node": "count",
                                  "checkpoint": 1})
    assert forked.status == 200 and forked.json()["checkpoint"] == 4, forked
    state = site.api.get(path).json()
    assert state["values"] == {"prompt": "go", "n": 20, "log": ["me"]}, state
    assert state["next"] == ["big"] and state["parent"] == 1, state
    assert state["source"] == "update", state
    # the job that follows begins with it
    after = site.api.wait(site.api.submit("on", graph_name="gate", thread_id=thread))
    assert after["result"] == "me,count,big", after
    # a job without a prompt goes on where the state stands, here at "big"
    again = site.api.wait(site.api.post("/v1/jobs", {"graph_name": "gate", "thread_id": thread,
                                                     "checkpoint": 4}).json()["job_id"])
    assert again["result"] == "me,big", again
    # in place: what comes next stays as it was
    for n in range(3):
        changed = site.api.post(path, {"values": {"log": [f"note {n}"]}})
        assert changed.status == 200, changed
    state = site.api.get(path).json()
    assert state["values"]["log"][-3:] == ["note 0", "note 1", "note 2"], state
    history = site.api.get(f"/v1/threads/{thread}/history?limit=3").json()["checkpoints"]
    assert [entry["source"] for entry in history] == ["update"] * 3


def test_a_thread_begins_with_a_state(site):
    put(site.api, "diary", DIARY)
    thread = str(uuid.uuid4())
    path = f"/v1/threads/{thread}/state"
    unnamed = site.api.post(path, {"values": {"said": ["zero"]}})
    assert unnamed.status == 422 and "graph_name" in str(unnamed.json()), unnamed
    made = site.api.post(path, {"values": {"said": ["zero"]}, "graph_name": "diary"})
    assert made.status == 200 and made.json() == {"thread_id": thread, "checkpoint": 1}
    assert site.api.get(f"/v1/threads/{thread}").json()["status"] == "idle"
    job = site.api.wait(site.api.submit("one", graph_name="diary", thread_id=thread))
    assert job["result"] == "zero, one", job


def test_what_cannot_be_written_is_refused(site):
    put(site.api, "gate", GATE)
    thread = str(uuid.uuid4())
    site.api.wait(site.api.submit("go", graph_name="gate", thread_id=thread))
    path = f"/v1/threads/{thread}/state"
    for body, word in (({}, "values"), ({"values": [1]}, "object"), ({"values": {"m": 1}}, "m"),
                       ({"values": {"n": "x"}}, "n"), ({"as_node": "nobody"}, "nobody"),
                       ({"as_node": ""}, "as_node"), ({"values": {}, "checkpoint": 77}, "77"),
                       ({"values": {}, "graph_name": "none"}, "none"),
                       ({"values": {}, "graph_name": "assistant"}, "assistant"),
                       ({"values": {}, "more": 1}, "more")):
        refused = site.api.post(path, body)
        assert refused.status == 422 and word in str(refused.json()), (body, refused, str(refused.json()))
    assert site.api.get(path).json()["checkpoint"] == 3
    for wrong in ("?checkpoint=0", "?checkpoint=-1", "?checkpoint=x", "?checkpoint="):
        assert site.api.get(path + wrong).status == 422, wrong
    assert site.api.get(f"{path}?checkpoint=4").status == 404
    assert site.api.get(f"/v1/threads/{uuid.uuid4()}/state").status == 404
    assert site.api.get("/v1/threads/mine/state").status == 404
    assert site.api.get("/v1/threads?cursor=ff").status == 422
    assert site.api.get("/v1/threads?limit=0").status == 422
    # a job is no thread
    alone = site.api.wait(site.api.submit("go", graph_name="gate"))["job_id"]
    assert site.api.get(f"/v1/threads/{alone}/history").status == 404


STEPS = {
    "state": {"said": {"type": "append"}, "answer": {}},
    "nodes": {
        "one": {"type": "transform", "write": {"said": '"one"'}},
        "ask": {"type": "human", "question": '"Go on?"', "write": {"said": "$answer"}},
        "beside": {"type": "transform", "write": {"said": '"beside"'}},
        "last": {"type": "transform", "write": {"answer": '.said | join(",")'}},
    },
    "edges": [{"from": "__start__", "to": "one"}, {"from": "one", "to": ["ask", "beside"]},
              {"from": ["ask", "beside"], "to": "last"}, {"from": "last", "to": "__end__"}],
}


def go_on(site, thread, **fields):
    answer = site.api.post("/v1/jobs", {"graph_name": "steps", "thread_id": thread, **fields})
    assert answer.status == 201, answer
    return answer.json()["job_id"]


def test_a_job_goes_on_where_its_thread_stands(site):
    put(site.api, "steps", STEPS)
    thread = str(uuid.uuid4())
    first = site.api.post("/v1/jobs", {"graph_name": "steps", "thread_id": thread, "input": {}})
    first = first.json()["job_id"]
    site.api.wait_status(first, "INTERRUPTED")
    site.api.post(f"/v1/jobs/{first}/cancel", {})
    # the question that was open is asked again, what had finished does not run again
    second = go_on(site, thread)
    site.api.wait_status(second, "INTERRUPTED")
    assert site.api.post(f"/v1/jobs/{second}/resume", {"value": "yes"}).status == 200
    assert site.api.wait(second)["result"] == "one,yes,beside"
    # an older one is a fork: asked anew, answered differently
    for answer in ("no", "never"):
        third = go_on(site, thread, checkpoint=2)
        site.api.wait_status(third, "INTERRUPTED")
        assert site.api.post(f"/v1/jobs/{third}/resume", {"value": answer}).status == 200
        assert site.api.wait(third)["result"] == f"one,{answer},beside"
    sources = [entry["source"] for entry in
               site.api.get(f"/v1/threads/{thread}/history").json()["checkpoints"]]
    assert sources.count("fork") == 2, sources
    # at the end there is nothing to do
    assert site.api.wait(go_on(site, thread))["result"] == "one,never,beside"


def test_there_must_be_something_to_go_on_with(site):
    put(site.api, "steps", STEPS)
    job = site.api.wait(go_on(site, str(uuid.uuid4())))
    assert job["status"] == "FAILED" and job["error_code"] == "caller_thread_has_no_state", job
    thread = str(uuid.uuid4())
    for body in ({"thread_id": thread}, {"thread_id": thread, "graph_name": "steps", "prompt": ""},
                 {"graph_name": "steps"}):
        assert site.api.post("/v1/jobs", body).status == 422, body


SLOW = {
    "state": {"prompt": {}, "said": {"type": "append"}, "answer": {}},
    "nodes": {
        "note": {"type": "transform", "write": {"said": ".prompt"}},
        "think": {"type": "llm", "prompt": ".prompt", "write": {"said": "$answer"}},
        "tell": {"type": "transform", "write": {"answer": '.said | join(", ")'}},
    },
    "edges": [{"from": "__start__", "to": "note"}, {"from": "note", "to": "think"},
              {"from": "think", "to": "tell"}, {"from": "tell", "to": "__end__"}],
}


def talk(api, thread, prompt, **fields):
    answer = api.post("/v1/jobs", {"prompt": prompt, "graph_name": "slow", "thread_id": thread, **fields})
    assert answer.status == 201, answer
    return answer.json()["job_id"]


def in_the_middle(site, model_server, strategy):
    """A thread of one ended job, and a second whose model hangs when a third comes; what the third answers."""
    put(site.api, "slow", SLOW)
    thread = str(uuid.uuid4())
    model_server.rules({"text": "ah"})
    assert site.api.wait(talk(site.api, thread, "one"))["result"] == "one, ah"
    model_server.rules({"hang": True})
    second = talk(site.api, thread, "two")
    waiting = talk(site.api, thread, "waits")
    model_server.wait_calls(2)
    model_server.rules({"text": "oh"})
    third = site.api.wait(talk(site.api, thread, "three", multitask_strategy=strategy))
    for job_id in (second, waiting):
        assert site.api.job(job_id)["status"] == "CANCELLED"
    assert model_server.wait_outcome("two", "client_closed"), "its model call is broken off"
    assert site.api.get(f"/v1/threads/{thread}").json()["status"] == "idle"
    return third, thread


def test_interrupt_goes_on_from_what_was_done(site, model_server):
    third, _ = in_the_middle(site, model_server, "interrupt")
    assert third["result"] == "one, ah, two, three, oh", third


def test_rollback_goes_on_from_before(site, model_server):
    third, thread = in_the_middle(site, model_server, "rollback")
    assert third["result"] == "one, ah, three, oh", third
    # and so does the next
    model_server.rules({"text": "uh"})
    fourth = site.api.wait(talk(site.api, thread, "four"))
    assert fourth["result"] == "one, ah, three, oh, four, uh", fourth
    # of the very first job nothing is left
    fresh = str(uuid.uuid4())
    model_server.rules({"hang": True})
    talk(site.api, fresh, "first")
    deadline = time.monotonic() + 20
    while site.api.get(f"/v1/threads/{fresh}").json()["checkpoint"] != 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    model_server.rules({"text": "eh"})
    only = site.api.wait(talk(site.api, fresh, "anew", multitask_strategy="rollback"))
    assert only["result"] == "anew, eh" and only["checkpoint"] is None, only
