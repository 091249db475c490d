"""Models and prompts change while everything runs, by SQL, HTTP or command line."""

import time

import pytest

UPDATE = "UPDATE prompt_templates SET content = '{}' WHERE name = 'default-assistant'"


def test_an_update_in_sql_changes_the_very_next_job(served, model_server):
    served.start()
    served.workers(1)
    assert served.api.run("before")["status"] == "COMPLETED"
    served.sql(UPDATE.format("You are a pirate."))
    changed = time.time()
    served.api.run("after")
    (call,) = model_server.calls("after")
    assert call["system"] == "You are a pirate." and call["time"] - changed < 1


def test_every_update_is_live_in_well_under_a_second(site, model_server):
    site.api.run("warm up")
    for number in range(5):
        site.sql(UPDATE.format(f"Version {number}."))
        time.sleep(0.5)
        site.api.run(f"question {number}")
        assert model_server.calls(f"question {number}")[0]["system"] == f"Version {number}."


def test_changes_reach_a_worker_that_lost_its_database(served, model_server):
    served.start()
    served.api.run("before")
    served.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        f"WHERE datname = '{served.database}' AND pid <> pg_backend_pid()")
    served.sql(UPDATE.format("Still listening."))
    time.sleep(3)
    served.sql(UPDATE.format("Listening again."))
    time.sleep(1)
    served.api.run("after")
    assert model_server.calls("after")[0]["system"] == "Listening again."


def test_a_running_job_keeps_what_it_started_with(site, model_server):
    model_server.rules({"times": 1, "status": 503, "headers": {"Retry-After": "2"}}, {})
    job_id = site.api.submit("steady", max_attempts=1)
    model_server.wait_calls(1, "steady")
    site.sql(UPDATE.format("Changed under way."))
    assert site.api.wait(job_id)["status"] == "COMPLETED"
    first, second = model_server.calls("steady")
    assert first["system"] == second["system"] != "Changed under way."


