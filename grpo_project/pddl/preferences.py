"""PDDL3 preferences (Gerevini and Long 2005): conditions that a plan may violate, each by its name, at a price in the metric.

A preference in a goal or constraint is violated or not, each ground instance for itself; one in a precondition is violated every
time its action runs where it does not hold. A plan that is valid without its preferences stays valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from grpo_project.pddl.conditions import Binding, Condition, ConditionCompiler
from grpo_project.pddl.model import (
    And,
    Constraint,
    ConstraintAnd,
    ConstraintForall,
    ConstraintPreference,
    Domain,
    Forall,
    Formula,
    Preference,
    Problem,
    Step,
    preferences_in,
)
from grpo_project.pddl.monitors import Monitor

MAXIMUM_REMEMBERED = 100_000  # steps whose preferences are kept
Made = TypeVar("Made")
Violations = tuple[tuple[str, int], ...]  # (name, how often), in the order in which the names are declared


def without_preferences(formula: Formula) -> Formula:
    """A goal or precondition with what it really asks for; preferences stand under `and` and `forall` alone."""
    match formula:
        case Preference():
            return And(())
        case And(parts):
            kept = tuple(part for part in map(without_preferences, parts) if part != And(()))
            return kept[0] if len(kept) == 1 and len(parts) > 1 else And(kept)
        case Forall(variables, part):
            hard = without_preferences(part)
            return Forall(variables, hard) if hard != And(()) else hard
    return formula


def all_hard(domain: Domain, problem: Problem) -> tuple[Domain, Problem]:
    """Both without their preferences, and the problem without the metric that may count them."""
    actions = {a.name: replace(a, precondition=without_preferences(a.precondition)) for a in domain.actions.values()}
    domain = replace(domain, actions=actions, constraints=_hard(domain.constraints))
    goal, constraints = without_preferences(problem.goal), _hard(problem.constraints)
    return domain, replace(problem, goal=goal, constraints=constraints, metric=None)


def _hard(constraint: Constraint | None) -> Constraint | None:
    match constraint:
        case ConstraintPreference():
            return None
        case ConstraintAnd(parts):
            kept = tuple(part for part in map(_hard, parts) if part is not None)
            return ConstraintAnd(kept) if kept else None
        case ConstraintForall(variables, part):
            hard = _hard(part)
            return None if hard is None else ConstraintForall(variables, hard)
    return constraint


def preference_names(domain: Domain, problem: Problem) -> tuple[str, ...]:
    """Every preference's name once: the domain's, then the problem's (constraints, goal)."""
    own = (name for node in (problem.constraints, problem.goal) if node is not None for name in preferences_in(node))
    return tuple(dict.fromkeys((*domain.preference_names, *own)))


def ground_preferences(
    compiler: ConditionCompiler, node: Formula | Constraint | None, binding: Binding, make: Callable[[Any, Binding], Made]
) -> Iterator[tuple[str, Made]]:
    """(name, what `make` makes of the formula or constraint that is preferred, and its binding) of every ground instance."""
    match node:
        case Preference(name, part) | ConstraintPreference(name, part):
            yield name, make(part, binding)
        case And(parts) | ConstraintAnd(parts):
            for part in parts:
                yield from ground_preferences(compiler, part, binding, make)
        case Forall(variables, part) | ConstraintForall(variables, part):
            if next(preferences_in(part), None) is not None:
                for inner in compiler.bindings(variables, binding):
                    yield from ground_preferences(compiler, part, inner, make)


class Preferences:
    """The ground preferences of a task: `names`; those of the goal as conditions; of constraints as monitors (one that falls
    into several is violated where any of them is); and those of a step, made on first use.
    """

    def __init__(
        self,
        domain: Domain,
        problem: Problem,
        names: tuple[str, ...],
        compiler: ConditionCompiler,
        monitors: Callable[[Constraint, Binding], Iterator[Monitor]],
    ) -> None:
        self.names = names
        self.goal = tuple(ground_preferences(compiler, problem.goal, {}, compiler.compile))
        self.monitors = tuple(
            each
            for own in (domain.constraints, problem.constraints)
            for each in ground_preferences(compiler, own, {}, lambda part, binding: tuple(monitors(part, binding)))
        )
        self._domain = domain
        self._compiler = compiler
        self._of_steps: dict[Step, tuple[tuple[str, Condition], ...]] = {}

    def of_step(self, step: Step) -> tuple[tuple[str, Condition], ...]:
        """What is preferred where a step runs, with names."""
        known = self._of_steps.get(step)
        if known is None:
            action = self._domain.actions[step[0]]
            binding = {p.name: argument for p, argument in zip(action.parameters, step[1:], strict=True)}
            known = tuple(ground_preferences(self._compiler, action.precondition, binding, self._compiler.compile))
            if len(self._of_steps) < MAXIMUM_REMEMBERED:
                self._of_steps[step] = known
        return known
