"""Results and comparisons as tables: Markdown that reads as plain text on the console too."""

from __future__ import annotations

from collections.abc import Sequence

from grpo_project.common.text import interval_text, percent, rate_text, text_table
from grpo_project.evaluation.comparison import Comparison
from grpo_project.evaluation.results import NO_ANSWER, EvaluationResult, ProblemResult
from grpo_project.evaluation.strategies import Outcome, as_many_tokens, best_of, paired, repaired, sizes
from grpo_project.pddl import VERDICT_CLASSES
from grpo_project.pddl.lenient import DROPPED, STRICT

_SHORT = {
    "success_plans": "success",
    "plan_format_error": "format",
    "precondition_violation": "precondition",
    "safety_constraints_violation": "constraint",
    "goal_not_satisfied": "goal",
    NO_ANSWER: "no answer",
}


def print_result(result: EvaluationResult) -> None:
    """Everything that script/evaluate.py shows of a result."""
    tables = [success_table, repeats_line, readings_line, answer_table, group_table]
    if result.num_samples:
        tables.append(best_of_table)
    if result.settings.get("repair_turns"):
        tables += [repair_table, repairs_line]
    for table in (*tables, usage_line):
        if text := table(result):
            print(text)


def success_table(result: EvaluationResult) -> str:
    """One line a domain: success with its 95% Wilson interval, and pass@k where answers were drawn."""
    ks = result.ks()
    rows = [
        [domain, *_solved(result.where(domain=domain)), *(_pass_at(result, k, domain) for k in ks)] for domain in result.domains
    ]
    rows.append(["average", "", percent(result.average()), *[""] * len(ks)])
    return _titled("Success, greedy (intervals are 95%)", ["domain", "solved", "success", *(f"pass@{k}" for k in ks)], rows)


def repeats_line(result: EvaluationResult) -> str:
    """How many of the problems are different ones; "" where all are."""
    count, different = len(result.problems), len(result.without_repeats().problems)
    if count == different:
        return ""
    return (
        f"warning: the {count} problems are {different} different ones, up to names and order: repeats count in the rates, and "
        "make the intervals too narrow; paired comparisons count each problem once"
    )


def readings_line(result: EvaluationResult) -> str:
    """Greedy success by the strict and the lenient reading of answers, and what the lenient one dropped; "" where unknown."""
    successes = result.successes_by_reading()
    if successes is None:
        return ""
    count = len(result.problems)
    rates = ", ".join(f"{name} {solved}/{count} {rate_text(solved, count)}" for name, solved in successes.items())
    line = f"By how answers are read: {rates}; the tables are {result.settings.get('plan_reading', STRICT)}"
    dropped = result.dropped()
    if dropped:
        parts = ", ".join(f"{DROPPED[name]} ({number})" for name, number in sorted(dropped.items()) if name != "answers")
        line += f"\nTo read {dropped['answers']} answers leniently, this was dropped: {parts}"
    return line


def answer_table(result: EvaluationResult) -> str:
    """One line a domain: how greedy answers failed; of those that solved, cost over reference cost; tokens and seconds."""
    classes = (*VERDICT_CLASSES, *([NO_ANSWER] if result.where(verdict_class=NO_ANSWER) else []))
    header = ["domain", *(_SHORT[name] for name in classes), "cost/ref", "at ref", "tokens", "s/problem"]
    rows = []
    for domain in result.domains:
        problems, verdicts = result.where(domain=domain), result.verdicts(domain)
        ratios = [ratio for problem in problems if (ratio := problem.cost_ratio) is not None]
        rows.append(
            [
                domain,
                *(str(verdicts[name]) for name in classes),
                f"{sum(ratios) / len(ratios):.2f}" if ratios else "-",
                f"{sum(ratio <= 1 for ratio in ratios)}/{len(ratios)}" if ratios else "-",
                _mean([problem.completion_tokens for problem in problems if problem.refused is None], 0),
                _mean([problem.seconds for problem in problems if problem.refused is None], 3),
            ]
        )
    return _titled("Answers: the five verdict classes, plan cost, means per problem", header, rows)


def group_table(result: EvaluationResult) -> str:
    """One line for each domain, difficulty bucket and constraint kind that has problems; then with and without constraints."""
    rows = [[*group, *_solved(members)] for group, members in result.groups().items()]
    for name, constrained in (("with", True), ("without", False)):
        members = result.where(constrained=constrained)
        if members:
            rows.append(["all", "all", name, *_solved(members)])
    header = ["domain", "bucket", "constraints", "solved", "success"]
    return _titled("By difficulty and constraints", header, rows, ["bucket", "constraints"])


def comparison_table(before: EvaluationResult, after: EvaluationResult) -> str:
    """Before and after on the same problems, per domain, with counts, intervals and the change in points."""
    rows = []
    for domain in before.domains:
        change = 100 * (after.rate(domain) - before.rate(domain))
        rows.append([domain, *_solved(before.where(domain=domain)), *_solved(after.where(domain=domain)), f"{change:+.1f}"])
    change = 100 * (after.average() - before.average())
    rows.append(["average", "", percent(before.average()), "", percent(after.average()), f"{change:+.1f}"])
    return text_table(["domain", "before", "success [95%]", "after", "success [95%]", "change"], rows)


