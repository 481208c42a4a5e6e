"""Demonstrations for the closed loop: what is left of a problem, and of its plan, after the plan's first steps."""

from __future__ import annotations

import random
from collections.abc import Sequence

from grpo_project.domains.base import PlanningDomain
from grpo_project.pddl import Problem, Step, compile_task
from grpo_project.pddl.progression import Walk


def from_the_middle(
    domain: PlanningDomain, problem: Problem, steps: Sequence[Step], rng: random.Random
) -> tuple[Problem, tuple[Step, ...]]:
    """The problem from a state that the plan goes through, as the closed loop asks it, and the steps from there on, one or more.

    steps: a plan that solves the problem. Unchanged where it has one step.
    """
    walk = Walk(compile_task(domain.domain, problem))
    for step in steps[: rng.randrange(1, len(steps))] if len(steps) > 1 else ():
        walk.take(step)
    return (walk.restated() if walk.steps else problem), tuple(steps[len(walk.steps) :])
