"""What happened to each job, step by step: by its events, and by what clients saw."""

import collections
import uuid

from checker.records import ENDED, seconds

NEVER_EXISTED = None
OWN_EVENT = {"COMPLETED": "job.completed", "FAILED": "job.failed", "INTERRUPTED": "job.interrupted"}
CHANGED = "job.status_changed"
# (from, to) → by how much the attempt may rise
LEGAL = {("QUEUED", "PROCESSING"): (1,), ("PROCESSING", "COMPLETED"): (0,),
         ("PROCESSING", "FAILED"): (0,), ("PROCESSING", "QUEUED"): (0, -1),
         ("QUEUED", "CANCELLED"): (0,), ("PROCESSING", "CANCELLED"): (0,),
         ("PROCESSING", "INTERRUPTED"): (0,), ("INTERRUPTED", "QUEUED"): (-1,),
         ("INTERRUPTED", "CANCELLED"): (0,)}
NOT_FOUND, CONFLICT = 404, 409
# A job that may start at once is started by its message. Without one a worker finds it in the store
# after 5 s: so none came, although all faults were over for so long.
START_WITHIN, UNSETTLED = 4.5, 15.0
SLOTS = 256  # of one worker: with so many calls open the workers may have been full
FLOW_FAULTS = ("processes", "points", "rabbitmq", "postgres", "network", "clock", "store")
WAIT_SLACK = 0.2  # seconds by which a wait may be shorter than was asked for
LEAVING = 12.0    # seconds after it was told to end in which a gateway answers those who wait


class Steps:
    """The versions of one job, as its events tell them."""

    def __init__(self, events):
        self.types = collections.defaultdict(dict)  # version → type → first event
        self.heard = {}                             # version → when it was first heard of
        self.repeated = 0
        self.faults = []                            # (what, events)
        for event in events:
            self.take(event)

    def take(self, event):
        body = event["body"]
        version, kind = body.get("sequence"), body.get("type")
        if not isinstance(version, int) or event["routing_key"] != kind:
            self.faults.append(("an event without a sequence, or under another routing key",
                                [event]))
            return
        known = self.types[version].setdefault(kind, event)
        self.heard[version] = min(event["t"], self.heard.get(version, event["t"]))
        if known is event:
            name = uuid.uuid5(uuid.UUID(body["job_id"]), f"{version}:{kind}")
            if body.get("event_id") != str(name):
                self.faults.append((f"version {version}, {kind}: not the event_id that it has to "
                                    "have", [event]))
        elif known["body"] == body:
            self.repeated += 1
        else:
            what = "twice with different ids" \
                if known["body"].get("event_id") != body.get("event_id") \
                else "twice, and not the same"
            self.faults.append((f"version {version}, {kind}: {what}", [known, event]))

    def body(self, version):
        """Of the event that tells of this version's status, or None."""
        types = self.types.get(version, {})
        event = types.get("job.created") or types.get(CHANGED)
        return event["body"] if event else None


def steps_of(records, job_id):
    if not hasattr(records, "steps"):
        records.steps = {}
    if job_id not in records.steps:
        records.steps[job_id] = Steps(records.events_of.get(job_id, ()))
    return records.steps[job_id]


# -- events ---------------------------------------------------------------------------------


def events_are_complete(records, report):
    """Each version from 1 to that of the row has exactly the events that its transition makes, each
    version follows from the one before, and the last is what the row says."""
    for job_id in records.events_of.keys() - records.rows.keys():
        report.violation("events", "events of a job that the store does not have", job_id=job_id,
                         evidence=records.events_of[job_id])
    if not records.run.get("had_events", True):
        report.did_not_judge("events", "there was no listener all the time")
    for row in records.store:
        steps = steps_of(records, row["id"])
        report.counts["repeated events"] += steps.repeated
        faults = list(steps.faults)
        if records.run.get("had_events", True):
            faults += missing(steps, row)
        faults += illegal(steps) + ends_like_row(steps, row)
        for what, evidence in faults:
            report.violation("events", what, job_id=row["id"], marker=row["_marker"],
                             evidence=evidence or [row, *records.events_of.get(row["id"], ())])


