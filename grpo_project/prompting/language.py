"""Domains and problems in English sentences, from templates of the domain (`PlanningDomain.phrases`) or a generic rendering.

A predicate without a template reads `on b1 b2`: its own words stand for the fact. Brackets keep nested conditions unambiguous.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grpo_project.pddl.model import (
    And,
    Atom,
    Comparison,
    Constraint,
    ConstraintAnd,
    ConstraintForall,
    ConstraintPreference,
    Domain,
    Effect,
    Exists,
    Forall,
    Formula,
    Imply,
    Literal,
    Not,
    Or,
    Preference,
    Problem,
    TypedName,
)
from grpo_project.pddl.render import render_expression, render_number
from grpo_project.pddl.types import ROOT_TYPE, members_of

Phrases = Mapping[str, str]


@dataclass(frozen=True)
class Wording:
    """`phrases`: predicate to template. `name_object`: the root type is worth naming, because other types stand beside it."""

    phrases: Phrases
    name_object: bool

    def names_type(self, kind: str) -> bool:
        return kind != ROOT_TYPE or self.name_object


_COMPARED = {"<": "is below", "<=": "is at most", "=": "equals", ">=": "is at least", ">": "is above"}
_CHANGED = {
    "assign": "{0} becomes {1}",
    "increase": "{0} grows by {1}",
    "decrease": "{0} shrinks by {1}",
    "scale-up": "{0} is multiplied by {1}",
    "scale-down": "{0} is divided by {1}",
}


def domain_in_words(domain: Domain, phrases: Phrases) -> str:
    """One paragraph an action: how it is written, when it can run, what it changes. Then types, constants and constraints."""
    wording = Wording(phrases, ROOT_TYPE in domain.types)
    lines = []
    for action in domain.actions.values():
        signature = " ".join([action.name, *(parameter.name for parameter in action.parameters)])
        lines.append(f"({signature})")
        kinds = [f"{own.name} of type {_type(own.type)}" for own in action.parameters if wording.names_type(own.type)]
        if kinds:
            lines.append(f"  with {', '.join(kinds)}.")
        lines.append(f"  It can run when {_formula(action.precondition, wording, top=True)}.")
        lines.append(f"  After it, {'; '.join(_effect(effect, wording) for effect in action.effects) or 'nothing has changed'}.")
    for rule in domain.derived:
        atom = _atom((rule.head, *(variable.name for variable in rule.parameters)), wording)
        every = f"For every {_typed(rule.parameters, wording)}: {atom}" if rule.parameters else atom
        lines.append(f"{every}, wherever {_formula(rule.body, wording)}.")
    for child, parents in domain.types.items():
        lines += [f"Type {child} is a kind of {parent}." for parent in parents]
    lines += [f"In every problem there is {name} (type {_type(kind, 'and')})." for name, kind in domain.constants.items()]
    if domain.constraints is not None:
        lines += _constraints(domain.constraints, wording)
    return "\n".join(lines) + "\n"


def problem_in_words(problem: Problem, phrases: Phrases) -> str:
    """Objects, what holds at the start (what is not named does not hold), the goal, constraints, the metric."""
    # Where objects have types, `object` is one of them, and a quantifier over it must say so.
    wording = Wording(phrases, any(kind != ROOT_TYPE for kind in problem.objects.values()))
    kinds: dict[str, list[str]] = {}
    for name, kind in problem.objects.items():
        kinds.setdefault(kind, []).append(name)
    lines, between = ["Objects:"], "and"
    lines += [
        f"- {', '.join(names)}{f' (type {_type(kind, between)})' if wording.names_type(kind) else ''}"
        for kind, names in kinds.items()
    ]
    lines.append("At the start, this holds, and nothing else:")
    lines += [f"- {_atom(atom, wording)}" for atom in sorted(problem.init)]
    lines += [f"- {' '.join(term)} equals {render_number(value)}" for term, value in sorted(problem.values.items())]
    lines.append("In the end, this must hold:")
    goals = problem.goal.parts if isinstance(problem.goal, And) else (problem.goal,)
    lines += [f"- {_formula(part, wording, top=True)}" for part in goals]
    if problem.constraints is not None:
        lines.append("All the way through:")
        lines += [f"- {line}" for line in _constraints(problem.constraints, wording)]
    if problem.metric is not None:
        direction = "low" if problem.metric[0] == "minimize" else "high"
        lines.append(f"As {direction} as possible should be: {render_expression(problem.metric[1])}")
    return "\n".join(lines) + "\n"


def _atom(atom: Atom, wording: Wording) -> str:
    if atom[0] == "=":
        return f"{atom[1]} and {atom[2]} are the same"
    phrase = wording.phrases.get(atom[0])
    return phrase.format(*atom[1:]) if phrase is not None else " ".join(atom)


def _formula(formula: Formula, wording: Wording, top: bool = False) -> str:
    """`top`: nothing stands around it, so that it needs no brackets."""
    match formula:
        case Literal(atom):
            return _atom(atom, wording)
        case Not(Literal(atom)):
            return f"it is false that {_atom(atom, wording)}"
        case And(()):
            return "no condition is asked"
        case And((part,)) | Or((part,)):
            return _formula(part, wording, top)
        case Comparison(operator, left, right):
            text = f"{render_expression(left)} {_COMPARED[operator]} {render_expression(right)}"
        case Not(part):
            text = f"it is false that {_formula(part, wording)}"
        case And(parts):
            text = " and ".join(_formula(part, wording) for part in parts)
        case Or(parts):
            text = " or ".join(_formula(part, wording) for part in parts) or "something impossible happens"
        case Imply(condition, consequence):
            text = f"if {_formula(condition, wording)} then {_formula(consequence, wording)}"
        case Preference(name, part):
            text = f"if possible (preference {name}), {_formula(part, wording)}"
        case Forall(variables, part):
            text = f"for every {_typed(variables, wording)}, {_formula(part, wording)}"
        case Exists(variables, part):
            text = f"there is {_typed(variables, wording)} so that {_formula(part, wording)}"
        case _:
            raise TypeError(f"not a formula: {formula!r}")
    return text if top else f"[{text}]"


def _constraints(constraint: Constraint, wording: Wording) -> list[str]:
    """One sentence for each constraint of a conjunction."""
    if isinstance(constraint, ConstraintAnd):
        return [line for part in constraint.parts for line in _constraints(part, wording)]
    return [_constraint(constraint, wording)]


def _constraint(constraint: Constraint, wording: Wording) -> str:
    match constraint:
        case ConstraintAnd(parts):
            return " and ".join(f"[{_constraint(part, wording)}]" for part in parts)
        case ConstraintForall(variables, part):
            return f"for every {_typed(variables, wording)}: {_constraint(part, wording)}"
        case ConstraintPreference(name, part):
            return f"if possible (preference {name}): {_constraint(part, wording)}"
    words = [_formula(part, wording) for part in constraint.formulas]
    times = [render_number(time) for time in constraint.times]
    match constraint.operator:
        case "always":
            return f"at every moment, {words[0]}"
        case "sometime":
            return f"at some moment, {words[0]}"
        case "at-most-once":
            return f"during at most one unbroken stretch of time, {words[0]}"
        case "sometime-before":
            return f"before the first moment at which {words[0]}, there must have been an earlier one at which {words[1]}"
        case "sometime-after":
            return f"whenever {words[0]}, then at that moment or later {words[1]}"
        case "at end":
            return f"at the end, {words[0]}"
        case "within":
            return f"after at most {times[0]} steps, {words[0]}"
        case "always-within":
            return f"whenever {words[0]}, then at most {times[0]} steps later {words[1]}"
        case "hold-during":
            return f"from step {times[0]} until before step {times[1]}, {words[0]}"
    return f"from step {times[0]} on, {words[0]}"


def _type(kind: str, between: str = "or") -> str:
    """A variable of several types is of one of them; an object is of all (`between` "and")."""
    return f" {between} ".join(members_of(kind))


def _typed(variables: tuple[TypedName, ...], wording: Wording) -> str:
    return " and ".join(f"{_type(v.type)} {v.name}" if wording.names_type(v.type) else v.name for v in variables)


def _effect(effect: Effect, wording: Wording) -> str:
    if effect.numeric is not None:
        change = effect.numeric
        text = _CHANGED[change.operator].format(" ".join(change.term), render_expression(change.amount))
    elif effect.add is not None:
        text = _atom(effect.add, wording)
    else:
        assert effect.delete is not None
        text = f"it is false that {_atom(effect.delete, wording)}"
    if effect.when is not None:
        text = f"if {_formula(effect.when, wording)} held before, {text}"
    if effect.variables:
        text = f"for every {_typed(effect.variables, wording)}, {text}"
    return text
