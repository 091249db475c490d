"""docs/schemas/graph.schema.json says of graph documents what the platform says."""

import copy
import json
import re

import jsonschema
import pytest

import programs

SCHEMA = json.loads((programs.REPOSITORY / "docs/schemas/graph.schema.json").read_text())
SHIPPED = sorted((programs.REPOSITORY / "libaiplat/graphs").glob("*.json"))
COMMON = {"description": "d", "defer": False, "cache": {"ttl_s": 60, "key": ".prompt"},
          "retry": {"max_attempts": 3, "initial_ms": 10, "max_ms": 1000, "factor": 1.5}}
TIMED = {**COMMON, "timeout_ms": 1000, "idle_timeout_ms": 500}
# Has every member that there is.
EVERYTHING = {
    "$schema": "graph.schema.json", "description": "everything", "step_limit": 50,
    "result": ".answer", "interrupt_before": ["ask"], "interrupt_after": "*",
    "input_schema": {"type": "object", "properties": {"list": {"type": ["array", "null"]}}},
    "state": {"messages": {"type": "messages", "description": "d"}, "prompt": {}, "answer": {},
              "list": {"type": "append", "initial": [1]}, "sum": {"type": "add", "initial": 0},
              "all": {"type": "merge", "initial": {"a": 1}}, "last": {"type": "topic"},
              "low": {"type": "min", "initial": 5}, "high": {"type": "max"},
              "now": {"type": "ephemeral"}, "open": {"type": "untracked"}},
    "tools": {"weather": {"type": "http", "description": "d", "method": "POST",
                          "url": "https://api.example.com/{city}", "timeout_ms": 5000,
                          "max_bytes": 1000, "headers": {"X-Key": {"env": "KEY", "prefix": "k "}},
                          "parameters": {"type": "object", "required": ["city"],
                                         "properties": {"city": {"type": "string"}}}}},
    "nodes": {
        "set": {"type": "transform", "write": {"list": "[1, 2]"}, **COMMON,
                "on_error": {"to": "no", "write": {"all": "{message: $error.message}"}}},
        "each": {"type": "tool", "tool": "weather", "arguments": "{city: $item}", **TIMED,
                 "write": {"list": "$result"}, "on_error": "no"},
        "think": {"type": "llm", "config": ["fast", True], "template": True, "system": "\"s\"",
                  "prompt": ".prompt", "messages": "messages", "tools": ["*"],
                  "tool_choice": "auto", "output_schema": {"type": "object"}, **TIMED,
                  "write": {"answer": "$answer"}},
        "act": {"type": "tools", "messages": "messages", "tools": ["weather"], **TIMED},
        "ask": {"type": "human", "question": "\"well?\"", "schema": {"type": "string"},
                "write": {"answer": "$answer"}, **COMMON},
        "fetch": {"type": "http", "url": "https://api.example.com/{city}", "method": "PUT",
                  "headers": {"X-Key": {"env": "KEY"}}, "max_bytes": 1000,
                  "arguments": "{city: 1}", "write": {"list": "$result"}, **TIMED},
        "where": {"type": "router", "choices": {"rest": "when tired"}, "config": "fast",
                  "template": "t", "messages": "messages", "system": "\"s\"", "prompt": ".prompt",
                  **TIMED},
        "other": {"type": "subgraph", "graph": "assistant", "input": ".prompt", **TIMED,
                  "write": {"answer": "$result.answer"}, "on_error": "no"},
        "rest": {"type": "wait", "seconds": 1.5, **TIMED},
        "no": {"type": "fail", "message": "\"no\"", "code": "it_failed", **COMMON}},
    "edges": [{"from": "__start__", "to": ["set", "think"]},
              {"from": "set", "send": {"items": ".list", "to": "each"}, "else": "rest"},
              {"from": "each", "to": "other"},
              {"from": "think", "else": ["ask"], "description": "d",
               "when": [{"if": ".answer", "to": "act", "description": "d"}]},
              {"from": ["act", "ask"], "to": "rest"}, {"from": "ask", "to": "__end__"},
              {"from": "act", "to": ["fetch", "where"]}, {"from": "fetch", "to": "__end__"},
              {"from": "rest", "to": "__end__"},
              {"from": "no", "to": "__end__"}, {"from": "other", "to": "rest"}]}
EXAMPLES = [json.loads(text) for text in
            re.findall(r"^```json\n(.*?)^```", (programs.REPOSITORY / "docs/graphs.md").read_text(), flags=re.M | re.S)]