def missing(steps, row):
    for version in range(1, row["version"] + 1):
        there = set(steps.types.get(version, ()))
        body = steps.body(version)
        if version == 1:
            wanted = {"job.created"}
        elif body and body["status"] in OWN_EVENT:
            wanted = {CHANGED, OWN_EVENT[body["status"]]}
        else:
            wanted = {CHANGED}
        if wanted - there:
            lacking = ", ".join(sorted(wanted - there))
            yield f"version {version} of {row['version']}: no {lacking}", ()
        if there - wanted:
            yield f"version {version}: {', '.join(sorted(there - wanted))} is too much", ()
    for version in sorted(steps.types):
        if not 1 <= version <= row["version"]:
            yield f"an event of version {version}, but the row has {row['version']}", ()


def illegal(steps):
    found = []
    for version in sorted(steps.types):
        body, before = steps.body(version), steps.body(version - 1)
        bodies = [event["body"] for event in steps.types[version].values()]
        evidence = [*steps.types[version].values(), *steps.types.get(version - 1, {}).values()]
        if any(one["status"] != bodies[0]["status"] or one["attempt"] != bodies[0]["attempt"]
               for one in bodies):
            found.append((f"version {version}: its events disagree", evidence))
        if not body:
            continue
        if version == 1:
            if (body["status"], body["attempt"], body.get("previous_status")) != \
                    ("QUEUED", 0, None):
                found.append(("did not begin as QUEUED, attempt 0", evidence))
            continue
        move = body.get("previous_status"), body["status"]
        if move not in LEGAL:
            found.append((f"version {version}: {move[0]} → {move[1]} is no transition", evidence))
        elif before and (before["status"] != move[0]
                         or body["attempt"] - before["attempt"] not in LEGAL[move]):
            found.append((f"version {version}: {move[0]} attempt {body['attempt']} → {move[1]} does "
                          f"not follow {before['status']} attempt {before['attempt']}", evidence))
        if before and seconds(body["occurred_at"]) < seconds(before["occurred_at"]):
            found.append((f"version {version} happened before version {version - 1}", evidence))
        if body["status"] == "FAILED" and not body.get("error_code"):
            found.append((f"version {version}: failed without an error_code", evidence))
    return found


def ends_like_row(steps, row):
    body = steps.body(row["version"])
    if not body:
        return []
    told = body["status"], body["attempt"], round(seconds(body["occurred_at"]), 6)
    kept = row["status"], row["attempt"], round(seconds(row["updated_at"]), 6)
    if told != kept:
        return [(f"the last event says {told}, the row {kept}", ())]
    if body["status"] == "FAILED" and body.get("error_code") != row["error_code"]:
        return [("the last event has another error_code than the row", ())]
    return []


def jobs_flow_by_message(records, report):
    """With no fault around and a worker free, a job that is due starts soon."""
    for row in records.store:
        heard = steps_of(records, row["id"]).heard
        if row["attempt"] != 1 or row["run_at"] != row["created_at"] or not {1, 2} <= heard.keys():
            continue
        late = heard[2] - heard[1]
        if late > START_WITHIN and records.calls_between(heard[1], heard[2]) < SLOTS and \
                not records.faults_between(heard[1] - UNSETTLED, heard[2], FLOW_FAULTS):
            report.violation("flow", f"started {late:.1f} s after it was accepted, and no fault "
                             "was around", job_id=row["id"], marker=row["_marker"],
                             evidence=[row, *records.events_of[row["id"]][:4]])


# -- what clients saw -----------------------------------------------------------------------


def reads_never_go_back(records, report):
    """There is a sequence of versions that explains everything clients saw: what was told before a
    request began, by an event or to any client, holds for its answer."""
    for job_id, asked in records.asked_of.items():
        row = records.rows.get(job_id)
        if row:
            report.counts["reads"] += len(asked)
            explain(records, report, row, asked)


def explain(records, report, row, asked):
    steps = steps_of(records, row["id"])
    floors = [(heard, version, None) for version, heard in steps.heard.items()]
    for request in sorted(asked, key=lambda one: one["t0"]):
        seen = seen_status(request)
        if seen is NEVER_EXISTED:
            continue
        known = max((floor for floor in floors if floor[0] < request["t0"]),
                    key=lambda floor: floor[1], default=(0, 1, None))
        version = next((v for v in range(known[1], row["version"] + 1)
                        if is_possible(steps, row, v, seen)), None)
        if version is None:
            since = known[2] or next(iter(steps.types.get(known[1], {}).values()), None)
            report.violation(
                "no state goes back", f"was answered {'/'.join(seen)}, but version {known[1]} of "
                f"{row['version']} was known before", job_id=row["id"], marker=row["_marker"],
                evidence=[since, request, row])
            continue
        floors.append((request["t1"], version, request))


