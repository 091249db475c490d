#!/usr/bin/env python3
"""The closing line of ./check: counts.py FAILED-STEPS FOLDER

Adds up what the runners in FOLDER reported: Criterion's and fuzzers' results from meson's logs
(testlog-*.txt), pytest's from its JUnit file. A step that failed without any failed test (a build,
say) counts as one failure. Exits with 1 when anything failed or nothing ran.
"""
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

failed_steps, folder = sys.argv[1].split(), pathlib.Path(sys.argv[2])
passed = failed = skipped = 0

for log in sorted(folder.glob("testlog-*.txt")):
    text = log.read_text(errors="replace")
    # Criterion: one synthesis a suite; everything else counts as one test a program.
    for block in re.split(r"^=+ \d+/\d+ =+$", text, flags=re.M)[1:]:
        synthesis = re.findall(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)",
                               re.sub(r"\x1b\[[0-9;]*m", "", block))
        result = re.search(r"^result: +(.*)$", block, flags=re.M)
        outcome = result.group(1) if result else ""
        if synthesis:
            for tested, good, bad, crashed in synthesis:
                passed += int(good)
                failed += int(bad) + int(crashed)
        elif "SKIP" in outcome or "exit status 77" in outcome:
            skipped += 1
        elif "exit status 0" in outcome:
            passed += 1
        else:
            failed += 1

for report in folder.glob("*.xml"):
    for suite in xml.parse(report).getroot().iter("testsuite"):
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        passed += int(suite.get("tests")) - bad - int(suite.get("skipped"))
        failed += bad
        skipped += int(suite.get("skipped"))

if failed_steps:
    print("failed steps:", *failed_steps)
    failed = max(failed, 1)
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed or not passed else 0)
