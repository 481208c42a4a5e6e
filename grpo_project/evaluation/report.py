"""Results and comparisons as tables on the console, by rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from grpo_project.common.statistics import wilson_interval
from grpo_project.evaluation.comparison import Comparison
from grpo_project.evaluation.results import EvaluationResult, ProblemResult
from grpo_project.evaluation.statistics import bootstrap_interval
from grpo_project.pddl import VERDICT_CLASSES

WIDTH_OF_A_FILE = 150  # columns, where the output is no terminal
_SHORT = {
    "success_plans": "success",
    "plan_format_error": "format",
    "precondition_violation": "precondition",
    "safety_constraints_violation": "constraint",
    "goal_not_satisfied": "goal",
}


def make_console() -> Console:
    """A console for standard output that does not fold tables into the 80 columns of a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OF_A_FILE)


def success_table(result: EvaluationResult) -> Table:
    """One line a domain: success with its 95% Wilson interval, and pass@k where answers were drawn."""
    ks = result.ks()
    table = _table("Success, greedy (intervals are 95%)", ["domain", "solved", "success", *(f"pass@{k}" for k in ks)])
    for domain in result.domains:
        problems = result.where(domain=domain)
        table.add_row(domain, *_solved(problems), *(_pass_at(problems, k) for k in ks))
    table.add_section()
    table.add_row("average", "", f"{100 * result.average():.1f}%", *[""] * len(ks))
    return table


def answer_table(result: EvaluationResult) -> Table:
    """One line a domain: how greedy answers failed; of those that solved, cost over reference cost; tokens and seconds."""
    header = ["domain", *_SHORT.values(), "cost/ref", "at ref", "tokens", "s/problem"]
    table = _table("Answers: the five verdict classes, plan cost, means per problem", header)
    for domain in result.domains:
        problems = result.where(domain=domain)
        ratios = [ratio for problem in problems if (ratio := problem.cost_ratio) is not None]
        table.add_row(
            domain,
            *(str(sum(problem.verdict_class == name for problem in problems)) for name in VERDICT_CLASSES),
            f"{sum(ratios) / len(ratios):.2f}" if ratios else "-",
            f"{sum(ratio <= 1 for ratio in ratios)}/{len(ratios)}" if ratios else "-",
            _mean([problem.completion_tokens for problem in problems], 0),
            _mean([problem.seconds for problem in problems], 3),
        )
    return table


def group_table(result: EvaluationResult) -> Table:
    """One line for each domain, difficulty bucket and constraint kind that has problems; then with and without constraints."""
    table = _table("By difficulty and constraints", ["domain", "bucket", "constraints", "solved", "success"])
    last = ""
    for (domain, bucket, kind), members in result.groups().items():
        if last and domain != last:
            table.add_section()
        last = domain
        table.add_row(domain, bucket, kind, *_solved(members))
    table.add_section()
    for name, constrained in (("with", True), ("without", False)):
        members = result.where(constrained=constrained)
        if members:
            table.add_row("all", "all", name, *_solved(members))
    return table


def comparison_table(comparison: Comparison, first: str, second: str) -> Table:
    """One line a domain: what both, one or none of the two solved, the difference in points, and McNemar's exact p-value."""
    table = _table(
        f"A = {first}, B = {second}, greedy, the same problems",
        ["domain", "problems", "A", "B", "both", "only A", "only B", "neither", "B - A", "p (exact McNemar)"],
    )
    for domain, pairs in comparison.counts.items():
        if domain == "all":
            table.add_section()
        solved = [pairs.both + pairs.only_first, pairs.both + pairs.only_second]
        rates = [f"{100 * successes / pairs.count:.1f}%" for successes in solved]
        outcomes = map(str, (pairs.both, pairs.only_first, pairs.only_second, pairs.neither))
        change = f"{100 * pairs.difference:+.1f}"
        table.add_row(domain, str(pairs.count), *rates, *outcomes, change, f"{pairs.p_value:.3g}")
    return table


def usage_line(result: EvaluationResult) -> str:
    """`1200 answers, 340,000 prompt and 21,000 completion tokens, cost 0.12; 3 answers were cut off at the limit`."""
    usage = result.usage
    parts = [f"{usage['answers']:,} answers"]
    if usage["prompt_tokens"] is not None:
        parts.append(f"{usage['prompt_tokens']:,} prompt and {usage['completion_tokens']:,} completion tokens")
    if "cost" in usage:
        parts.append(f"cost {usage['cost']:.4f}" if usage["cost"] is not None else "cost unknown: not every answer was counted")
    line = ", ".join(parts)
    if usage["cut_off"]:
        line += f"; {usage['cut_off']} answers were cut off at the limit of --max_completion_length"
    return line


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        text = number == 0 or column in ("bucket", "constraints")
        table.add_column(column, justify="left" if text else "right", no_wrap=True)
    return table


def _solved(problems: Sequence[ProblemResult]) -> tuple[str, str]:
    successes, count = sum(problem.success for problem in problems), len(problems)
    low, high = wilson_interval(successes, count)
    return f"{successes}/{count}", f"{100 * successes / count:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def _pass_at(problems: Sequence[ProblemResult], k: int) -> str:
    values = [problem.pass_at(k) for problem in problems]
    low, high = bootstrap_interval(values)
    return f"{100 * sum(values) / len(values):.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.{digits}f}" if known and len(known) == len(values) else "-"