def seen_status(request):
    """The statuses that an answer allows; NEVER_EXISTED where it says nothing."""
    if request.get("http") == CONFLICT and request["op"] == "cancel":
        return "COMPLETED", "FAILED"
    if request.get("http") is None or not 200 <= request["http"] < 300 or not request.get("status"):
        return NEVER_EXISTED
    return (request["status"],)


def is_possible(steps, row, version, seen):
    """Whether the job could be answered so at this version; a version without an event may be
    anything but the end."""
    if version == row["version"]:
        return row["status"] in seen
    body = steps.body(version)
    if body:
        return body["status"] in seen
    return version < row["version"] and bool(set(seen) & {"QUEUED", "PROCESSING"})


def known_jobs_are_found(records, report):
    told = {}
    for request in records.clients:  # by t1
        job_id = request.get("job_id")
        if not job_id:
            continue
        if request.get("http") == NOT_FOUND and request["op"] != "post":
            first = told.get(job_id)
            if first and first["t1"] < request["t0"]:
                report.violation("no state goes back", "404 for a job that was there before",
                                 job_id=job_id, marker=request.get("marker"),
                                 evidence=[first, request])
        elif request.get("http") and 200 <= request["http"] < 300:
            told.setdefault(job_id, request)


def listed_jobs_do_not_go_back(records, report):
    """Lists read the same store: what has ended is not listed as open by a later request."""
    ended = {}
    for request in records.clients:
        if request.get("status") in ENDED and request.get("job_id"):
            ended.setdefault(request["job_id"], request)
    for request in records.clients:
        for job_id, status in request.get("jobs") or ():
            first = ended.get(job_id)
            if first and first["t1"] < request["t0"] and status != first["status"]:
                report.violation("no state goes back", f"listed as {status} after its end",
                                 job_id=job_id, marker=records.marker_of(job_id),
                                 evidence=[first, request])


def cancelled_stays_cancelled(records, report):
    rule = "cancelled stays cancelled"
    asked = collections.defaultdict(list)
    for request in records.clients:
        if request["op"] == "cancel" and request.get("job_id"):
            asked[request["job_id"]].append(request)
    for job_id, requests in asked.items():
        row = records.rows.get(job_id)
        told = [one for one in requests if one.get("http") and 200 <= one["http"] < 300]
        report.counts["told cancelled"] += bool(told)
        if row and told and row["status"] != "CANCELLED":
            report.violation(rule, f"was told cancelled, and is {row['status']}", job_id=job_id,
                             marker=row["_marker"],
                             evidence=[*told, row, *records.events_of.get(job_id, ())])
    for row in records.store:
        if row["status"] == "CANCELLED" and row["id"] not in asked:
            report.violation(rule, "cancelled, and nobody asked for it", job_id=row["id"],
                             marker=row["_marker"], evidence=[row])


def leaving_gateways(records):
    """(gateway's number, from, until): it has been told to end, and lets nobody wait any more."""
    return [(int(fault["target"].rsplit("-", 1)[1]) - 1, fault["t0"], fault["t0"] + LEAVING)
            for fault in records.faults if fault["fault"] == "processes.program_drained"
            and fault["target"].startswith("gateway-")]


def waits_return_ended_jobs(records, report):
    """A wait that is answered before its time is up is answered with an ended job."""
    leaving = leaving_gateways(records)
    for request in records.clients:
        if request["op"] != "wait" or request.get("http") != 200 or "wait" not in request:
            continue
        took = request["t1"] - request["t0"]
        if any(request.get("gateway") == number and begin <= request["t1"] <= end
               for number, begin, end in leaving):
            continue
        if request.get("status") not in ENDED and took < request["wait"] - WAIT_SLACK:
            report.violation("waits", f"answered {request.get('status')} after {took:.2f} of "
                             f"{request['wait']} s", job_id=request.get("job_id"),
                             marker=request.get("marker"), evidence=[request])


RULES = (events_are_complete, jobs_flow_by_message, reads_never_go_back, known_jobs_are_found,
         listed_jobs_do_not_go_back, cancelled_stays_cancelled, waits_return_ended_jobs)
