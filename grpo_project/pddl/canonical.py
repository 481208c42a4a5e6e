"""A name for a problem that does not change when its objects are renamed: what keeps training and test problems apart.

Iterated colour refinement (Weisfeiler and Leman 1968) over the initial atoms, the goal and the constraints. It is conservative:
two problems that refinement cannot tell apart get one name, so splits that differ in names are disjoint up to renaming. Neither
the problem's name nor the order of objects, atoms and members of `and` and `or` matters; the names of bound variables do.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from grpo_project.pddl.conditions import conjuncts
from grpo_project.pddl.model import (
    And,
    Atom,
    Comparison,
    Constraint,
    ConstraintAnd,
    ConstraintForall,
    ConstraintPreference,
    Domain,
    Exists,
    Forall,
    Formula,
    Literal,
    Or,
    Preference,
    Problem,
    TrajectoryConstraint,
    parts_of,
)
from grpo_project.pddl.render import render_constraint, render_formula

_WORD = re.compile(r"[^\s()]+")


def canonical_form(domain: Domain, problem: Problem) -> str:
    """64 hexadecimal digits, equal for problems of one domain that differ only in names and order of objects.

    Constants of the domain keep their names. The same in every process and on every machine.
    """
    names = {name for name in problem.objects if name not in domain.constants}
    facts: list[tuple[str, ...]] = [("init", *atom) for atom in problem.init]
    facts += [("value", *term, repr(value)) for term, value in problem.values.items()]
    # Where a formula has members without an order, its words will not do.
    unordered: list[tuple[str, Formula | Constraint]] = []
    # A formula is a fact too: its words in order, with the objects' places left open.
    for goal in conjuncts(problem.goal):
        if _is_ordered(goal):
            facts.append(("goal", *_WORD.findall(render_formula(goal))))
        else:
            unordered.append(("goal", goal))
    for constraint in _constraints(problem.constraints):
        if _is_ordered(constraint):
            facts.append(("constraint", *_WORD.findall(render_constraint(constraint))))
        else:
            unordered.append(("constraint", constraint))
    shapes = [(tuple("*" if word in names else word for word in fact), [w for w in fact if w in names]) for fact in facts]
    inside = [(kind, part, sorted(names.intersection(_words(part)))) for kind, part in unordered]

    colours = {name: _digest(problem.objects[name]) for name in names}
    classes = 0
    while True:
        marks: dict[str, list[str]] = defaultdict(list)
        for shape, members in shapes:
            view = _digest(repr((shape, [colours[member] for member in members])))
            for place, member in enumerate(members):
                marks[member].append(f"{place}:{view}")
        for kind, part, members in inside:
            for member in members:
                # How the formula looks to this object: its own places stand out.
                marks[member].append(f"{kind}:{_digest(_view(part, {**colours, member: '*'}))}")
        colours = {name: _digest(colours[name] + "".join(sorted(marks[name]))) for name in names}
        found = len(set(colours.values()))
        if found == classes:
            break
        classes = found
    lines = sorted(repr((shape, [colours[member] for member in members])) for shape, members in shapes)
    lines += sorted(f"{kind}:{_view(part, colours)}" for kind, part, _ in inside)
    return hashlib.sha256(repr((domain.name, sorted(colours.values()), lines)).encode()).hexdigest()


def _constraints(constraint: Constraint | None) -> Iterator[Constraint]:
    if isinstance(constraint, ConstraintAnd):
        for part in constraint.parts:
            yield from _constraints(part)
    elif constraint is not None:
        yield constraint


def _is_ordered(node: Formula | Constraint) -> bool:
    parts = parts_of(node)
    if isinstance(node, And | Or | ConstraintAnd) and len(parts) > 1:
        return False
    return all(map(_is_ordered, parts))


def _words(node: Formula | Constraint) -> set[str]:
    if isinstance(node, Literal):
        return set(node.atom[1:])
    if isinstance(node, Comparison):
        return set(_WORD.findall(render_formula(node)))
    return {word for part in parts_of(node) for word in _words(part)}


def _view(node: Formula | Constraint, colours: Mapping[str, str]) -> str:
    """The node as text, each object shown by its colour, members without an order sorted."""
    if isinstance(node, Literal):
        return repr(_coloured(node.atom, colours))
    if isinstance(node, Comparison):
        return _WORD.sub(lambda word: colours.get(word[0], word[0]), render_formula(node))
    parts = [_view(part, colours) for part in parts_of(node)]
    match node:
        case And() | Or() | ConstraintAnd():
            parts.sort()
            own = ""
        case Forall(variables) | Exists(variables) | ConstraintForall(variables):
            own = repr([(variable.name, variable.type) for variable in variables])
        case Preference(name) | ConstraintPreference(name):
            own = repr(name)
        case TrajectoryConstraint(operator, _, times):
            own = repr((operator, times))
        case _:
            own = ""
    return f"({type(node).__name__}{own} {' '.join(parts)})"


def _coloured(atom: Atom, colours: Mapping[str, str]) -> tuple[str, ...]:
    return (atom[0], *(colours.get(word, word) for word in atom[1:]))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
