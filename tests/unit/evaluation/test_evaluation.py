"""Evaluation counts what really happened, and the planner is the ceiling."""

import json

import pytest

from grpo_project.core.rows import read_rows
from grpo_project.evaluation import EvaluationResult, comparison_table, evaluate, planner_completions, table


@pytest.fixture
def rows(make_data_root):
    return read_rows(make_data_root(domains=("ferry", "spanner"), count=6))


def test_the_planner_solves_everything_and_silence_nothing(rows):
    indices = list(range(len(rows)))
    best = evaluate(rows, indices, lambda _: planner_completions(rows, indices))
    assert best.counts() == (12, 12)
    assert best.average() == 1.0
    silent = evaluate(rows, indices, lambda chosen: [""] * len(chosen))
    assert silent.counts() == (0, 12)
    assert silent.verdicts("ferry") == {"goal_not_satisfied": 6}
    assert "100.0%" in table(best) and "6/6" in table(best)
    assert "+100.0" in comparison_table(silent, best)


def test_a_result_survives_json(rows):
    result = evaluate(rows, [0, 7], lambda chosen: ["nonsense"] * len(chosen), "x")
    assert EvaluationResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_wrong_number_of_answers_is_refused(rows):
    with pytest.raises(ValueError, match="2 problems got 1 answers"):
        evaluate(rows, [0, 1], lambda _: ["x"])


def test_the_average_counts_every_domain_once(rows):
    answers = planner_completions(rows, [0, 6, 7])
    result = evaluate(rows, [0, 6, 7], lambda _: [answers[0], "", ""])
    assert result.average() == 0.5
