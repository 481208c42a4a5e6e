"""Evaluation tells both rates, strict and lenient, and what the lenient one dropped; one of them counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from grpo_project.data.rows import RowTable, read_rows
from grpo_project.evaluation import EvaluationResult, evaluate
from grpo_project.evaluation.answers import Answer, Key, Question
from grpo_project.evaluation.comparison import compare
from grpo_project.evaluation.conversation import Repair
from grpo_project.evaluation.evaluate import verify_answers
from grpo_project.evaluation.report import print_result, readings_line
from grpo_project.evaluation.stepping import StepByStep

DATA = Path(__file__).resolve().parents[3] / "data" / "test"


@pytest.fixture(scope="module")
def table() -> RowTable:
    return read_rows(DATA, ["ferry"])


def results(table: RowTable) -> dict[str, EvaluationResult]:
    """Six problems: plain, after a sentence, in a fence among text, marked down, the same without its first step, and prose."""
    indices = table.indices_of("ferry")[:6]
    plans = [table.rows[index].response or "" for index in indices]
    texts = [
        plans[0],
        f"The plan:\n{plans[1]}",
        f"(sail l0 l1)\nNo, it is\n```pddl\n{plans[2]}```\nDone.",
        "So:\n" + "".join(f"{n}. **{line.upper()}**\n" for n, line in enumerate(plans[3].splitlines(), 1)),
        "So:\n" + plans[4].partition("\n")[2],
        "I would sail.",
    ]
    return {name: evaluate(table, indices, lambda _: texts, name, name) for name in ("strict", "lenient")}


def test_both_rates_stand_side_by_side_and_one_of_them_counts(table: RowTable, capsys: pytest.CaptureFixture[str]) -> None:
    found = results(table)
    for name, result in found.items():
        data = json.loads(json.dumps(result.to_json()))
        assert EvaluationResult.from_json(data) == result
        assert data["successes_by_reading"] == data["domains"]["ferry"]["successes_by_reading"] == {"strict": 1, "lenient": 4}
        assert data["dropped"] == {"answers": 4, "text": 4, "plans": 1, "form": 1}
        assert result.counts() == ({"strict": 1, "lenient": 4}[name], 6)
        print_result(result)
        shown = capsys.readouterr().out
        assert "strict 1/6 16.7%" in shown and "lenient 4/6 66.7%" in shown and f"the tables are {name}" in shown
        assert "To read 4 answers leniently, this was dropped: missing brackets and markdown (1), plans before" in shown
    assert [problem.dropped for problem in found["strict"].problems] == ["", "text", "plans+text", "form+text", "text", ""]
    assert "in two ways, strict and lenient" in compare(found["strict"], found["lenient"]).warnings[0]
    assert not compare(found["strict"], found["strict"]).warnings


def test_results_from_before_there_were_two_readings_have_no_second_rate(table: RowTable) -> None:
    result = results(table)["strict"]
    older = replace(result, problems=tuple(replace(problem, by_reading=None) for problem in result.problems))
    assert readings_line(older) == "" and older.successes_by_reading() is None
    data = older.to_json()
    for problem in data["problems"]:
        del problem["by_reading"], problem["dropped"]
    assert EvaluationResult.from_json(data).successes_by_reading() is None


def test_a_plan_that_is_read_leniently_is_not_sent_back(table: RowTable) -> None:
    index = table.indices_of("ferry")[0]
    question, answer = Question(index, 0, "problem"), Answer(f"The plan:\n{table.rows[index].response}")
    assert Repair(table.task, 1)(question, answer) is not None
    assert Repair(table.task, 1, plan_reading="lenient")(question, answer) is None
    wrong = Repair(table.task, 1, plan_reading="lenient")(question, Answer("So:\n(sail l0 l0)\n"))
    assert wrong is not None and wrong.turns[1] == "So:\n(sail l0 l0)" and "no plan" not in wrong.turns[2]


@pytest.mark.parametrize(("plan_reading", "taken"), [("strict", False), ("lenient", True)])
def test_a_closed_loop_takes_the_first_step_of_what_is_read(table: RowTable, plan_reading: str, taken: bool) -> None:
    index = table.indices_of("ferry")[0]
    plan = table.rows[index].response or ""
    stepping = StepByStep(table, lambda row: row.meta["problem_pddl"], 5, plan_reading)
    answer = Answer(f"I begin:\n{plan}")
    assert (stepping(Question(index, 0, "problem"), answer) is not None) == taken
    composed = stepping.composed({Key(index): answer})
    assert composed[Key(index)].text.startswith(plan.splitlines()[0]) == taken
    result = verify_answers(table, [index], composed, seconds=1.0, plan_reading=None)
    assert result.successes_by_reading() is None and readings_line(result) == ""