def paired_table(comparison: Comparison, first: str, second: str) -> str:
    """One line a domain: what both, one or none of the two solved, the difference in points, and McNemar's exact p-value."""
    header = ["domain", "problems", "A", "B", "both", "only A", "only B", "neither", "B - A", "p (exact McNemar)"]
    rows = []
    for domain, pairs in comparison.counts.items():
        solved = [pairs.both + pairs.only_first, pairs.both + pairs.only_second]
        rates = [percent(successes / pairs.count) for successes in solved]
        outcomes = map(str, (pairs.both, pairs.only_first, pairs.only_second, pairs.neither))
        rows.append([domain, str(pairs.count), *rates, *outcomes, f"{100 * pairs.difference:+.1f}", f"{pairs.p_value:.3g}"])
    return _titled(f"A = {first}, B = {second}, greedy, the same problems", header, rows)


def best_of_table(result: EvaluationResult) -> str:
    """One line for N = 1, 2, 4, ... answers: success of the best of them, and what it takes to stop at a verified plan."""
    rows = []
    for count in sizes(result.num_samples + 1):
        found = best_of(result, count)
        rows.append([str(count), *_costs(found), _mean([one.attempts for one in found], 2)])
    header = ["answers", "solved", "success", "tokens/problem", "s/problem", "answers/problem"]
    return _titled("Best of N: the greedy answer, then drawn ones (1, 1, 2, 4, ... together) until one is verified", header, rows)


def repair_table(result: EvaluationResult) -> str:
    """One line a turn: success after so many repairs, beside independent answers: as many, and for as many tokens; paired."""
    rows, result = [], result.without_repeats()  # a problem that stands twice must not count twice in a test
    for turns in range(int(result.settings.get("repair_turns", 0)) + 1):
        conversation = repaired(result, turns)
        rows.append([str(turns), "repairs", *_costs(conversation), "", "", ""])
        others: dict[str, list[Outcome] | None] = {}
        if turns and turns <= result.num_samples:
            others["best of as many answers"] = best_of(result, turns + 1)
        if turns and result.num_samples:
            others["best of as many tokens"] = as_many_tokens(result, turns)
        for name, other in others.items():
            if other is not None:
                pairs = paired(conversation, other)
                rows.append(
                    [
                        str(turns),
                        name,
                        *_costs(other),
                        str(pairs.only_first),
                        str(pairs.only_second),
                        f"{pairs.p_value:.3g}",
                    ]
                )
    header = ["repairs", "strategy", "solved", "success", "tokens/problem", "s/problem", "only repairs", "only this", "p"]
    title = "Repair turns: the greedy answer, its repairs, and independent answers in their place (p: exact McNemar)"
    return _titled(title, header, rows, ["strategy"])


def repairs_line(result: EvaluationResult) -> str:
    """How conversations ended that reached no plan, and whether there were answers enough to compare them with."""
    turns = int(result.settings["repair_turns"])
    failed = [problem.conversation for problem in result.problems if not any(one.success for one in problem.conversation)]
    ends = {
        "without an answer": sum(attempts[-1].refused is not None for attempts in failed),
        "with an answer that was cut off": sum(bool(attempts[-1].cut_off) for attempts in failed),
        "having repeated an answer that had failed": sum(
            len({one.completion for one in attempts}) < len(attempts) for attempts in failed
        ),
    }
    line = f"{len(failed)} of {len(result.problems)} conversations ended without a plan"
    line += "".join(f", {count} {how}" for how, count in ends.items() if count)
    other = as_many_tokens(result, turns) if result.num_samples else None
    short = sum(not one.solved and one.attempts == result.num_samples + 1 for one in other or ())
    if short:
        line += f"; on {short} problems there were no more drawn answers to spend as many tokens on: raise --num_samples"
    return line


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
    if usage.get("cut_off_while_thinking"):  # older results do not have it
        line += f"; {usage['cut_off_while_thinking']} were cut off while thinking: raise --max_completion_length"
    if usage["refused"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in usage["refused"].items())
        line += f"; without an answer, and not solved: {reasons}"
    return line


def _titled(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[str] = ()) -> str:
    return f"\n{title}\n\n{text_table(header, rows, texts)}\n"


def _costs(found: Sequence[Outcome]) -> tuple[str, str, str, str]:
    solved = sum(one.solved for one in found)
    seconds = _mean([one.seconds for one in found], 3)
    return f"{solved}/{len(found)}", rate_text(solved, len(found)), _mean([one.tokens for one in found], 0), seconds


def _solved(problems: Sequence[ProblemResult]) -> tuple[str, str]:
    successes, count = sum(problem.success for problem in problems), len(problems)
    return f"{successes}/{count}", rate_text(successes, count)


def _pass_at(result: EvaluationResult, k: int, domain: str) -> str:
    value, low, high = result.pass_at(k, domain=domain)
    return f"{percent(value)} {interval_text(low, high)}"


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.{digits}f}" if known and len(known) == len(values) else "-"