NO = object()  # the member is taken away
# What stands elsewhere in EVERYTHING, and is wrong.
BAD = [
    ("/nodes", NO), ("/nodes", {}), ("/edges", NO), ("/more", 1), ("/result", 7), ("/step_limit", 0),
    ("/interrupt_before", "ask"), ("/input_schema/type", "any"), ("/input_schema/pattern", "x"),
    ("/state/__a", {}), ("/state/a:b", {}), ("/state/list/type", "queue"), ("/state/list/kind", 1),
    ("/state/list/initial", 1), ("/state/sum/initial", []), ("/state/all/initial", []),
    ("/nodes/set/type", "sett"), ("/nodes/set/type", NO), ("/nodes/set/write", NO),
    ("/nodes/set/write/list", 1), ("/nodes/set/timeout_ms", 5), ("/nodes/set/retry/max", 1),
    ("/nodes/set/retry/factor", 0.5), ("/nodes/set/on_error/to", NO), ("/nodes/set/on_error", []),
    ("/nodes/set/cache", 60), ("/nodes/set/cache/ttl_s", NO), ("/nodes/set/cache/ttl_s", 0),
    ("/nodes/set/cache/key", 1), ("/nodes/set/cache/for", 1),
    ("/nodes/set/defer", "yes"), ("/nodes/each/tool", NO), ("/nodes/each/prompt", ".a"),
    ("/nodes/think/config", []), ("/nodes/think/config", False), ("/nodes/think/tools", "weather"),
    ("/nodes/think/output_schema", 1), ("/nodes/act/messages", NO), ("/nodes/ask/question", NO),
    ("/nodes/ask/schema/type", "text"), ("/nodes/rest/seconds", NO), ("/nodes/rest/seconds", -1),
    ("/nodes/fetch/url", NO), ("/nodes/fetch/method", "HEAD"), ("/nodes/fetch/body", "1"),
    ("/nodes/where/choices", NO), ("/nodes/where/choices", {}), ("/nodes/where/choices/rest", 1),
    ("/nodes/where/write", {}), ("/nodes/other/graph", NO), ("/nodes/other/graph", 1),
    ("/nodes/no/message", NO), ("/nodes/no/code", "It failed"), ("/edges/0/from", NO),
    ("/edges/0/to", []), ("/edges/0/when", []), ("/edges/0/else", "rest"), ("/edges/1/send/to", NO),
    ("/edges/1/send/to", "__end__"), ("/edges/1/send/each", "x"), ("/edges/3/when", []),
    ("/edges/3/when/0/if", NO), ("/edges/3/from", ["think", "act"]), ("/tools/weather", 1),
    ("/edges/0/description", 1), ("/edges/3/when/0/description", 1),
    ("/tools/weather/description", 1), ("/tools/weather/url", NO), ("/tools/weather/method", "HEAD"), ("/tools/weather/body", 1),
    ("/tools/weather/headers/X-Key", "secret"), ("/tools/weather/timeout_ms", 0)]


