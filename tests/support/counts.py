#!/usr/bin/env python3
"""The closing lines of ./check: counts.py FAILED-STEPS FOLDER

Adds up what the runners in FOLDER reported: what the programs of meson's logs (testlog-*.txt) say of
their tests, and pytest's JUnit files. A test counts once for each build it ran in. A program that
failed without naming a test, and a step that failed without any failed test (a build, say), count as
one failure. Names everything that failed or was skipped. Exits with 1 when anything failed or
nothing ran.
"""
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

SKIP = 77  # the exit code by which a program says that it could not run
BLOCK = re.compile(r"^=+ \d+/\d+ =+$", flags=re.M)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Criterion, tests/support/in_process, pytest: each as (passed, failed, skipped) from its last line.
CRITERION = re.compile(r"Tested: \d+ \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")
IN_PROCESS = re.compile(r"^Tested: (\d+) \| Failing: (\d+) \| Skipped: (\d+)", flags=re.M)
PYTEST = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+,? ?)+) in [\d.]+s", flags=re.M)


def tests_of_program(output):
    """(passed, failed, skipped) as the program said itself; None when it said nothing."""
    if found := CRITERION.search(output):
        passed, failing, crashing = map(int, found.groups())
        return passed, failing + crashing, 0
    if found := IN_PROCESS.search(output):
        tested, failing, skipped = map(int, found.groups())
        return tested - failing, failing, skipped
    if found := PYTEST.search(output):
        number = {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) ([a-z]+)", found[1])}
        return (number.get("passed", 0), number.get("failed", 0) + number.get("error", 0),
                number.get("skipped", 0))
    return None


def programs_of_log(path):
    """For each program of a meson log: its name and (passed, failed, skipped)."""
    build = re.sub(r"^testlog-(\d+-)?", "", path.stem)
    for block in BLOCK.split(COLOUR.sub("", path.read_text(errors="replace")))[1:]:
        field = dict(re.findall(r"^(test|result): +(.*)$", block, flags=re.M))
        code = re.search(r"exit status (\d+)", field.get("result", ""))
        code = int(code[1]) if code else -1
        counts = tests_of_program(block)
        if code == SKIP:
            counts = 0, 0, 1
        elif counts is None:
            counts = (1, 0, 0) if code == 0 else (0, 1, 0)
        elif code != 0 and counts[1] == 0:
            counts = counts[0], 1, counts[2]
        yield f"{field.get('test', '?')} ({build})", counts


def tests_of_report(path):
    """For each test of a JUnit file: its name and (passed, failed, skipped)."""
    for case in xml.parse(path).getroot().iter("testcase"):
        failed = any(case.find(kind) is not None for kind in ("failure", "error"))
        skipped = not failed and case.find("skipped") is not None
        yield (f"{case.get('classname')}::{case.get('name')}",
               (int(not failed and not skipped), int(failed), int(skipped)))


def main():
    failed_steps, folder = sys.argv[1].split(), pathlib.Path(sys.argv[2])
    totals = [0, 0, 0]
    for find, pattern in (programs_of_log, "testlog-*.txt"), (tests_of_report, "*.xml"):
        for path in sorted(folder.glob(pattern)):
            for name, counts in find(path):
                totals = [total + count for total, count in zip(totals, counts)]
                if counts[1]:
                    print("failed:", name)
                if counts[2]:
                    print("skipped:", name, f"({counts[2]})" if counts[2] > 1 else "")
    passed, failed, skipped = totals
    if failed_steps:
        print("failed steps:", *failed_steps)
        failed = max(failed, 1)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
