"""PDDL values back to text, in a canonical layout: parse(render(x)) == x, and render is stable under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from grpo_project.pddl.model import (
    And,
    Arithmetic,
    Atom,
    Comparison,
    Constraint,
    ConstraintAnd,
    ConstraintForall,
    ConstraintPreference,
    Domain,
    Effect,
    Exists,
    Expression,
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
from grpo_project.pddl.types import ROOT_TYPE, Parents, members_of


def render_atom(atom: Atom) -> str:
    """("on", "b1", "b2") as "(on b1 b2)"."""
    return "(" + " ".join(atom) + ")"


def render_formula(formula: Formula, name_object: bool = False) -> str:
    """One line of PDDL. name_object: write out `- object` where every variable has that type.

    A domain with types needs it: VAL takes an untyped variable there for one of an unknown type.
    """
    match formula:
        case Literal(atom):
            return render_atom(atom)
        case Comparison(operator, left, right):
            return f"({operator} {render_expression(left)} {render_expression(right)})"
        case Not(part):
            return f"(not {render_formula(part, name_object)})"
        case And(parts):
            return _operator("and", (render_formula(part, name_object) for part in parts))
        case Or(parts):
            return _operator("or", (render_formula(part, name_object) for part in parts))
        case Imply(condition, consequence):
            return f"(imply {render_formula(condition, name_object)} {render_formula(consequence, name_object)})"
        case Forall(variables, part):
            return f"(forall ({_typed(variables, name_object)}) {render_formula(part, name_object)})"
        case Exists(variables, part):
            return f"(exists ({_typed(variables, name_object)}) {render_formula(part, name_object)})"
        case Preference(name, part):
            return f"(preference {name} {render_formula(part, name_object)})"
    raise TypeError(f"not a formula: {formula!r}")


def render_expression(expression: Expression) -> str:
    """A number in the shortest form that reads back the same, a function term, or arithmetic."""
    match expression:
        case Arithmetic(operator, parts):
            return _operator(operator, map(render_expression, parts))
        case tuple():
            return render_atom(expression)
    return render_number(expression)


def render_number(value: float) -> str:
    """2.0 as "2", 0.1 as "0.1": no digit is lost."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)


def render_constraint(constraint: Constraint, name_object: bool = False) -> str:
    """One line of PDDL3; name_object as in render_formula."""
    match constraint:
        case ConstraintAnd(parts):
            return _operator("and", (render_constraint(part, name_object) for part in parts))
        case ConstraintForall(variables, part):
            return f"(forall ({_typed(variables, name_object)}) {render_constraint(part, name_object)})"
        case ConstraintPreference(name, part):
            return f"(preference {name} {render_constraint(part, name_object)})"
    words = [*map(render_number, constraint.times), *(render_formula(part, name_object) for part in constraint.formulas)]
    return f"({constraint.operator} {' '.join(words)})"


def render_domain(domain: Domain) -> str:
    """The whole domain definition, ending in a newline."""
    named = bool(domain.types)
    lines = [f"(define (domain {domain.name})"]
    if domain.requirements:
        lines.append(f"  (:requirements {' '.join(domain.requirements)})")
    if domain.types:
        lines.append(f"  (:types {_names(_with_parents(domain.types), True)})")
    if domain.constants:
        lines.append(f"  (:constants {_names(_with_types(domain.constants), named)})")
    if domain.predicates:
        lines.append("  (:predicates")
        lines += [f"    ({' '.join(filter(None, (name, _typed(ps, named))))})" for name, ps in domain.predicates.items()]
        lines[-1] += ")"
    if domain.functions:
        lines.append("  (:functions")
        lines += [f"    ({' '.join(filter(None, (name, _typed(ps, named))))}) - number" for name, ps in domain.functions.items()]
        lines[-1] += ")"
    if domain.constraints is not None:
        lines.append(f"  (:constraints {render_constraint(domain.constraints, named)})")
    for rule in domain.derived:
        head = " ".join(filter(None, (rule.head, _typed(rule.parameters, named))))
        lines.append(f"  (:derived ({head}) {render_formula(rule.body, named)})")
    for action in domain.actions.values():
        lines.append(f"  (:action {action.name}")
        lines.append(f"    :parameters ({_typed(action.parameters, named)})")
        lines.append(f"    :precondition {render_formula(action.precondition, named)}")
        lines.append(f"    :effect {_operator('and', (_effect(effect, named) for effect in action.effects))})")
    return "\n".join(lines) + ")\n"


