"""Rows to verdicts. The model comes in as a function, so nothing here needs torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from grpo_project.core.rows import Row, RowTable
from grpo_project.curriculum.difficulty import fill_buckets
from grpo_project.evaluation.results import EvaluationResult, ProblemResult
from grpo_project.pddl import find_plan, validate_text
from grpo_project.prompting import render_plan

Complete = Callable[[list[Row]], list[str]]


def evaluate(table: RowTable, indices: Sequence[int], complete: Complete, name: str = "") -> EvaluationResult:
    """Completes and judges the rows `indices` of the table, in that order. `complete` gives one answer per row.

    Difficulty buckets are those of the whole table. Raises ValueError where the number of answers differs.
    """
    rows = [table.rows[index] for index in indices]
    buckets = fill_buckets(table.rows, table.domains).of_row
    began = time.perf_counter()
    answers = complete(rows)
    seconds = time.perf_counter() - began
    if len(answers) != len(rows):
        raise ValueError(f"{len(rows)} problems got {len(answers)} answers")
    problems = []
    for index, row, answer in zip(indices, rows, answers, strict=True):
        verdict = validate_text(table.task(index), answer)
        problems.append(
            ProblemResult(
                domain=row.scenario,
                problem_file=row.problem_file,
                bucket=buckets[index],
                constrained=row.problem.constraints is not None,
                verdict_class=verdict.verdict_class,
                plan_cost=verdict.plan_cost,
                reference_cost=row.meta.get("reference_cost"),
                completion=answer,
            )
        )
    return EvaluationResult(tuple(problems), seconds, name)


def planner_completions(table: RowTable, indices: Sequence[int], node_budget: int = 200_000) -> list[str]:
    """What exact search answers to the same problems: the ceiling. An empty answer where the budget did not suffice."""
    from grpo_project.domains import all_domains

    answers = []
    for index in indices:
        task = table.task(index)
        domain = all_domains().get(table.rows[index].scenario)
        heuristic = domain.heuristic(task) if domain else None
        answers.append(render_plan(find_plan(task, node_budget, heuristic).steps or ()))
    return answers
