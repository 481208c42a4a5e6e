"""What more answers buy: the best of N independent ones, or repairs of the first, for how many tokens and seconds.

Everything is read from answers that an evaluation already has. A strategy stops at a problem's first verified plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grpo_project.evaluation.comparison import PairedCounts, paired_counts
from grpo_project.evaluation.results import EvaluationResult, ProblemResult, SampleResult

Attempts = Sequence[ProblemResult | SampleResult]  # in the order in which they are made


def waves(count: int) -> list[range]:
    """Numbers 0..count-1 in the groups that are asked for together: the greedy answer alone, then 1, 2, 4, ... drawn ones.

    Doubling keeps the number of rounds small, and less than twice as many answers are made as were needed.
    """
    found, start, size = [range(min(1, count))] if count else [], 1, 1
    while start < count:
        found.append(range(start, min(count, start + size)))
        start, size = start + size, 2 * size
    return found


@dataclass(frozen=True)
class Outcome:
    """One problem under one strategy. tokens: of prompts and completions of all attempts made, None where some were not counted;
    seconds: their sum, likewise. attempts: how many were made."""

    solved: bool
    attempts: int
    tokens: float | None
    seconds: float | None


def best_of(result: EvaluationResult, count: int) -> list[Outcome]:
    """Each problem with the first `count` independent answers, asked for wave by wave until one is verified.

    Raises ValueError where a problem has fewer.
    """
    if not 1 <= count <= result.num_samples + 1:
        raise ValueError(f"count must lie in 1..{result.num_samples + 1}, got {count}")
    found = []
    for problem in result.problems:
        made: list[ProblemResult | SampleResult] = []
        for wave in waves(count):
            made += [problem.independent[number] for number in wave]
            if any(attempt.success for attempt in made):
                break
        found.append(outcome(made))
    return found


def repaired(result: EvaluationResult, turns: int) -> list[Outcome]:
    """Each problem after its greedy answer and up to `turns` repairs of it."""
    return [outcome(problem.conversation[: turns + 1]) for problem in result.problems]


def as_many_tokens(result: EvaluationResult, turns: int) -> list[Outcome] | None:
    """Each problem with independent answers for the tokens that its conversation of up to `turns` repairs took.

    The greedy answer is always made; a drawn one while all together take no more. None where tokens were not counted.
    """
    found = []
    for problem, spent in zip(result.problems, repaired(result, turns), strict=True):
        made: list[ProblemResult | SampleResult] = []
        for attempt in problem.independent:
            tokens = outcome([*made, attempt]).tokens
            if tokens is None or spent.tokens is None:
                return None
            if made and (tokens > spent.tokens or made[-1].success):
                break
            made.append(attempt)
        found.append(outcome(made))
    return found


def outcome(attempts: Attempts) -> Outcome:
    """What these attempts, all of them made, come to. A refused one has no tokens, and costs none."""
    given = [attempt for attempt in attempts if attempt.refused is None]
    tokens = _sum([number for attempt in given for number in (attempt.prompt_tokens, attempt.completion_tokens)])
    return Outcome(any(attempt.success for attempt in attempts), len(attempts), tokens, _sum([one.seconds for one in given]))


def paired(first: Sequence[Outcome], second: Sequence[Outcome]) -> PairedCounts:
    """Which of two strategies solved which of the same problems."""
    return paired_counts([(one.solved, two.solved) for one, two in zip(first, second, strict=True)])


def sizes(most: int) -> Iterator[int]:
    """1, 2, 4, ... and `most` itself."""
    size = 1
    while size < most:
        yield size
        size *= 2
    yield most


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