def render_problem(problem: Problem, domain: Domain | None = None) -> str:
    """The whole problem definition, atoms sorted, ending in a newline.

    Variables of type `object` say so where any object has another type. The domain is needed only where none has, and yet the
    domain has types (see render_formula).
    """
    named = any(kind != ROOT_TYPE for kind in problem.objects.values()) or (domain is not None and bool(domain.types))
    lines = [f"(define (problem {problem.name})", f"  (:domain {problem.domain_name})"]
    lines.append(f"  (:objects {_names(_with_types(problem.objects), named)})")
    lines.append("  (:init")
    lines += [f"    {render_atom(atom)}" for atom in sorted(problem.init)]
    lines += [f"    (= {render_atom(term)} {render_number(value)})" for term, value in sorted(problem.values.items())]
    lines[-1] += ")"
    if isinstance(problem.goal, And) and len(problem.goal.parts) > 1:
        lines.append("  (:goal (and")
        lines += [f"    {render_formula(part, named)}" for part in problem.goal.parts]
        lines[-1] += "))"
    else:
        lines.append(f"  (:goal {render_formula(problem.goal, named)})")
    if problem.constraints is not None:
        lines.append(f"  (:constraints {render_constraint(problem.constraints, named)})")
    if problem.metric is not None:
        lines.append(f"  (:metric {problem.metric[0]} {render_expression(problem.metric[1])})")
    return "\n".join(lines) + ")\n"


def _operator(name: str, parts: Iterable[str]) -> str:
    return "(" + " ".join((name, *parts)) + ")"


def _typed(variables: Iterable[TypedName], name_object: bool) -> str:
    # The root type is written out only where another follows, since "?a ?b - t" would type both.
    pairs = [(variable.name, variable.type) for variable in variables]
    if not name_object and all(kind == ROOT_TYPE for _, kind in pairs):
        return " ".join(name for name, _ in pairs)
    return " ".join(f"{name} - {kind}" for name, kind in pairs)


def _with_parents(types: Parents) -> list[tuple[str, str | None]]:
    """A pair for each parent, so that a type with several stands several times; what has none stands with None."""
    return [(name, parent) for name, parents in types.items() for parent in parents or (None,)]


def _with_types(objects: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """A pair for each type of an object, since VAL quantifies over an object of (either a b) only where it stands twice."""
    return [(name, kind) for name, own in objects.items() for kind in members_of(own)]


def _names(names: Iterable[tuple[str, str | None]], name_object: bool) -> str:
    """Names grouped by type in order of first use; those without a type last, as PDDL asks."""
    groups: dict[str | None, list[str]] = {}
    for name, kind in names:
        groups.setdefault(kind, []).append(name)
    untyped = groups.pop(None, [])
    if set(groups) == {ROOT_TYPE} and not untyped and not name_object:
        return " ".join(groups[ROOT_TYPE])
    typed = [f"{' '.join(members)} - {kind}" for kind, members in groups.items()]
    return " ".join([*typed, *untyped])


def _effect(effect: Effect, name_object: bool) -> str:
    if effect.numeric is not None:
        change = effect.numeric
        text = f"({change.operator} {render_atom(change.term)} {render_expression(change.amount)})"
    elif effect.add is not None:
        text = render_atom(effect.add)
    else:
        assert effect.delete is not None
        text = f"(not {render_atom(effect.delete)})"
    if effect.when is not None:
        text = f"(when {render_formula(effect.when, name_object)} {text})"
    if effect.variables:
        text = f"(forall ({_typed(effect.variables, name_object)}) {text})"
    return text
