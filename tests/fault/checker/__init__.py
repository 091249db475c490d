"""Judges what a fault run recorded: reads files, knows the promises, shares code with nobody.

    records.py     the folder, read and sorted by job
    accepted.py    accepted = ended; keys; nothing that nobody posted
    states.py      events: complete, legal; reads that never go back; cancels; waits
    results.py     one result, its own, by the attempt that was current; causes of failures
    leftovers.py   queue and outbox empty; memory, descriptors and threads at their level

Each rule is a function that takes the Records and a Report; it adds a violation with its evidence
or, where the records cannot tell, says that it did not judge.
"""

from checker import accepted, leftovers, results, states
from checker.records import Records
from checker.report import Report

RULES = (*accepted.RULES, *states.RULES, *results.RULES, *leftovers.RULES)


def judge(folder):
    """The Report on a folder of records."""
    report = Report()
    records = Records(folder, report)
    for rule in RULES:
        rule(records, report)
    return report
