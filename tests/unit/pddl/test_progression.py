"""What is left of a problem after some steps is solved by the rest of a plan exactly where the whole plan solves the problem."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grpo_project.common.random_streams import stream
from grpo_project.data.rows import read_rows
from grpo_project.errors import UnsupportedFeature
from grpo_project.pddl import Task, compile_task, extract_plan, parse_problem, render_problem, validate
from grpo_project.pddl.model import ConstraintAnd, Literal, Not, TrajectoryConstraint
from grpo_project.pddl.progression import Walk

DATA = Path(__file__).resolve().parents[3] / "data" / "test"
UNARY, BINARY = ("always", "sometime", "at-most-once", "at end"), ("sometime-before", "sometime-after")


def rest_of(walk: Walk) -> Task:
    """The problem that is left, by way of its text, as a model is asked."""
    domain = walk.task.domain
    return compile_task(domain, parse_problem(render_problem(walk.restated(), domain), domain))


def check_every_prefix(task: Task, steps: tuple[tuple[str, ...], ...]) -> tuple[int, bool]:
    """(prefixes compared, whether the whole succeeds)."""
    whole = validate(task, steps).success
    walk = Walk(task)
    for place, step in enumerate(steps):
        assert walk.done == validate(task, steps[:place]).success
        assert validate(rest_of(walk), steps[place:]).success == whole, (place, walk.restated().constraints)
        if not walk.take(step):
            assert not whole
            return place + 1, whole
    assert walk.done == whole
    return len(steps) + 1, whole


def test_on_the_shipped_problems_and_plans_that_fail() -> None:
    table = read_rows(DATA)
    compared, outcomes = 0, []
    for domain in table.domains:
        for index in table.indices_of(domain)[:8]:
            task = table.task(index)
            steps = extract_plan(table.rows[index].response or "").steps or ()
            rng = stream("progression", index)
            other = list(steps)
            rng.shuffle(other)
            for plan in (steps, tuple(other), (*steps, *steps[-1:]), steps[:-1]):
                count, whole = check_every_prefix(task, plan)
                compared += count
                outcomes.append(whole)
    assert compared > 500 and 30 < sum(outcomes) < len(outcomes) - 30


@pytest.mark.parametrize("operator", [*UNARY, *BINARY])
def test_each_operator_with_atoms_that_come_and_go(operator: str) -> None:
    """Constraints over atoms that the plan's own states hold and lose, so that every memory is met."""
    table = read_rows(DATA, ["blocksworld", "ferry"])
    seen = set()
    for index in [*table.indices_of("blocksworld")[:10], *table.indices_of("ferry")[:10]]:
        plain = table.task(index)
        steps = extract_plan(table.rows[index].response or "").steps or ()
        walk, states = Walk(compile_task(plain.domain, replace(plain.problem, constraints=None))), []
        for step in steps:
            assert walk.take(step)
            states.append(set(walk.task.atoms_of(walk.state)))
        thing = min(plain.problem.objects)
        never = ("on" if plain.domain.name == "blocksworld" else "at", thing, thing)
        atoms = sorted(set.union(*states) - set.intersection(*states))
        rng = stream("operators", operator, index)
        for _ in range(12):
            chosen = [Literal(rng.choice([*atoms, never, never])) for _ in range(2 if operator in BINARY else 1)]
            formulas = tuple(rng.choice((literal, Not(literal))) for literal in chosen)
            problem = replace(plain.problem, constraints=ConstraintAnd((TrajectoryConstraint(operator, formulas),)))
            seen.add(check_every_prefix(compile_task(plain.domain, problem), steps)[1])
    assert seen == {True, False}


def test_what_cannot_be_told_anew_is_refused() -> None:
    task = read_rows(DATA, ["ferry"]).task(0)
    goal = task.problem.goal
    timed = replace(task.problem, constraints=TrajectoryConstraint("within", (goal,), (9.0,)))
    with pytest.raises(UnsupportedFeature, match="told anew"):
        Walk(compile_task(task.domain, timed))
    with pytest.raises(UnsupportedFeature, match="told anew"):
        Walk(compile_task(replace(task.domain, constraints=TrajectoryConstraint("sometime", (goal,))), task.problem))
