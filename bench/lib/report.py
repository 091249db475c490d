"""Results as text: a table a case for the terminal, docs/benchmarks.md for readers, JSON for machines."""

import statistics

from .result import OURS

INTERNALS = "internals/performance.md"


def number(value):
    """Three significant digits and more, with thousands separated: 12,345; 1,230; 45.6; 0.12."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def verdict_text(metric, value):
    verdict, by = metric.verdict(value)
    if verdict == "missed":
        return f"missed by {by:.0f} %"
    return verdict


def rows_of(result):
    """(metric, contender, median, lowest, highest, rounds, ratio, target, verdict)."""
    for key, metric in result.metrics.items():
        ours = result.median(key)
        for contender in result.contenders(key):
            values = result.samples[key][contender]
            median = statistics.median(values)
            is_ours = contender == OURS
            ratio = ""
            if not is_ours and ours and median:
                times = ours / median if metric.better == "higher" else median / ours
                ratio = f"{times:.1f}×" if times < 100 else f"{times:.0f}×"
            target = ""
            if is_ours and metric.target is not None:
                sign = "≥" if metric.better == "higher" else "≤"
                target = f"{sign} {number(metric.target)}"
            yield (f"{metric.title}, {metric.unit}", contender, number(median),
                   f"{number(min(values))} – {number(max(values))}", str(len(values)), ratio, target,
                   verdict_text(metric, median) if is_ours else "")


HEAD = ("", "who", "median", "lowest – highest", "rounds", "aiplat is better by", "target", "")


def terminal_table(result):
    rows = [HEAD, *rows_of(result)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = []
    last = None
    for row in rows:
        title = "" if row[0] == last else row[0]
        last = row[0]
        cells = [title, *row[1:]]
        lines.append("  " + "  ".join(
            cell.rjust(width) if i in (2, 3, 4, 5, 6) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths))).rstrip())
    lines += [f"  {line}" for line in cpu_lines(result)]
    lines += [f"  {fact}" for fact in result.facts]
    lines += [f"  FAILED: {failure}" for failure in result.failures]
    return "\n".join(lines)


def cpu_lines(result):
    lines = []
    for contender in result.cpu:
        parts = result.cpu_medians(contender)
        listed = ", ".join(f"{label} {number(value)}" for label, value in parts.items()
                           if value >= 0.005)
        total = sum(parts.values())
        lines.append(f"CPU a job, µs, {contender}: {listed}; together {number(total)}")
    return lines


def markdown_table(rows):
    rows = list(rows)
    lines = ["| " + " | ".join(rows[0]) + " |", "|---|---|---:|---:|---:|---:|---:|---|"]
    last = None
    for row in rows[1:]:
        title = "" if row[0] == last else row[0]
        last = row[0]
        verdict = row[7].replace("missed", f"[missed]({INTERNALS})")
        who = f"**{row[1]}**" if row[1] == OURS else row[1]
        lines.append("| " + " | ".join([title, who, *row[2:7], verdict]) + " |")
    return "\n".join(lines)


def summary_rows(results):
    yield ("case", "metric", "target", "aiplat", "verdict")
    for result in results:
        for key, metric in result.metrics.items():
            ours = result.median(key)
            if metric.target is None:
                continue
            sign = "≥" if metric.better == "higher" else "≤"
            yield (result.name, f"{metric.title}, {metric.unit}", f"{sign} {number(metric.target)}",
                   number(ours), verdict_text(metric, ours) if ours is not None else "not measured")


def one_line(text):
    """Of a failure with a log behind it, its first line: a list entry of the page holds no more."""
    return next(iter(text.splitlines()), "")


def markdown(results, head):
    """The whole of docs/benchmarks.md."""
    m = head["machine"]
    out = ["# Benchmarks", "",
           "Written by `bench/run all`; how it measures is in [bench/README.md](../bench/README.md).",
           "fsync, publisher confirms and logs are on, as in production. Servers, load and programs",
           "share the cores. Peers run as their own documentation says to run them fast, on the same",
           "servers, round by round between ours.", "",
           f"{head['date']}, commit {head['versions']['aiplat']}.", "",
           f"Machine: {m['cpu']}, {m['cores']} cores, {m['memory_gb']} GB, Linux {m['kernel']}, "
           f"{number(m['fdatasync_per_s'])} fdatasync/s of 8 kB.", "", "## Targets", ""]
    out += [f"**Failed**: {one_line(text)}\n" for text in head.get("failures", ())]
    rows = list(summary_rows(results))
    out.append("| " + " | ".join(rows[0]) + " |")
    out.append("|---|---|---:|---:|---|")
    for row in rows[1:]:
        cells = [f"[{row[0]}](#{row[0]})", *row[1:4],
                 row[4].replace("missed", f"[missed]({INTERNALS})")]
        out.append("| " + " | ".join(cells) + " |")
    for result in results:
        out += ["", f"## {result.name}", "", f"{result.work}. To reach: {result.target}.", ""]
        if result.samples:
            out.append(markdown_table([("", *HEAD[1:]), *rows_of(result)]))
        out += [""] + [f"- {line}" for line in cpu_lines(result) + result.facts]
        out += [f"- **Failed**: {one_line(failure)}" for failure in result.failures]
    out += ["", "## Who took part", "", "| part | version |", "|---|---|"]
    out += [f"| {name} | {version} |" for name, version in head["versions"].items()]
    if head["peers"]:
        out += ["", "| peer | run this way |", "|---|---|"]
        out += [f"| {name} | {why} |" for name, why in head["peers"].items()]
    return "\n".join(out) + "\n"
