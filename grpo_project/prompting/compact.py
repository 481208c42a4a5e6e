"""The compact prompt: one short line, one token per word, that a tiny planner reads.

Given the domain it says all that the domains shipped here need. Left out: the types of objects (their names tell them),
numeric values and the metric; a domain that lives by those needs the full prompt.

    blocksworld b1 b2 b3 +on b1 b2 +on-table b2 +on-table b3 !on b3 b1 @sometime-before ( on b3 b1 ) ( clear b2 )

First the scenario and the objects; then `+` initial atoms, `-` atoms that convention implies but that do not hold, `!` goal
atoms, `@` constraints. The sigil is part of the predicate's word, so that one token tells an initial fact from a goal.
"""

from __future__ import annotations

import re

from grpo_project.pddl import Atom, Problem, render_constraint, render_formula
from grpo_project.pddl.model import And, Constraint, ConstraintAnd, Formula, Literal


def render_compact(scenario: str, problem: Problem, implied: frozenset[Atom]) -> str:
    """One line. `implied`: the initial atoms that the domain's conventions imply (PlanningDomain.implied_atoms)."""
    words = [scenario, *problem.objects]
    words += [word for atom in sorted(problem.init - implied) for word in _fact("+", atom)]
    words += [word for atom in sorted(implied - problem.init) for word in _fact("-", atom)]
    goals = _conjuncts(problem.goal)
    atoms = {part.atom for part in goals if isinstance(part, Literal)}
    words += [word for atom in sorted(atoms, key=_by_object) for word in _fact("!", atom)]
    words += [word for part in goals if not isinstance(part, Literal) for word in _marked("!", render_formula(part))]
    for constraint in _parts(problem.constraints):
        words += _marked("@", render_constraint(constraint))
    return " ".join(words)


def _by_object(atom: Atom) -> tuple[list[list[tuple[int, str]]], str]:
    """Sorts by arguments, then predicate, with b2 before b10."""
    return [[(int(run) if run.isdecimal() else -1, run) for run in re.split(r"(\d+)", name)] for name in atom[1:]], atom[0]


def _fact(sigil: str, atom: Atom) -> list[str]:
    return [sigil + atom[0], *atom[1:]]


def _marked(sigil: str, text: str) -> list[str]:
    """ "(always (p a))" as ["@always", "(", "p", "a", ")"]."""
    words = text.replace("(", " ( ").replace(")", " ) ").split()
    return [sigil + words[1], *words[2:-1]]


def _conjuncts(goal: Formula) -> tuple[Formula, ...]:
    return tuple(inner for part in goal.parts for inner in _conjuncts(part)) if isinstance(goal, And) else (goal,)


def _parts(constraint: Constraint | None) -> tuple[Constraint, ...]:
    if constraint is None:
        return ()
    if isinstance(constraint, ConstraintAnd):
        return tuple(inner for part in constraint.parts for inner in _parts(part))
    return (constraint,)
