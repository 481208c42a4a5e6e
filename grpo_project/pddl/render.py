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
    Problem,
    TypedName,
)


def render_atom(atom: Atom) -> str:
    """("on", "b1", "b2") as "(on b1 b2)"."""
    return "(" + " ".join(atom) + ")"


def render_formula(formula: Formula, typed: bool = False) -> str:
    """One line of PDDL. typed: for a domain with types, where VAL refuses a variable without one, be it only `object`."""

    def inside(part: Formula) -> str:
        return render_formula(part, typed)

    match formula:
        case Literal(atom):
            return render_atom(atom)
        case Comparison(operator, left, right):
            return f"({operator} {render_expression(left)} {render_expression(right)})"
        case Not(part):
            return f"(not {inside(part)})"
        case And(parts):
            return _operator("and", map(inside, parts))
        case Or(parts):
            return _operator("or", map(inside, parts))
        case Imply(condition, consequence):
            return f"(imply {inside(condition)} {inside(consequence)})"
        case Forall(variables, part):
            return f"(forall ({_typed(variables, typed)}) {inside(part)})"
        case Exists(variables, part):
            return f"(exists ({_typed(variables, typed)}) {inside(part)})"
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


def render_constraint(constraint: Constraint, typed: bool = False) -> str:
    """One line of PDDL3; `typed` as in render_formula."""
    match constraint:
        case ConstraintAnd(parts):
            return _operator("and", (render_constraint(part, typed) for part in parts))
        case ConstraintForall(variables, part):
            return f"(forall ({_typed(variables, typed)}) {render_constraint(part, typed)})"
    formulas = (render_formula(formula, typed) for formula in constraint.formulas)
    return _operator(constraint.operator, (*map(render_number, constraint.times), *formulas))


def render_domain(domain: Domain) -> str:
    """The whole domain definition, ending in a newline."""
    typed = bool(domain.types)
    lines = [f"(define (domain {domain.name})"]
    if domain.requirements:
        lines.append(f"  (:requirements {' '.join(domain.requirements)})")
    if domain.types:
        lines.append(f"  (:types {_names(domain.types, typed)})")
    if domain.constants:
        lines.append(f"  (:constants {_names(domain.constants, typed)})")
    if domain.predicates:
        lines.append("  (:predicates")
        lines += [f"    ({' '.join(filter(None, (name, _typed(ps, typed))))})" for name, ps in domain.predicates.items()]
        lines[-1] += ")"
    if domain.functions:
        lines.append("  (:functions")
        lines += [f"    ({' '.join(filter(None, (name, _typed(ps, typed))))}) - number" for name, ps in domain.functions.items()]
        lines[-1] += ")"
    if domain.constraints is not None:
        lines.append(f"  (:constraints {render_constraint(domain.constraints, typed)})")
    for action in domain.actions.values():
        lines.append(f"  (:action {action.name}")
        lines.append(f"    :parameters ({_typed(action.parameters, typed)})")
        lines.append(f"    :precondition {render_formula(action.precondition, typed)}")
        lines.append(f"    :effect {_operator('and', (_effect(effect, typed) for effect in action.effects))})")
    return "\n".join(lines) + ")\n"


def render_problem(problem: Problem) -> str:
    """The whole problem definition, atoms sorted, ending in a newline."""
    typed = any(kind != "object" for kind in problem.objects.values())
    lines = [f"(define (problem {problem.name})", f"  (:domain {problem.domain_name})"]
    lines.append(f"  (:objects {_names(problem.objects, typed)})")
    lines.append("  (:init")
    lines += [f"    {render_atom(atom)}" for atom in sorted(problem.init)]
    lines += [f"    (= {render_atom(term)} {render_number(value)})" for term, value in sorted(problem.values.items())]
    lines[-1] += ")"
    if isinstance(problem.goal, And) and len(problem.goal.parts) > 1:
        lines.append("  (:goal (and")
        lines += [f"    {render_formula(part, typed)}" for part in problem.goal.parts]
        lines[-1] += "))"
    else:
        lines.append(f"  (:goal {render_formula(problem.goal, typed)})")
    if problem.constraints is not None:
        lines.append(f"  (:constraints {render_constraint(problem.constraints, typed)})")
    if problem.metric is not None:
        lines.append(f"  (:metric {problem.metric[0]} {render_expression(problem.metric[1])})")
    return "\n".join(lines) + ")\n"


def _operator(name: str, parts: Iterable[str]) -> str:
    return "(" + " ".join((name, *parts)) + ")"


def _typed(variables: Iterable[TypedName], typed: bool) -> str:
    # Where one type is written all are, since "?a ?b - t" would type both.
    pairs = [(variable.name, variable.type) for variable in variables]
    if not typed and all(kind == "object" for _, kind in pairs):
        return " ".join(name for name, _ in pairs)
    return " ".join(f"{name} - {kind}" for name, kind in pairs)


def _names(names: Mapping[str, str | None] | Mapping[str, str], typed: bool) -> str:
    """Names grouped by type in order of first use; those without a type last, as PDDL asks."""
    groups: dict[str | None, list[str]] = {}
    for name, kind in names.items():
        groups.setdefault(kind, []).append(name)
    untyped = groups.pop(None, [])
    if not typed and set(groups) == {"object"}:
        return " ".join(groups["object"])
    return " ".join([*(f"{' '.join(members)} - {kind}" for kind, members in groups.items()), *untyped])


def _effect(effect: Effect, typed: bool) -> str:
    if effect.numeric is not None:
        change = effect.numeric
        text = f"({change.operator} {render_atom(change.term)} {render_expression(change.amount)})"
    elif effect.add is not None:
        text = render_atom(effect.add)
    else:
        assert effect.delete is not None
        text = f"(not {render_atom(effect.delete)})"
    if effect.when is not None:
        text = f"(when {render_formula(effect.when, typed)} {text})"
    if effect.variables:
        text = f"(forall ({_typed(effect.variables, typed)}) {text})"
    return text
