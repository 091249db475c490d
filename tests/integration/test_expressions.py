"""Expressions mean what they mean in jq: random ones of the common part run in both."""

import json
import random
import shutil
import subprocess

import pytest
from probe import BUILD

JQ = shutil.which("jq")
# Where an expression gives jq's default error, ours gives one too; the words differ.
INPUTS = [None, True, 0, -3, 2.5, "", "abc", "a,b,,c", "äöü", [], [3, 1, 2, 1], ["b", "a"],
          [[1, 2], [3]], {}, {"a": 1, "b": [1, 2, {"c": None}]}, {"b": {"c": 2}, "a": "x"},
          [{"a": 2, "b": 1}, {"a": 1}, {"a": 2, "b": 0}]]
TERMS = [".", ".a", ".b", ".a?", ".b.c?", ".[0]?", ".[-1]?", ".[1:]?", ".[:-1]?", ".[]?", ".b[]?",
         "1", "-2", "2.5", '"x"', '"b"', "null", "true", "false", "[1, 2]", "[]", "{}", '{"a": 1}',
         "[.[]?]", "{a: 1, b: .}", '"<\\(.)>"', "length", "keys", "add", "sort", "unique", "reverse",
         "type", "not", "tostring", "tojson", "min", "max", "any", "all", "first", "last", "flatten",
         "to_entries", "floor", "ascii_downcase", "empty", "[range(3)]", "@json", "@base64",
         'split(",")', 'join("-")', 'has("a")', "contains([1])", 'startswith("a")', 'ltrimstr("a")',
         "tonumber", "map(.)", "map(type)", "select(.)", "sort_by(.a)", "group_by(.a)",
         "unique_by(length)", "min_by(.a)", "map_values(1)", "with_entries(.)", "[limit(2; .[]?)]",
         "first(.[]?)", "any(. == 1)", "reduce .[]? as $n (0; . + 1)", ". as $v | [$v, $v]"]


def random_expression(source, depth):
    if depth == 0:
        return source.choice(TERMS)
    one, other = (random_expression(source, depth - 1) for _ in range(2))
    return source.choice([
        f"({one}) | ({other})", f"({one}) | ({other})", f"({one}), ({other})", f"[{one}]",
        f"({one}) + ({other})", f"({one}) - ({other})", f"({one}) * 2", f"({one}) == ({other})",
        f"({one}) < ({other})", f"({one}) // ({other})", f"({one}) and ({other})",
        f"({one}) or ({other})", f"if {one} then {other} else . end", f"{{k: ({one}), l: ({other})}}",
        f"map({one})", f"map(select({one}))", f'"a\\({one})b"'])


def by_jq(expression, text):
    done = subprocess.run([JQ, "-c", f"[{expression}]"], input=text, capture_output=True, text=True,
                          timeout=20)
    if done.returncode == 0:
        return json.loads(done.stdout)
    assert done.returncode == 5, f"jq refuses {expression}: {done.stderr}"
    return "error"


@pytest.mark.skipif(not JQ, reason="jq is not installed")
def test_the_common_part_is_jqs():
    source = random.Random(20261123)
    cases = [(term, value) for term in TERMS for value in source.sample(INPUTS, 3)]
    cases += [(random_expression(source, source.choice([1, 1, 2])), source.choice(INPUTS))
              for _ in range(250)]
    lines = "".join(f"{e}\t{json.dumps(v)}\n" for e, v in cases)
    ours = subprocess.run([str(BUILD / "tests" / "integration" / "expression_probe")], input=lines,
                          capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(ours) == len(cases)
    wrong = []
    for (expression, value), line in zip(cases, ours):
        mine = "error" if line.startswith("error") else json.loads(line)
        theirs = by_jq(expression, json.dumps(value))
        if mine != theirs:
            wrong.append(f"{expression}  for {json.dumps(value)}: {line}, jq: {json.dumps(theirs)}")
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:20])