def test_configurations_can_be_made_changed_and_removed(jobs, model_server):
    made = {"name": "mine", "provider": "openai", "model_name": "gpt-mine", "temperature": 0.25,
            "api_key_env": "OPENAI_API_KEY", "max_tokens": 77}
    answer = jobs.post("/v1/llm-configs", made)
    assert answer.status == 201 and answer.json()["model_name"] == "gpt-mine"
    assert answer.headers["location"].endswith("/v1/llm-configs/mine")
    assert jobs.post("/v1/llm-configs", made).status == 409
    shown = jobs.get("/v1/llm-configs/mine").json()
    assert {name: shown[name] for name in made} == made and shown["is_active"] is True
    assert jobs.run("first", config_name="mine")["status"] == "COMPLETED"
    body = model_server.calls("first")[0]["body"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-mine", 0.25, 77)
    assert jobs.put("/v1/llm-configs/mine", {**made, "model_name": "gpt-other"}).status == 200
    assert jobs.run("second", config_name="mine")["status"] == "COMPLETED"
    assert model_server.calls("second")[0]["model"] == "gpt-other"
    assert jobs.delete("/v1/llm-configs/mine").status == 204
    assert jobs.get("/v1/llm-configs/mine").status == 404
    assert jobs.post("/v1/jobs", {"prompt": "x", "config_name": "mine"}).status == 422


def test_templates_can_be_made_changed_and_removed(jobs, model_server):
    made = {"name": "polite", "content": "Be polite to {{who|everybody}}."}
    assert jobs.post("/v1/prompt-templates", made).status == 201
    jobs.run("first", template_name="polite", variables={"who": "cats"})
    assert model_server.calls("first")[0]["system"] == "Be polite to cats."
    changed = {**made, "content": "Be curt.", "user_content": "Q: {{prompt}}"}
    assert jobs.put("/v1/prompt-templates/polite", changed).status == 200
    jobs.run("second", template_name="polite")
    call = model_server.calls("second")[0]
    assert (call["system"], call["user"]) == ("Be curt.", "Q: second")
    assert jobs.delete("/v1/prompt-templates/polite").status == 204
    assert jobs.post("/v1/jobs", {"prompt": "x", "template_name": "polite"}).status == 422


GRAPH = {"description": "Says no.", "state": {"z": {}, "answer": {"type": "last_value"}},
         "nodes": {"end": {"type": "fail", "message": "\"no\""}},
         "edges": [{"from": "__start__", "to": "end"}, {"from": "end", "to": "__end__"}]}


def test_graphs_can_be_made_changed_and_removed(jobs):
    answer = jobs.post("/v1/graphs", {"name": "mine", "document": GRAPH})
    assert answer.status == 201 and answer.headers["location"].endswith("/v1/graphs/mine")
    made = answer.json()
    assert made["document"] == GRAPH and list(made["document"]["state"]) == ["z", "answer"]
    assert (made["version"], made["is_shipped"], made["description"]) == (1, False, "Says no.")
    assert jobs.post("/v1/graphs", {"name": "mine", "document": GRAPH}).status == 409
    made["document"]["description"] = "Says no, kindly."
    changed = jobs.put("/v1/graphs/mine", made)
    assert changed.status == 200 and changed.json()["version"] == 2
    assert jobs.get("/v1/graphs/mine").json()["description"] == "Says no, kindly."
    (listed,) = [g for g in jobs.get("/v1/graphs").json()["graphs"] if g["name"] == "mine"]
    assert "document" not in listed and listed["version"] == 2
    assert jobs.delete("/v1/graphs/mine").status == 204
    assert jobs.get("/v1/graphs/mine").status == 404
    assert jobs.delete("/v1/graphs/mine").status == 404


def test_a_shipped_graph_can_be_replaced_and_comes_back(jobs):
    shipped = jobs.get("/v1/graphs/assistant").json()
    assert (shipped["version"], shipped["is_shipped"], shipped["created_at"]) == (0, True, None)
    assert jobs.post("/v1/graphs", {"name": "assistant", "document": GRAPH}).status == 409
    assert jobs.delete("/v1/graphs/assistant").status == 409
    assert jobs.put("/v1/graphs/assistant", {"document": GRAPH}).status == 201
    assert jobs.get("/v1/graphs/assistant").json()["document"] == GRAPH
    assert jobs.delete("/v1/graphs/assistant").status == 204
    assert jobs.get("/v1/graphs/assistant").json() == shipped


def test_a_dry_run_stores_nothing(jobs):
    assert jobs.put("/v1/graphs/dry?dry_run=true", {"document": GRAPH}).status == 204
    assert jobs.get("/v1/graphs/dry").status == 404
    wrong = jobs.put("/v1/graphs/dry?dry_run=true", {"document": {**GRAPH, "nodes": 7}})
    assert wrong.status == 422 and wrong.json()["detail"].startswith("document/nodes")
    assert jobs.put("/v1/graphs/dry?dry_run=perhaps", {"document": GRAPH}).status == 422
    assert jobs.put("/v1/graphs/dry?dry_run=false", {"document": GRAPH}).status == 201


def test_graphs_are_listed_in_pages(jobs):
    for name in ("g1", "g2", "g3"):
        assert jobs.put(f"/v1/graphs/{name}", {"document": GRAPH}).status == 201
    names, cursor = [], ""
    while cursor is not None:
        page = jobs.get(f"/v1/graphs?limit=2{cursor and '&cursor=' + cursor}").json()
        assert len(page["graphs"]) <= 2
        names += [graph["name"] for graph in page["graphs"]]
        cursor = page["next_cursor"]
    assert names == sorted(names) and {"assistant", "g1", "g2", "g3"} <= set(names)


@pytest.mark.parametrize("body, told", [
    ({}, "document"), ({"document": []}, "document"), ({"document": "x"}, "document"),
    ({"document": {}}, "document"), ({"document": {**GRAPH, "nodes": 7}}, "document/nodes: "),
    ({"document": {**GRAPH, "name": "odd"}}, "document"),
    ({"document": GRAPH, "name": "other"}, "name"), ({"document": GRAPH, "color": 1}, "there is no member 'color'")])
def test_wrong_graphs_are_refused(running_dev, body, told):
    answer = running_dev.api.put("/v1/graphs/fresh", body)
    assert answer.status == 422 and answer.json()["detail"].startswith(told), answer
    assert running_dev.api.get("/v1/graphs/fresh").status == 404


def test_missing_variables_are_all_named(jobs):
    jobs.post("/v1/prompt-templates", {"name": "t", "content": "{{colour}} {{size}} {{age|9}}"})
    answer = jobs.post("/v1/jobs", {"prompt": "x", "template_name": "t"})
    if answer.status == 201:
        told = jobs.wait(answer.json()["job_id"])["error"]
    else:
        assert answer.status == 422
        told = answer.json()["detail"]
    assert "colour" in told and "size" in told and "age" not in told


def test_an_inactive_configuration_takes_no_jobs(jobs, site):
    site.sql("UPDATE llm_configs SET is_active = FALSE WHERE name = 'default-fast'")
    time.sleep(0.6)
    answer = jobs.post("/v1/jobs", {"prompt": "x", "config_name": "default-fast"})
    assert answer.status == 422 and "default-fast" in answer.json()["detail"]


def test_what_is_shipped(jobs):
    configs = {c["name"]: c for c in jobs.get("/v1/llm-configs").json()["llm_configs"]}
    assert {"default-smart", "default-fast", "claude-opus", "claude-sonnet"} <= configs.keys()
    smart = configs["default-smart"]
    assert (smart["provider"], smart["model_name"]) == ("openai", "gpt-4-turbo-preview")
    assert (smart["temperature"], smart["max_tokens"]) == (0.7, 4096)
    assert smart["api_key_env"] == "OPENAI_API_KEY"
    assert configs["claude-opus"]["api_key_env"] == "ANTHROPIC_API_KEY"
    templates = jobs.get("/v1/prompt-templates").json()["prompt_templates"]
    names = {template["name"] for template in templates}
    assert {"default-assistant", "code-assistant", "creative-writer"} <= names


@pytest.mark.parametrize("change", [
    {"temperature": 2.1}, {"temperature": -0.1}, {"temperature": "hot"}, {"max_tokens": 0},
    {"max_tokens": 1.5}, {"model_name": ""}, {"provider": ""}, {"provider": "no such"},
    {"base_url": "ftp://x"}, {"api_key_env": "sk-secret!"}, {"name": ""}, {"name": "x" * 300},
    {"is_active": "yes"}, {"model_name": "a\u0000b"}])
def test_wrong_configurations_are_refused(running_dev, change):
    good = {"name": "fresh", "provider": "openai", "model_name": "m",
            "api_key_env": "OPENAI_API_KEY"}
    answer = running_dev.api.post("/v1/llm-configs", {**good, **change})
    assert answer.status in (400, 422), answer
    assert next(iter(change)) in answer.json()["detail"] or "\0" in str(*change.values())


@pytest.mark.parametrize("content", ["", "  ", "{{open", "{{1bad}}", 7, None])
def test_wrong_templates_are_refused(running_dev, content):
    answer = running_dev.api.post("/v1/prompt-templates", {"name": "fresh", "content": content})
    assert answer.status in (400, 422), answer
