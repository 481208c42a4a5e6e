"""What an evaluation found: counts per domain, difficulty and constraints, with Wilson intervals, and its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_project.core.statistics import wilson_interval
from grpo_project.pddl import VERDICT_CLASSES


@dataclass(frozen=True)
class ProblemResult:
    """One problem: who it is, what the verdict was, and what the plan cost against the reference (None where unknown)."""

    domain: str
    problem_file: str
    bucket: str
    constrained: bool
    verdict_class: str
    plan_cost: float
    reference_cost: float | None
    completion: str

    @property
    def success(self) -> bool:
        return self.verdict_class == "success_plans"


@dataclass(frozen=True)
class EvaluationResult:
    """All problems in the order in which they were asked, and how long the completions took."""

    problems: tuple[ProblemResult, ...]
    seconds: float
    name: str = ""

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(problem.domain for problem in self.problems))

    def counts(self, **where: Any) -> tuple[int, int]:
        """(successes, problems) among those whose attributes equal `where`."""
        chosen = [p for p in self.problems if all(getattr(p, key) == value for key, value in where.items())]
        return sum(p.success for p in chosen), len(chosen)

    def rate(self, domain: str) -> float:
        successes, count = self.counts(domain=domain)
        return successes / count if count else 0.0

    def average(self) -> float:
        """The mean of the domains' success rates, each domain counted once whatever its number of problems."""
        return sum(map(self.rate, self.domains)) / len(self.domains) if self.domains else 0.0

    def verdicts(self, domain: str) -> Counter[str]:
        return Counter(problem.verdict_class for problem in self.problems if problem.domain == domain)

    def to_json(self) -> dict[str, Any]:
        """Plain data: a summary for people, and every problem, from which from_json makes an equal result."""
        summary = {}
        for domain in self.domains:
            successes, count = self.counts(domain=domain)
            low, high = wilson_interval(successes, count)
            summary[domain] = {
                "successes": successes,
                "count": count,
                "interval_95": [low, high],
                "verdicts": dict(self.verdicts(domain)),
            }
        return {
            "name": self.name,
            "seconds": self.seconds,
            "average": self.average(),
            "domains": summary,
            "problems": [vars(problem) for problem in self.problems],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvaluationResult:
        return cls(tuple(ProblemResult(**problem) for problem in data["problems"]), data["seconds"], data["name"])


def _percent(successes: int, count: int) -> str:
    if not count:
        return "-"
    low, high = wilson_interval(successes, count)
    return f"{100 * successes / count:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with padded columns, so that it reads as plain text too. The first column is left-aligned."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def table(result: EvaluationResult) -> str:
    """Success per domain with counts, 95% Wilson intervals, difficulty and verdict classes."""
    buckets = [b for b in ("easy", "medium", "hard") if any(p.bucket == b for p in result.problems)]
    header = ["domain", "solved", "success [95%]", *buckets, *(name.removesuffix("_plans") for name in VERDICT_CLASSES[1:])]
    rows = []
    for domain in result.domains:
        successes, count = result.counts(domain=domain)
        cells = [domain, f"{successes}/{count}", _percent(successes, count)]
        for bucket in buckets:
            solved, asked = result.counts(domain=domain, bucket=bucket)
            cells.append(f"{solved}/{asked}")
        verdicts = result.verdicts(domain)
        rows.append(cells + [str(verdicts[name]) for name in VERDICT_CLASSES[1:]])
    rows.append(["average", "", f"{100 * result.average():.1f}%", *[""] * (len(header) - 3)])
    return render_table(header, rows)


def comparison_table(before: EvaluationResult, after: EvaluationResult) -> str:
    """Before and after on the same problems, per domain, with counts, intervals and the change in points."""
    rows = []
    for domain in before.domains:
        b, a = before.counts(domain=domain), after.counts(domain=domain)
        change = 100 * (after.rate(domain) - before.rate(domain))
        rows.append([domain, f"{b[0]}/{b[1]}", _percent(*b), f"{a[0]}/{a[1]}", _percent(*a), f"{change:+.1f}"])
    change = 100 * (after.average() - before.average())
    rows.append(["average", "", f"{100 * before.average():.1f}%", "", f"{100 * after.average():.1f}%", f"{change:+.1f}"])
    return render_table(["domain", "before", "success [95%]", "after", "success [95%]", "change"], rows)
