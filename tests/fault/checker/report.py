"""What the checker found: violations with their evidence, counts, and what could not be judged."""

import collections
import json

MOST_EVIDENCE = 12  # lines shown of one violation
MOST_SHOWN = 20     # violations of one rule that the text report spells out; --json has all


class Report:
    def __init__(self):
        self.violations = []
        self.counts = collections.Counter()
        self.not_judged = {}

    def violation(self, rule, what, *, job_id=None, marker=None, evidence=()):
        """`evidence` are records; they are shown with the line they stand on."""
        self.violations.append({
            "rule": rule, "what": what, "job_id": job_id, "marker": marker,
            "evidence": [self.line(record) for record in evidence if record]})

    def did_not_judge(self, rule, why):
        self.not_judged[rule] = why

    @staticmethod
    def line(record):
        shown = {name: value for name, value in record.items() if name[0] != "_"}
        return f"{record.get('_at', '?')}: {json.dumps(shown)}"

    def as_json(self):
        return {"violations": self.violations, "counts": dict(self.counts),
                "not_judged": self.not_judged}

    def as_text(self):
        by_rule = collections.defaultdict(list)
        for one in self.violations:
            by_rule[one["rule"]].append(one)
        lines = [f"{name:28} {self.counts[name]}" for name in sorted(self.counts)]
        lines += [f"not judged: {rule}: {why}" for rule, why in sorted(self.not_judged.items())]
        for rule, found in sorted(by_rule.items()):
            lines.append(f"\n{rule}: {len(found)}")
            for one in found[:MOST_SHOWN]:
                of = " ".join(filter(None, (one["job_id"], one["marker"])))
                lines.append(f"  {of + ': ' if of else ''}{one['what']}")
                lines += [f"      {line}" for line in one["evidence"][:MOST_EVIDENCE]]
                left = len(one["evidence"]) - MOST_EVIDENCE
                if left > 0:
                    lines.append(f"      … and {left} more lines")
            if len(found) > MOST_SHOWN:
                lines.append(f"  … and {len(found) - MOST_SHOWN} more")
        lines.append(f"\n{len(self.violations)} violations" if self.violations else "no violations")
        return "\n".join(lines)
