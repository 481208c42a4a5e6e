"""Two results on the same problems: what only one of them solved, and whether that could be chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grpo_project.common.statistics import mcnemar
from grpo_project.errors import DataError
from grpo_project.evaluation.results import EvaluationResult, ProblemResult
from grpo_project.pddl.lenient import STRICT

ALL = "all"


@dataclass(frozen=True)
class PairedCounts:
    """Problems that both solved, only the first, only the second, neither. `p_value`: exact McNemar, two-sided."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def count(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """Success rate of the second less that of the first, in [-1, 1]."""
        return (self.only_second - self.only_first) / self.count

    @property
    def p_value(self) -> float:
        return mcnemar(self.only_first, self.only_second)


@dataclass(frozen=True)
class Comparison:
    """`counts`: by domain, in the first result's order, and ALL together. `unpaired`: problems that only one result has.

    Each different problem is one pair, whatever its number of rows.
    """

    counts: dict[str, PairedCounts]
    unpaired: int
    warnings: tuple[str, ...]


def compare(first: EvaluationResult, second: EvaluationResult) -> Comparison:
    """Pairs the greedy verdicts by domain and problem file (the n-th of a name with the n-th); of problems that are equal up to
    names and order, the first pair counts.

    Raises DataError where the results share no problem.
    """
    problems = _by_key(first), _by_key(second)
    rows = [key for key in problems[0] if key in problems[1]]
    first_of: dict[tuple[Any, ...], tuple[str, str, int]] = {}
    for key in rows:
        first_of.setdefault((key[0], problems[0][key].canonical or problems[1][key].canonical or key), key)
    shared = list(first_of.values())
    if not rows:
        raise DataError(f"{first.name!r} and {second.name!r} were evaluated on different problems: none is in both")
    outcomes: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for key in shared:
        outcomes[key[0]].append((problems[0][key].success, problems[1][key].success))
    counts = {domain: paired_counts(pairs) for domain, pairs in outcomes.items()}
    counts[ALL] = paired_counts([pair for pairs in outcomes.values() for pair in pairs])
    warnings = []
    if len(shared) < len(rows):
        repeated = f"{len(rows) - len(shared)} of {len(rows)} pairs repeat a problem (equal up to names and order)"
        warnings.append(f"{repeated}: each of the {len(shared)} different problems is counted once")
    fingerprints = [result.settings.get("data_fingerprint") for result in (first, second)]
    if None not in fingerprints and fingerprints[0] != fingerprints[1]:
        warnings.append("the data differ in content (renamed, or made again): problems are paired by their files' names")
    readings = [result.settings.get("plan_reading", STRICT) for result in (first, second)]
    if readings[0] != readings[1]:
        warnings.append(f"the answers were read in two ways, {readings[0]} and {readings[1]} (--plan_reading)")
    return Comparison(counts, len(problems[0]) + len(problems[1]) - 2 * len(rows), tuple(warnings))


def _by_key(result: EvaluationResult) -> dict[tuple[str, str, int], ProblemResult]:
    seen: dict[tuple[str, str], int] = defaultdict(int)
    found = {}
    for problem in result.problems:
        name = (problem.domain, problem.problem_file)
        found[(*name, seen[name])] = problem
        seen[name] += 1
    return found


def paired_counts(pairs: Sequence[tuple[bool, bool]]) -> PairedCounts:
    """From (whether the first succeeded, whether the second did) of every problem."""
    return PairedCounts(*(pairs.count(outcome) for outcome in ((True, True), (True, False), (False, True), (False, False))))
