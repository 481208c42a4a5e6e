"""Rows to verdicts. The model comes in as a function, so nothing here needs torch."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count, takewhile
from typing import Any

from grpo_project.data.asked_words import AskedTable
from grpo_project.data.difficulty import fill_buckets
from grpo_project.data.rows import Row, RowTable
from grpo_project.domains import all_domains
from grpo_project.evaluation.answers import GREEDY, Answer, Key, Question, Record
from grpo_project.evaluation.results import NO_ANSWER, NO_CONSTRAINT, EvaluationResult, ProblemResult, SampleResult
from grpo_project.pddl import Task, find_plan, validate_text
from grpo_project.pddl.grounding import TooLarge
from grpo_project.pddl.lenient import LENIENT, STRICT, read_leniently
from grpo_project.pddl.model import Constraint, ConstraintAnd, ConstraintForall, ConstraintPreference
from grpo_project.pddl.plan import open_reasoning
from grpo_project.prompting import render_plan

logger = logging.getLogger(__name__)

Complete = Callable[[list[Row]], list[str]]


def evaluate(
    table: RowTable, indices: Sequence[int], complete: Complete, name: str = "", plan_reading: str = STRICT
) -> EvaluationResult:
    """Completes and verifies the rows `indices` of the table, in that order. `complete` gives one answer per row.

    Difficulty buckets are those of the whole table. plan_reading: as in verify_answers.
    Raises ValueError where the number of answers differs.
    """
    rows = [table.rows[index] for index in indices]
    began = time.perf_counter()
    texts = complete(rows)
    seconds = time.perf_counter() - began
    if len(texts) != len(rows):
        raise ValueError(f"{len(rows)} problems got {len(texts)} answers")
    answers = {Key(index): Answer(text) for index, text in zip(indices, texts, strict=True)}
    settings = {"plan_reading": plan_reading} if plan_reading != STRICT else {}
    return verify_answers(table, indices, answers, seconds=seconds, name=name, settings=settings, plan_reading=plan_reading)


def verify_answers(
    table: RowTable,
    indices: Sequence[int],
    answers: Mapping[Key, Answer],
    num_samples: int = 0,
    *,
    seconds: float,
    name: str = "",
    settings: Mapping[str, Any] | None = None,
    price_per_million: tuple[float, float] | None = None,
    plan_reading: str | None = STRICT,
) -> EvaluationResult:
    """The verdicts on answers to the rows `indices`: for each, sample 0 is greedy and 1..num_samples were drawn.

    Answers of later turns to a greedy question are its repairs. Difficulty buckets are those of the whole table. Where the model
    was asked in other words than the problems' own, problems and answers stand in their own words here.
    price_per_million: of prompt and of completion tokens. plan_reading: that of PLAN_READINGS whose verdict counts (an answer is
    verified under both); None for answers that are made up of several ones, which are read strictly and in no other way.
    """
    if isinstance(table, AskedTable):
        answers = {key: replace(answer, text=table.own_answer(key.row_index, answer.text)) for key, answer in answers.items()}
        table = table.own
    buckets = fill_buckets(table.rows, table.domains)
    problems = []
    for index in indices:
        row, task, answer = table.rows[index], table.task(index), answers[Key(index)]
        drawn = [answers[Key(index, number)] for number in range(1, num_samples + 1)]
        repairs = takewhile(lambda found: found is not None, (answers.get(Key(index, GREEDY, turn)) for turn in count(1)))
        problems.append(
            ProblemResult(
                domain=row.scenario,
                problem_file=row.problem_file,
                bucket=buckets.of_row[index],
                difficulty=buckets.scores[index],
                canonical=row.canonical,
                constrained=row.problem.constraints is not None,
                reference_cost=row.meta.get("reference_cost"),
                constraint_kind=constraint_kind(row.problem.constraints),
                samples=tuple(SampleResult(**_verified(task, sample, plan_reading)) for sample in drawn),
                repairs=tuple(SampleResult(**_verified(task, repair, plan_reading)) for repair in repairs if repair is not None),
                **_verified(task, answer, plan_reading),
            )
        )
    usage = count_usage(answers, price_per_million)
    return EvaluationResult(tuple(problems), seconds, name, settings or {}, usage)


def _verified(task: Task, answer: Answer, plan_reading: str | None) -> dict[str, Any]:
    """What a greedy and a drawn answer have in common."""
    verdict, dropped = validate_text(task, answer.text), ""
    by_reading: dict[str, str] | None = None
    if plan_reading is not None:
        reading = read_leniently(task, answer.text)
        lenient = validate_text(task, reading.text) if reading.dropped else verdict
        by_reading = {STRICT: verdict.verdict_class, LENIENT: lenient.verdict_class}
        dropped = "+".join(reading.dropped)
        verdict = lenient if plan_reading == LENIENT else verdict
    verdict_class: str = verdict.verdict_class
    if answer.refused is not None:
        verdict_class, by_reading = NO_ANSWER, by_reading and dict.fromkeys(by_reading, NO_ANSWER)
    return {
        "verdict_class": verdict_class,
        "plan_cost": verdict.plan_cost,
        "completion": answer.text,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "seconds": answer.seconds,
        "cut_off": answer.cut_off,
        "refused": answer.refused,
        "by_reading": by_reading,
        "dropped": dropped,
    }


def count_usage(answers: Mapping[Key, Answer], price_per_million: tuple[float, float] | None = None) -> dict[str, Any]:
    """Tokens over all answers, None where some were not counted, and what they cost where a price is given.

    `refused` counts by reason what has no answer; a question that was not taken has no tokens, and needs none.
    """
    given = [answer for answer in answers.values() if answer.refused is None or answer.completion_tokens is not None]
    prompt, completion = (
        [tokens for answer in given if (tokens := getattr(answer, name)) is not None]
        for name in ("prompt_tokens", "completion_tokens")
    )
    counted = len(prompt) == len(completion) == len(given) > 0
    usage: dict[str, Any] = {
        "answers": len(answers),
        "prompt_tokens": sum(prompt) if counted else None,
        "completion_tokens": sum(completion) if counted else None,
        "cut_off": sum(bool(answer.cut_off) for answer in answers.values()),
        "cut_off_while_thinking": sum(bool(open_reasoning(answer.text)) for answer in answers.values()),
        "refused": dict(Counter(answer.refusal for answer in answers.values() if answer.refusal is not None)),
    }
    if price_per_million is not None:
        priced = (sum(prompt) * price_per_million[0] + sum(completion) * price_per_million[1]) / 1e6
        usage["cost"] = priced if counted else None
    return usage


def constraint_kind(constraint: Constraint | None) -> str:
    """The PDDL3 operators in a problem's constraints, sorted and joined by +: `always+at-most-once`, with `preference` where some
    may be violated; `none` without any."""
    return "+".join(sorted(_operators(constraint))) or NO_CONSTRAINT


def _operators(constraint: Constraint | None) -> set[str]:
    match constraint:
        case None:
            return set()
        case ConstraintAnd(parts):
            return set().union(*map(_operators, parts))
        case ConstraintForall(_, part):
            return _operators(part)
        case ConstraintPreference(_, part):
            return {"preference", *_operators(part)}
    return {constraint.operator}


def planner_completions(table: RowTable, indices: Sequence[int], node_budget: int = 200_000) -> list[str]:
    """What exact search answers to the same problems: the ceiling. An empty answer where the budget did not suffice."""
    return [planner_answer(table, index, node_budget).text for index in indices]


def planner_answer(table: RowTable, index: int, node_budget: int = 200_000) -> Answer:
    """`searched_answer`, and an empty text, too, where the task is too large to be searched, which is logged."""
    try:
        return searched_answer(table, index, node_budget)
    except TooLarge as error:
        logger.warning("%s; the planner's answer counts as no plan", error)
        return Answer("")


def searched_answer(table: RowTable, index: int, node_budget: int) -> Answer:
    """The plan of A* for a row, with the seconds it took; an empty text where the node budget did not suffice.

    Raises TooLarge.
    """
    row, task = table.rows[index], table.task(index)
    began = time.perf_counter()
    known = all_domains().get(row.scenario)
    # A heuristic reads its own domain's predicates: in another domain of the same name it would be wrong, or fail.
    heuristic = known.heuristic(task) if known and row.domain == known.domain else None
    steps = find_plan(task, node_budget, heuristic).steps
    return Answer(render_plan(steps or ()), seconds=time.perf_counter() - began)


def planner_answerer(table: RowTable, node_budget: int) -> Callable[[Sequence[Question], Record], None]:
    """Answers every question by search; a sample is no different from the greedy answer."""

    def answer(questions: Sequence[Question], record: Record) -> None:
        for question in questions:
            record(question, planner_answer(table, question.row_index, node_budget))

    return answer