def pointers(value, at=""):
    """Where the parts of a document are."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from pointers(part, f"{at}/{key}")


def changed(pointer, value):
    """EVERYTHING, with another value there."""
    document = copy.deepcopy(EVERYTHING)
    *path, last = pointer.split("/")[1:]
    place = document
    for key in path:
        place = place[int(key) if isinstance(place, list) else key]
    last = int(last) if isinstance(place, list) else last
    if value is NO:
        del place[last]
    else:
        place[last] = value
    return document


def fault_by_schema(document):
    return next((error.message for error in
                 jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)), None)


@pytest.fixture
def fault(dev):
    """What the gateway says of a document; None: it would take it."""
    api = dev.start(AIPLAT_TOOL_HOSTS="*").api

    def ask(document):
        answer = api.put("/v1/graphs/g?dry_run=true", {"document": document})
        assert answer.status in (204, 422), answer
        return None if answer.status == 204 else answer.body.decode()

    return ask


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_ships_is_as_the_schema_says(path):
    assert fault_by_schema(json.loads(path.read_text())) is None


def test_good_documents_are_taken_by_both(fault):
    assert fault_by_schema(EVERYTHING) is None
    assert fault(EVERYTHING) is None


def test_the_examples_of_the_page_are_taken_by_both(fault):
    assert len(EXAMPLES) == 4
    for document in EXAMPLES:
        assert fault_by_schema(document) is None
        assert fault(document) is None


def test_the_page_has_every_member():
    page = (programs.REPOSITORY / "docs/graphs.md").read_text()
    nodes = [kind for name, kind in SCHEMA["$defs"].items() if name.endswith("Node")]
    names = set(SCHEMA["properties"]) | {name for kind in nodes for name in kind["properties"]}
    names |= set(SCHEMA["$defs"]["channel"]["properties"]["type"]["enum"]) | set(SCHEMA["$defs"]["retry"]["properties"])
    assert [name for name in sorted(names - {"$schema"}) if f"`{name}`" not in page and f'"{name}"' not in page] == []
    assert [path.stem for path in SHIPPED if f"`{path.stem}`" not in page] == []
    for kind in SCHEMA["$defs"]["node"]["properties"]["type"]["enum"]:
        assert re.search(rf"^### {kind}\b", page, flags=re.M), kind


def test_bad_documents_are_refused_by_both(fault):
    for pointer, value in BAD:
        document = changed(pointer, value)
        assert fault_by_schema(document), f"the schema takes {value!r} at {pointer}"
        assert fault(document), f"the gateway takes {value!r} at {pointer}"


def test_the_schema_refuses_nothing_that_the_gateway_takes(fault):
    n_taken, stricter = 0, []
    for pointer in list(pointers(EVERYTHING))[1:]:
        for value in (None, True, 7, "x", "", [], {"x": "y"}, NO):
            document = changed(pointer, value)
            if fault(document):
                continue
            n_taken += 1
            said = fault_by_schema(document)
            if said:
                stricter.append(f"{'nothing' if value is NO else repr(value)} at {pointer}: {said}")
    assert stricter == [], "\n".join(stricter)
    assert n_taken > 200


def members_there_are(text):
    """{"a", "b"} of "… there are: a, b"."""
    return set(re.search(r"there are: ([\w$, ]+)", text).group(1).replace(" ", "").split(","))


def test_the_schema_has_every_member_that_there_is(fault):
    definitions = SCHEMA["$defs"]
    edges = set().union(*(kind["properties"] for kind in definitions["edge"]["anyOf"]))
    expected = {"/zzz": SCHEMA["properties"], "/state/list/zzz": definitions["channel"]["properties"],
                "/edges/0/zzz": edges, "/nodes/set/retry/zzz": definitions["retry"]["properties"],
                "/edges/3/when/0/zzz": definitions["edge"]["anyOf"][1]["properties"]["when"]["items"]["properties"],
                "/edges/1/send/zzz": definitions["edge"]["anyOf"][2]["properties"]["send"]["properties"],
                "/nodes/set/on_error/zzz": definitions["onError"]["anyOf"][1]["properties"]}
    for pointer, properties in expected.items():
        assert members_there_are(fault(changed(pointer, 1))) == set(properties), pointer


def test_the_schema_has_every_node_type_with_its_members(fault):
    types = re.search(r"must be one of ([\w, ]+)", fault(changed("/nodes/set/type", "zzz"))).group(1)
    assert types.split(", ") == SCHEMA["$defs"]["node"]["properties"]["type"]["enum"]
    for name, node in EVERYTHING["nodes"].items():
        properties = set(SCHEMA["$defs"][f"{node['type']}Node"]["properties"])
        if "timeout_ms" not in node:  # refused in words of its own, for it can never be reached
            properties |= {"timeout_ms", "idle_timeout_ms"}
        assert members_there_are(fault(changed(f"/nodes/{name}/zzz", 1))) == properties, name
    assert {node["type"] for node in EVERYTHING["nodes"].values()} == set(types.split(", "))


@pytest.fixture
def run_example(dev, model_server):
    """Runs one of the page's examples; the model answers by the rules."""
    api = dev.start(AIPLAT_TOOL_HOSTS="*").api

    def run(index, prompt, *rules, **fields):
        model_server.rules(*rules)
        assert api.put(f"/v1/graphs/example-{index}", {"document": EXAMPLES[index]}).status == 201
        return api, api.submit(prompt, graph_name=f"example-{index}", max_attempts=1, **fields)

    return run


def test_example_of_a_second_try(run_example):
    api, job = run_example(
        0, "Why?", {"contains": "Avoid this: too short", "text": "Because of that."},
        {"contains": "Answer: Because of that.", "text": '{"is_good": true, "fault": ""}'},
        {"contains": "Answer: Because.", "text": '{"is_good": false, "fault": "too short"}'},
        {"text": "Because."})
    assert api.wait(job)["result"] == "Because of that."


def test_example_of_an_apology(run_example):
    api, job = run_example(1, "Rain?", {"status": 400})
    assert api.wait(job)["result"] == "The weather is not to be had now."


def test_example_of_lines_side_by_side(run_example):
    api, job = run_example(2, "rain\n\nsun\nwind", {"contains": "rain", "text": "pluie"},
                           {"contains": "sun", "status": 400}, {"contains": "wind", "text": "vent"})
    assert api.wait(job)["result"] == "pluie\nsun\nvent"


def test_example_of_a_question(run_example):
    api, job = run_example(3, None, input={"number": 70})
    for answer in (0, 7):
        asked = api.wait_status(job, "INTERRUPTED")["questions"][0]["value"]
        assert asked["schema"] == {"type": "integer"} and asked["question"].startswith("A number from")
        assert api.post(f"/v1/jobs/{job}/resume", {"value": "seven"}).status == 422
        assert api.post(f"/v1/jobs/{job}/resume", {"value": answer}).status == 200
    assert json.loads(api.wait(job)["result"]) == {"number": 7, "asked": 2}
