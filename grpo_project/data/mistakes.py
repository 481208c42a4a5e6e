"""Plans that fail, made of plans that succeed: what a model that is taught to repair has written before."""

from __future__ import annotations

import random
from collections.abc import Sequence

from grpo_project.domains.base import PlanningDomain
from grpo_project.pddl import Problem, Step, compile_task, validate_text
from grpo_project.prompting import render_failure, render_plan

TRIES = 20  # a short plan may have few mistakes that matter


def failed_attempt(
    domain: PlanningDomain,
    problem: Problem,
    steps: Sequence[Step],
    careless: Sequence[Step] | None,
    style: str,
    detail: str,
    rng: random.Random,
) -> list[str]:
    """An answer that fails and the user turn on it; [] where TRIES mistakes all left a plan that succeeds.

    steps: a plan. careless: one that ignores the constraints, which stands for half of the mistakes where there is one.
    style, detail: of the prompt and of what is said, as `render_failure` has them.
    """
    task = compile_task(domain.domain, problem)
    for _ in range(TRIES):
        wrong = render_plan(careless if careless and rng.random() < 0.5 else mistaken(steps, sorted(problem.objects), rng))
        verdict = validate_text(task, wrong)
        if wrong and not verdict.success:
            return [wrong, render_failure(task, wrong, verdict, detail, style)]
    return []


def mistaken(steps: Sequence[Step], objects: Sequence[str], rng: random.Random) -> list[Step]:
    """The plan with one mistake: a step left out, two neighbours exchanged, another object in a step, or its end missing."""
    changed = list(steps)
    place = rng.randrange(len(changed))
    match rng.randrange(4):
        case 0:
            del changed[place]
        case 1:
            changed[place : place + 2] = changed[place : place + 2][::-1]
        case 2 if len(changed[place]) > 1:
            step = list(changed[place])
            step[rng.randrange(1, len(step))] = rng.choice(objects)
            changed[place] = tuple(step)
        case _:
            del changed[place:]
    return changed
