"""Closed loop: one action a question, each from the true state; what ends it is told, and it goes on after a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.evaluation.answers import Answer, Answers, Journal, Key, Question, Record, ask
from grpo_project.evaluation.evaluate import verify_answers
from grpo_project.evaluation.stepping import StepByStep, first_step
from grpo_project.pddl import find_plan, parse_domain, parse_problem
from grpo_project.pddl.task import compile_task
from grpo_project.prompting import render_plan

DATA = Path(__file__).resolve().parents[3] / "data" / "test"


@pytest.fixture(scope="module")
def table() -> RowTable:
    return read_rows(DATA, ["ferry", "blocksworld"])


def asks_pddl(row: object) -> str:
    return row_prompt(row, "full", "pddl")  # type: ignore[arg-type]


def searches(prompt: str) -> str:
    """A model that plans: it reads the PDDL of its prompt, and nothing else, and answers with a whole plan in prose."""
    domain_text, problem_text = prompt.partition("\nDomain:\n")[2].split("\n\nProblem:\n")
    domain = parse_domain(domain_text)
    return render_plan(find_plan(compile_task(domain, parse_problem(problem_text, domain))).steps or ()) + "and so on"


def run(
    table: RowTable, index: int, says: Callable[[str], str], most: int = 50, known: Answers | None = None
) -> tuple[Answer, list[Question]]:
    asked: list[Question] = []

    def answer(questions: list[Question], record: Record) -> None:
        for question in questions:
            asked.append(question)
            record(question, Answer(says(question.prompt), 100, 10, 0.5, True))

    stepping = StepByStep(table, asks_pddl, most)
    answers = ask([Question(index, 0, asks_pddl(table.rows[index]))], answer, known, stepping)
    return stepping.composed(answers)[Key(index)], asked


def test_a_model_that_plans_from_what_it_is_shown_solves_every_problem(table: RowTable) -> None:
    for domain in table.domains:
        for index in table.indices_of(domain)[:4]:
            composed, asked = run(table, index, searches)
            steps = composed.text.splitlines()
            assert len(asked) == len(steps) > 2 and [question.turn for question in asked] == list(range(len(steps)))
            assert all(not question.earlier for question in asked)
            assert (composed.prompt_tokens, composed.completion_tokens) == (100 * len(steps), 10 * len(steps))
            assert composed.seconds == 0.5 * len(steps) and composed.cut_off is False  # its first step was whole
            result = verify_answers(table, [index], {Key(index): composed}, seconds=1.0)
            assert result.counts() == (1, 1)


def test_what_ends_it_is_the_verdict(table: RowTable) -> None:
    index = table.indices_of("ferry")[0]
    plan = (table.rows[index].response or "").splitlines()
    here, there = plan[0].strip("()").split()[1:]

    def verdict(*says: str, most: int = 50) -> tuple[str, int]:
        left = list(says)
        composed, asked = run(table, index, lambda prompt: left.pop(0), most)
        (problem,) = verify_answers(table, [index], {Key(index): composed}, seconds=1.0).problems
        return problem.verdict_class, len(asked)

    assert verdict(*plan) == ("success_plans", len(plan))
    assert verdict(plan[0], plan[0]) == ("precondition_violation", 2)
    assert verdict(plan[0], "I am lost") == ("plan_format_error", 2)
    assert verdict("") == ("goal_not_satisfied", 1)
    assert verdict(plan[0], "") == ("goal_not_satisfied", 2)
    assert verdict(*plan, most=2) == ("goal_not_satisfied", 2)
    back = f"(sail {there} {here})"
    assert verdict(f"(sail {here} {there})", back, f"(sail {here} {there})") == ("goal_not_satisfied", 3)


def test_it_goes_on_where_it_was_killed(table: RowTable, tmp_path: Path) -> None:
    index = table.indices_of("blocksworld")[0]
    whole, all_asked = run(table, index, searches)

    def dying(prompt: str) -> str:
        if prompt == all_asked[2].prompt:
            raise KeyboardInterrupt
        return searches(prompt)

    with pytest.raises(KeyboardInterrupt), Journal(tmp_path / "j.jsonl", {}) as journal:
        run(table, index, dying, known=journal)
    with Journal(tmp_path / "j.jsonl", {}) as journal:
        again, asked = run(table, index, searches, known=journal)
    assert again == whole and [question.prompt for question in asked] == [question.prompt for question in all_asked[2:]]


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("(sail a b)\n(board c b)\n", ("sail", "a", "b")),
        ("(sail a b)\n(boa", ("sail", "a", "b")),
        ("<think>hm</think>\n1. (Sail A B) and then", ("sail", "a", "b")),
        ("<think>(sail a b)", None),
        ("First (sail a b)", None),
        ("", None),
    ],
)
def test_the_first_step_of_an_answer(text: str, step: tuple[str, ...] | None) -> None:
    assert first_step(text) == step
