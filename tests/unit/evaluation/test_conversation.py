"""A verdict in words says what went wrong and no step that the model did not write; conversations end, and can go on."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from grpo_project.common.random_streams import stream
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.domains import get_domain
from grpo_project.errors import ConfigError
from grpo_project.evaluation.answers import Answer, Journal, Key, Question, Record, ask
from grpo_project.evaluation.conversation import NO_WORDS, Repair
from grpo_project.models.tokenizer import build_planner_tokenizer
from grpo_project.pddl import Task, compile_task, extract_plan, find_plan, parse_problem, validate_text
from grpo_project.pddl.explanation import DETAILS, feedback
from grpo_project.prompting import PROMPT_STYLES, render_failure, render_plan
from grpo_project.prompting.chat import ChatOptions, to_messages

DATA = Path(__file__).resolve().parents[3] / "data" / "test"


@pytest.fixture(scope="module")
def table() -> RowTable:
    return read_rows(DATA)


def spoiled(plan: str, task: Task, number: int) -> str:
    """The plan with a step dropped, two steps swapped, an object exchanged, or its end cut off."""
    rng = stream("spoiled", plan, number)
    steps = [list(step) for step in extract_plan(plan).steps or ()]
    place = rng.randrange(len(steps))
    match number % 4:
        case 0:
            del steps[place]
        case 1:
            other = rng.randrange(len(steps))
            steps[place], steps[other] = steps[other], steps[place]
        case 2:
            steps[place][rng.randrange(1, len(steps[place]))] = rng.choice(sorted(task.problem.objects))
        case 3:
            return plan[: rng.randrange(1, len(plan))]
    return render_plan(map(tuple, steps))


def steps_in(words: str, task: Task) -> set[tuple[str, ...]]:
    """Everything in a text that could be a step of the domain, in brackets or not."""
    tokens = re.findall(r"[\w-]+", words.lower())
    found = {
        tuple(tokens[place : place + 1 + len(task.domain.actions[word].parameters)])
        for place, word in enumerate(tokens)
        if word in task.domain.actions
    }
    return {step for step in found if set(step[1:]) <= task.problem.objects.keys()}


def test_a_verdict_never_gives_the_plan_away(table: RowTable) -> None:
    seen: dict[str, int] = {}
    for domain in table.domains:
        for index in table.indices_of(domain)[:12]:
            task, plan = table.task(index), table.rows[index].response
            assert plan is not None
            careless = find_plan(compile_task(task.domain, replace(task.problem, constraints=None)), 5_000).steps or ()
            for answer in (render_plan(careless), *(spoiled(plan, task, number) for number in range(8))):
                verdict = validate_text(task, answer)
                if verdict.success:
                    continue
                seen[verdict.verdict_class] = seen.get(verdict.verdict_class, 0) + 1
                for detail, style in product(DETAILS, PROMPT_STYLES):
                    words = render_failure(task, answer, verdict, detail, style)
                    assert steps_in(words, task) <= steps_in(answer, task), (answer, words)
    assert len(seen) == 4 and all(count >= 20 for count in seen.values()), seen


def test_a_step_that_was_given_away_would_be_found(table: RowTable) -> None:
    index = table.indices_of("ferry")[0]
    task, plan = table.task(index), table.rows[index].response or ""
    first, last = plan.splitlines()[0], plan.splitlines()[-1]
    assert steps_in(f"Try {last} next.", task) - steps_in(first, task) == {tuple(last.strip("()").split())}


def test_each_level_tells_more_than_the_one_before(table: RowTable) -> None:
    index = table.indices_of("blocksworld")[0]
    task = table.task(index)
    block = min(task.problem.objects)
    wrong = f"(stack {block} {block})\n"
    verdict = validate_text(task, wrong)
    failed, step, state = (feedback(task, wrong, verdict, detail) for detail in DETAILS)
    assert failed == "The plan fails."
    assert step == "The plan fails at step 1: a precondition does not hold (precondition_violation)."
    assert f"(holding {block})" in state and "state 0: " in state and "(" not in failed
    with pytest.raises(ValueError, match="failed, step, state"):
        feedback(task, wrong, verdict, "everything")


@pytest.mark.parametrize(
    ("answer", "step", "state"),
    [
        (
            "(unstack b2 b1)\n(stack b2 b3)\n(stack b1 b1)\n",
            "not 3",
            " b1 !holding +arm-empty b1 +clear b2 +clear b2 +on b3 b1 +on-table b3 +on-table",
        ),
        ("(unstack b2 b1)\n", "not !", " b1 !on b3 b1 +clear b3 +clear b2 +holding b1 +on-table b3 +on-table"),
        (
            "(unstack b2 b1)\n(putdown b2)\n(pickup b1)\n(stack b1 b3)\n",
            "not @ 2",
            " +arm-empty b1 +clear b2 +clear b3 +clear b1 +on-table b2 +on-table b3 +on-table @always ( not ( on-table b2 ) )",
        ),
        ("Stack them.", "not ?", ""),
    ],
)
def test_a_small_planner_is_told_in_the_words_of_its_prompt(answer: str, step: str, state: str) -> None:
    text = """(define (problem p) (:domain blocksworld) (:objects b1 b2 b3) (:init (arm-empty) (on b2 b1) (on-table b1)
        (on-table b3) (clear b2) (clear b3)) (:goal (on b1 b3)) (:constraints (always (not (on-table b2)))))"""
    domain = get_domain("blocksworld").domain
    task = compile_task(domain, parse_problem(text, domain))
    verdict = validate_text(task, answer)
    told = [render_failure(task, answer, verdict, detail, "compact") for detail in DETAILS]
    assert told == ["not", step, step + state]
    tokenizer = build_planner_tokenizer()
    ids = tokenizer(told[-1], add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == told[-1] and tokenizer.unk_token_id not in ids


def follow(table: RowTable, index: int, texts: list[str], turns: int, **how: object) -> list[Question]:
    """The questions of the conversation in which a model answers with these texts."""
    asked: list[Question] = []

    def answer(questions: list[Question], record: Record) -> None:
        for question in questions:
            asked.append(question)
            record(question, Answer(texts[question.key.turn], 10, 5, 0.1, False))

    ask([Question(index, 0, "problem")], answer, None, Repair(table.task, turns, **how))  # type: ignore[arg-type]
    return asked


def test_a_conversation_ends_with_a_plan_or_its_turns(table: RowTable) -> None:
    index = table.indices_of("ferry")[0]
    plan = table.rows[index].response or ""
    assert len(follow(table, index, [plan], 3)) == 1
    asked = follow(table, index, ["(sail", "no", plan, plan], 3)
    assert [question.key for question in asked] == [Key(index, 0, turn) for turn in range(3)]
    assert [turn for turn in asked[2].turns if turn in ("problem", "(sail", "no")] == ["problem", "(sail", "no"]
    assert [message["role"] for message in to_messages(asked[2].turns)] == ["user", "assistant", "user", "assistant", "user"]
    assert "ends in the middle" in asked[1].turns[-1] and "whole plan again" in asked[1].turns[-1]
    assert len(follow(table, index, ["no"] * 3, 2)) == 3
    assert "whole plan" in follow(table, index, ["no", plan], 1, detail="failed")[1].turns[-1]


def test_reasoning_does_not_go_back_and_no_turn_is_empty(table: RowTable) -> None:
    index = table.indices_of("ferry")[0]
    thought, open_end = "<think>maybe (sail l1 l2)</think>\n(sail l0 l0)", "<think>and so on"
    asked = follow(table, index, [thought, open_end, "x"], 2)
    assert asked[2].turns[1] == "(sail l0 l0)" and asked[2].turns[3] == NO_WORDS
    assert "never closed" in asked[2].turns[4]


def test_a_system_turn_stands_once_before_the_whole_conversation() -> None:
    turns = ("problem", "answer", "verdict")
    assert [m["role"] for m in to_messages(turns, chat=ChatOptions(system_prompt="Plan."))] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    inside = to_messages(turns, "plan", ChatOptions(system_prompt="Plan.", system_in_user=True))
    assert [m["content"] for m in inside] == ["Plan.\n\nproblem", "answer", "verdict", "plan"]


def test_a_conversation_goes_on_where_it_was_killed(table: RowTable, tmp_path: Path) -> None:
    indices = table.indices_of("ferry")[:3]
    questions = [Question(index, 0, "problem") for index in indices]
    repair = Repair(table.task, 2)

    def answering(asked: list[Key], dies_at: int):
        def answer(left: list[Question], record: Record) -> None:
            for question in left:
                if len(asked) == dies_at:
                    raise KeyboardInterrupt
                asked.append(question.key)
                record(question, Answer(f"no {question.key}", 1, 1, 0.1, False))

        return answer

    whole = ask(questions, answering([], 99), None, repair)
    assert len(whole) == 9
    for dies_at in range(1, 9):
        path = tmp_path / f"{dies_at}.jsonl"
        asked: list[Key] = []
        with pytest.raises(KeyboardInterrupt), Journal(path, {}) as journal:
            ask(questions, answering(asked, dies_at), journal, repair)
        with Journal(path, {}) as journal:
            assert ask(questions, answering(asked, 99), journal, repair) == whole
        assert sorted(asked) == sorted(whole)  # each once


def test_what_cannot_be_is_refused(table: RowTable) -> None:
    for how in ({"turns": -1}, {"turns": 1, "detail": "all"}):
        with pytest.raises(ConfigError, match="--repair_"):
            Repair(table.task, **how)  # type: ignore[arg-type]
    drawn = Question(table.indices_of("ferry")[0], 1, "problem")
    assert Repair(table.task, 1)(drawn, Answer("no")) is not None
    assert Repair(table.task, 1, drawn=False)(drawn, Answer("no")) is None
    assert Repair(table.task, 1)(drawn, Answer("", refused="context")) is None
