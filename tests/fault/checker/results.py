"""One recorded result a job, its own, by the attempt that was current; failures with a cause."""

from checker.records import ENDED, OWN_CLOCK_SLACK, seconds, was_answered
from checker.states import steps_of

# A worker sends a request three times at most for one attempt; the HTTP client sends one again when a
# kept connection turns out to be dead.
CALLS_AN_ATTEMPT = 6
WORKER_FAULTS = ("processes", "points", "postgres", "network", "clock", "store")
MODEL_FAULTS = ("models", "network", "processes", "points")
# A worker hears of a cancellation by notification, else with its next heartbeat (3 s).
STOP_GRACE = 4.5
UNSETTLED = 15.0  # seconds after a fault in which processes may still be finding back


def a_job_has_its_own_result(records, report):
    rule = "one result, its own"
    for row in records.store:
        about = {"job_id": row["id"], "marker": row["_marker"]}
        calls = records.calls_of.get(row["_marker"], [])
        answered = [call for call in calls if was_answered(call)]
        if row["status"] != "COMPLETED":
            if row["result"] is not None:
                report.violation(rule, f"{row['status']}, with a result", **about, evidence=[row])
            continue
        if row["result"] is None or row["_marker"] not in row["result"]:
            report.violation(rule, "the result is of another job, or of none", **about,
                             evidence=[row, *calls])
        elif not answered:
            report.violation(rule, "a result, and the model has answered no call", **about,
                             evidence=[row, *calls])
        else:
            report_stale(records, report, row, answered)
        for request in records.asked_of.get(row["id"], ()):
            if request.get("result") not in (None, row["result"]):
                report.violation(rule, "was answered with another result", **about,
                                 evidence=[request, row])


def report_stale(records, report, row, answered):
    """The result is the answer to a call of the attempt that was current. Only where answers differ
    from call to call, and times of the product can be compared with the recorder's."""
    texts = [call.get("answer") for call in answered]
    if None in texts:
        return
    source = [call for call in answered if call["answer"] == row["result"]]
    evidence = [row, *answered, *records.events_of.get(row["id"], ())]
    about = {"job_id": row["id"], "marker": row["_marker"]}
    if not source:
        report.violation("one result, its own", "no call was answered with this result", **about,
                         evidence=evidence)
        return
    started = seconds(row["started_at"])
    report.counts["results traced to a call"] += 1
    if records.clock_is_true() and max(call["t0"] for call in source) < started - OWN_CLOCK_SLACK:
        report.violation("no stale write", "the result is of a call made before the last attempt "
                         "began: an attempt that was over has written it", **about,
                         evidence=evidence)


def attempts_explain_calls(records, report):
    """Every call to the model belongs to an attempt."""
    if not records.run.get("had_events", True):
        report.did_not_judge("calls and attempts", "there was no listener all the time")
        return
    for marker, calls in records.calls_of.items():
        rows = records.rows_of.get(marker, ())
        starts = sum(len([v for v in steps_of(records, row["id"]).types
                          if (steps_of(records, row["id"]).body(v) or {}).get("status")
                          == "PROCESSING"]) for row in rows)
        if marker and len(calls) > starts * CALLS_AN_ATTEMPT:
            report.violation("calls and attempts", f"{len(calls)} calls, {starts} attempts",
                             marker=marker, job_id=rows[0]["id"] if rows else None,
                             evidence=[*rows, *calls])


def rows_are_possible(records, report):
    for row in records.store:
        wrong = []
        if row["attempt"] > row["max_attempts"]:
            wrong.append(f"attempt {row['attempt']} of {row['max_attempts']}")
        if row["attempt"] > row["version"] - 1:
            wrong.append(f"attempt {row['attempt']} at version {row['version']}")
        if (row["status"] in ENDED) != (row["finished_at"] is not None):
            wrong.append(f"{row['status']}, finished_at {row['finished_at']}")
        if (row["status"] == "PROCESSING") != (row.get("session") is not None):
            wrong.append(f"{row['status']}, session {row.get('session')}")
        if row["status"] == "COMPLETED" and not row["attempt"]:
            wrong.append("completed without an attempt")
        for what in wrong:
            report.violation("rows", what, job_id=row["id"], marker=row["_marker"], evidence=[row])


def failures_have_a_cause(records, report):
    rule = "failures have a cause"
    for row in records.store:
        if row["status"] == "FAILED":
            what = blameless(records, row)
            report.counts[f"failed: {row['error_code']}"] += 1
            if what:
                report.violation(
                    rule, f"{row['error_code']}: {what}", job_id=row["id"], marker=row["_marker"],
                    evidence=[row, *records.calls_of.get(row["_marker"], ()),
                              *records.events_of.get(row["id"], ())])


def blameless(records, row):
    """Why this failure is not explained, or None."""
    code = row["error_code"] or ""
    begun, over = seconds(row["created_at"]), seconds(row["finished_at"])
    if not records.clock_is_true():
        begun, over = float("-inf"), float("inf")
    failed_calls = [call for call in records.calls_of.get(row["_marker"], ())
                    if not was_answered(call)]
    used_up = row["attempt"] >= row["max_attempts"]
    if code == "internal_worker_lost":
        if not used_up:
            return "attempts were left"
        if not records.faults_between(begun - UNSETTLED, over, WORKER_FAULTS):
            return "no fault has hit a worker meanwhile"
    elif code.startswith("provider_"):
        if not used_up:
            return "attempts were left"
        if not failed_calls and not records.faults_between(begun, over, MODEL_FAULTS):
            return "the model server has failed no call"
    elif code.startswith(("caller_", "policy_")):
        if not any((call.get("status") or 0) >= 400 for call in failed_calls):
            return "the model server has refused no call"
    else:
        return "no such failure is to be expected"
    return None


def cancelled_calls_are_stopped(records, report):
    """Without faults of its worker around, the call of a cancelled job ends soon, and none is begun."""
    for request in records.clients:
        if request["op"] != "cancel" or not request.get("http") or request["http"] >= 300:
            continue
        told = request["t1"]
        if records.faults_between(told - UNSETTLED, told + STOP_GRACE, WORKER_FAULTS):
            continue
        row = records.rows.get(request["job_id"])
        late = [call for call in records.calls_of.get(request.get("marker"), ())
                if (call.get("t1") or float("inf")) > told + STOP_GRACE]
        if row and late and len(records.rows_of[row["_marker"]]) == 1:
            report.violation("cancelled stays cancelled", f"a call of it went on for more than "
                             f"{STOP_GRACE} s", job_id=row["id"], marker=row["_marker"],
                             evidence=[request, *late])


RULES = (a_job_has_its_own_result, attempts_explain_calls, rows_are_possible, failures_have_a_cause,
         cancelled_calls_are_stopped)
