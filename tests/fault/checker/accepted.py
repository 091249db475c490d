"""The set of accepted jobs is the set of jobs that ended; a key stands for one job."""

from checker.records import ENDED, is_accepted, is_open_ended

CONFLICT = 409


def accepted_jobs_have_ended(records, report):
    """Each job that somebody was told of is in the store, with the prompt that was posted."""
    rule = "accepted = ended"
    told = {}
    for post in filter(is_accepted, records.posts):
        if not post.get("job_id"):
            report.violation(rule, "accepted without a job id", marker=post.get("marker"),
                             evidence=[post])
            continue
        told.setdefault(post["job_id"], post)
    report.counts["accepted"] = len(told)
    for job_id, post in told.items():
        row = records.rows.get(job_id)
        if not row:
            report.violation(rule, "accepted, and not in the store", job_id=job_id,
                             marker=post.get("marker"),
                             evidence=[post, *records.events_of.get(job_id, ())])
        elif row["_marker"] != post.get("marker"):
            report.violation(rule, "the store has another prompt under this id", job_id=job_id,
                             marker=post.get("marker"), evidence=[post, row])
    for row in records.store:
        if row["status"] not in ENDED:
            report.violation(rule, f"still {row['status']} at the end", job_id=row["id"],
                             marker=row["_marker"],
                             evidence=[row, *records.events_of.get(row["id"], ())])
        report.counts[row["status"].lower()] += 1


def nothing_unposted(records, report):
    """No more jobs of a marker than were posted: those told of, and one for each try whose answer
    was lost."""
    rule = "nothing unposted"
    for marker, rows in records.rows_of.items():
        posts = records.posts_of.get(marker, ())
        told = {post.get("job_id") for post in posts if is_accepted(post)}
        untold = [row for row in rows if row["id"] not in told]
        lost = [post for post in posts if is_open_ended(post)]
        if len(untold) > len(lost):
            report.violation(
                rule, f"{len(untold)} jobs that nobody was told of, {len(lost)} tries without an "
                      "answer", job_id=untold[0]["id"], marker=marker, evidence=[*untold, *posts])
        report.counts["jobs of lost answers"] += len(untold)


def rows_are_single(records, report):
    if len(records.rows) != len(records.store):
        seen = set()
        for row in records.store:
            if row["id"] in seen:
                report.violation("nothing unposted", "twice in the store", job_id=row["id"],
                                 marker=row["_marker"], evidence=[row])
            seen.add(row["id"])


def a_key_is_one_job(records, report):
    rule = "one key, one job"
    posts_of = records.group((post for post in records.posts if post.get("key")),
                             lambda post: post["key"])
    in_store = {one["key"]: one for one in records.keys}
    report.counts["keys"] = len(posts_of)
    for key, posts in posts_of.items():
        told = [post for post in posts if is_accepted(post)]
        ids = {post["job_id"] for post in told}
        markers = {post.get("marker") for post in posts}
        rows = [row for marker in markers for row in records.rows_of.get(marker, ())]
        about = {"marker": posts[0].get("marker"), "job_id": next(iter(ids), None)}
        if len(ids) > 1:
            report.violation(rule, f"key {key} was answered with {len(ids)} jobs", **about,
                             evidence=told)
        if len(rows) > 1:
            report.violation(rule, f"key {key} has {len(rows)} rows", **about,
                             evidence=[*rows, *posts])
        stored = in_store.get(key)
        if stored and ids and stored["job_id"] not in ids:
            report.violation(rule, f"key {key}: the store knows another job", **about,
                             evidence=[stored, *told])
        firsts = [post for post in told if post.get("replayed") is False]
        if len(firsts) > 1:
            report.violation(rule, f"key {key}: {len(firsts)} answers claim to be the first",
                             **about, evidence=firsts)


def a_key_has_one_body(records, report):
    """Another body under a used key is refused with 409; the same body never is."""
    rule = "another body, 409"
    keyed = (post for post in records.posts if post.get("key") and post.get("body"))
    for key, posts in records.group(keyed, lambda post: post["key"]).items():
        bodies = {post["body"] for post in posts}
        winners = {post["body"] for post in posts if is_accepted(post)}
        about = {"marker": posts[0].get("marker"),
                 "job_id": next((post["job_id"] for post in posts if is_accepted(post)), None)}
        if len(winners) > 1:
            report.violation(rule, f"key {key}: {len(winners)} different bodies were accepted",
                             **about, evidence=posts)
        refused = [post for post in posts if post.get("http") == CONFLICT]
        report.counts["409 for another body"] += len(refused)
        if refused and (len(bodies) == 1 or any(post["body"] in winners for post in refused)):
            report.violation(rule, f"key {key}: 409 although the body is the same", **about,
                             evidence=posts)


RULES = (accepted_jobs_have_ended, nothing_unposted, rows_are_single, a_key_is_one_job,
         a_key_has_one_body)
