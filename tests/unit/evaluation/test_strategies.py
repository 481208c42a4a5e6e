"""What more answers buy, counted by hand."""

from __future__ import annotations

import pytest

from grpo_project.evaluation.report import best_of_table, repair_table, repairs_line
from grpo_project.evaluation.results import SUCCESS, EvaluationResult, ProblemResult, SampleResult
from grpo_project.evaluation.strategies import Outcome, as_many_tokens, best_of, paired, repaired, sizes, waves

FAILED = "goal_not_satisfied"


def sample(solved: int, prompt: int = 10, completion: int = 5, text: str = "") -> SampleResult:
    return SampleResult(SUCCESS if solved else FAILED, 1.0, text or str(prompt), prompt, completion, 1.0, False)


def problem(solved: int, samples: list[int], repairs: list[int]) -> ProblemResult:
    """Samples cost 15 tokens, the first repair 25, the second 35, ..."""
    return ProblemResult(
        "ferry", "p", "easy", False, SUCCESS if solved else FAILED, 1.0, 1.0, "c", "none", 10, 5, 1.0, False,
        samples=tuple(map(sample, samples)),
        repairs=tuple(sample(one, 20 + 10 * turn) for turn, one in enumerate(repairs)),
    )  # fmt: skip


RESULT = EvaluationResult(
    (
        problem(1, [0, 0, 0], []),
        problem(0, [0, 1, 0], [0, 0]),
        problem(0, [0, 0, 1], [1]),
        problem(0, [0, 0, 0], [0, 1]),
    ),
    1.0,
    settings={"repair_turns": 2},
)


def test_waves_double_and_hold_every_number_once() -> None:
    assert [list(wave) for wave in waves(9)] == [[0], [1], [2, 3], [4, 5, 6, 7], [8]]
    for count in range(40):
        assert [number for wave in waves(count) for number in wave] == list(range(count))
    assert list(sizes(1)) == [1] and list(sizes(6)) == [1, 2, 4, 6] and list(sizes(8)) == [1, 2, 4, 8]


def test_the_best_of_n_stops_after_the_wave_that_solves() -> None:
    assert [(one.solved, one.attempts, one.tokens) for one in best_of(RESULT, 4)] == [
        (True, 1, 15),
        (True, 4, 60),  # solved by the third, which is asked for with the fourth
        (True, 4, 60),
        (False, 4, 60),
    ]
    assert [one.solved for one in best_of(RESULT, 2)] == [True, False, False, False]
    with pytest.raises(ValueError, match=r"1\.\.4"):
        best_of(RESULT, 5)


def test_repairs_cost_their_longer_prompts() -> None:
    assert [(one.solved, one.tokens) for one in repaired(RESULT, 1)] == [(True, 15), (False, 40), (True, 40), (False, 40)]
    assert [(one.solved, one.tokens) for one in repaired(RESULT, 2)] == [(True, 15), (False, 75), (True, 40), (True, 75)]


def test_as_many_tokens_hold_more_independent_answers_and_never_cost_more() -> None:
    found = as_many_tokens(RESULT, 2)
    assert found is not None
    assert [(one.solved, one.attempts, one.tokens) for one in found] == [
        (True, 1, 15),
        (True, 3, 45),  # 75 would hold five, the third is a plan
        (False, 2, 30),  # 40 hold two
        (False, 4, 60),
    ]
    uncounted = EvaluationResult((ProblemResult("ferry", "p", "easy", False, FAILED, 1.0, 1.0, "c"),), 1.0)
    assert as_many_tokens(uncounted, 1) is None
    assert best_of(uncounted, 1) == [Outcome(False, 1, None, None)]


def test_strategies_are_compared_problem_by_problem() -> None:
    counts = paired(repaired(RESULT, 2), best_of(RESULT, 3))
    assert (counts.both, counts.only_first, counts.only_second, counts.neither) == (1, 2, 1, 0)


def test_the_tables_show_it() -> None:
    lines = repair_table(RESULT).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    found = {(row[0], row[1]): row[2:] for row in cells[1:]}
    assert found["0", "repairs"][0] == "1/4" and found["2", "repairs"][:1] == ["3/4"] and found["2", "repairs"][2] == "51"
    assert found["2", "best of as many answers"][0] == "2/4" and found["2", "best of as many answers"][-3:] == ["2", "1", "1"]
    assert found["2", "best of as many tokens"][0] == "2/4"
    assert "| 4       |    3/4 |" in best_of_table(RESULT)
    line = repairs_line(RESULT)
    assert line.startswith("1 of 4 conversations ended without a plan") and "on 1 problems there were no more drawn" in line
    assert EvaluationResult.from_json(RESULT.to_json()) == RESULT
