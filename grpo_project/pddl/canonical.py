"""A name for a problem that does not change when its objects are renamed: what keeps training and test problems apart.

Iterated colour refinement (Weisfeiler and Leman 1968) over the initial atoms, the goal and the constraints. It is conservative:
two problems that refinement cannot tell apart get one name, so splits that differ in names are disjoint up to renaming.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict

from grpo_project.pddl.model import And, Domain, Problem
from grpo_project.pddl.render import render_constraint, render_formula

_WORD = re.compile(r"[^\s()]+")


def canonical_form(domain: Domain, problem: Problem) -> str:
    """64 hexadecimal digits, equal for problems of one domain that differ only in names and order of objects."""
    names = {name for name in problem.objects if name not in domain.constants}
    facts: list[tuple[str, ...]] = [("init", *atom) for atom in problem.init]
    # A formula is a fact too: its words in order, with the objects' places left open.
    parts = problem.goal.parts if isinstance(problem.goal, And) else (problem.goal,)
    facts += [("goal", *_words(render_formula(part))) for part in parts]
    if problem.constraints is not None:
        facts.append(("constraint", *_words(render_constraint(problem.constraints))))
    shapes = [(tuple("*" if word in names else word for word in fact), [w for w in fact if w in names]) for fact in facts]

    colours = {name: _digest(problem.objects[name]) for name in names}
    classes = 0
    while True:
        marks: dict[str, list[str]] = defaultdict(list)
        for shape, members in shapes:
            view = _digest(repr((shape, [colours[member] for member in members])))
            for place, member in enumerate(members):
                marks[member].append(f"{place}:{view}")
        colours = {name: _digest(colours[name] + "".join(sorted(marks[name]))) for name in names}
        found = len(set(colours.values()))
        if found == classes:
            break
        classes = found
    lines = sorted(repr((shape, [colours[member] for member in members])) for shape, members in shapes)
    return hashlib.sha256(repr((domain.name, sorted(colours.values()), lines)).encode()).hexdigest()


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
