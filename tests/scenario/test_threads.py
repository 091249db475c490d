"""Threads: jobs that run one after the other, each with the state that the last has left."""

import json
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
    assert jobs.get(f"/v1/threads/{thread}/history").json() == {"checkpoints": [],
                                                                  "next_cursor": None}


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
