"""Other names for a problem's objects, and another order of their list: the same problem, as somebody else might write it.

conventional   as the domain's generator names and lists them
drawn          names of the domain's vocabulary, each kind among its own: b1 may become b7, and l1 never
invented       short words without a meaning, which no vocabulary holds
any            drawn, and invented in one problem of four
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from grpo_project.domains.base import PlanningDomain
from grpo_project.pddl import Domain, Problem
from grpo_project.pddl.model import And, Formula, Literal
from grpo_project.pddl.renaming import Renaming, invented_words

INVENTED_SHARE = 0.25  # of naming `any`: enough to learn how unknown words are spelt, and most prompts stay short


def conventional_names(domain: Domain, vocabulary: Sequence[str], problem: Problem, rng: random.Random) -> dict[str, str]:
    return {}


def drawn_names(domain: Domain, vocabulary: Sequence[str], problem: Problem, rng: random.Random) -> dict[str, str]:
    """Names of one kind differ in their numbers alone. Where the vocabulary has too few for the problem, they swap theirs."""
    own, known = by_kind(problem.objects), by_kind(vocabulary)
    drawn: dict[str, str] = {}
    for kind, names in own.items():
        pool = known[kind] if len(known[kind]) >= len(names) else names
        drawn |= dict(zip(names, rng.sample(pool, len(names)), strict=True))
    return drawn


def invented_names(domain: Domain, vocabulary: Sequence[str], problem: Problem, rng: random.Random) -> dict[str, str]:
    taken = {domain.name, *domain.predicates, *domain.actions, *domain.types, *domain.constants}
    return dict(zip(problem.objects, invented_words(rng, taken), strict=False))


def any_names(domain: Domain, vocabulary: Sequence[str], problem: Problem, rng: random.Random) -> dict[str, str]:
    return (invented_names if rng.random() < INVENTED_SHARE else drawn_names)(domain, vocabulary, problem, rng)


# Of a domain, the vocabulary of its objects (none where it has none) and a problem: old names to new.
NAMINGS: Mapping[str, Callable[[Domain, Sequence[str], Problem, random.Random], dict[str, str]]] = MappingProxyType(
    {"conventional": conventional_names, "drawn": drawn_names, "invented": invented_names, "any": any_names}
)


def rename_objects(domain: PlanningDomain, problem: Problem, naming: str, rng: random.Random) -> tuple[Problem, Renaming]:
    """The problem under names of this kind, and the way from the old names to the new. Raises KeyError for an unknown naming.

    Unless they stay conventional, the objects are listed in a drawn order and the goal's conjuncts follow it: what a rule takes
    "in order" can then be read off the list, which a compact prompt shows, and off nothing else.
    """
    names = Renaming(problem.domain_name, objects=NAMINGS[naming](domain.domain, domain.object_names, problem, rng))
    renamed = names.problem(problem, problem.name)
    if naming == "conventional":
        return renamed, names
    renamed = list_otherwise(renamed, rng)
    return replace(renamed, goal=_in_listed_order(renamed.goal, list(renamed.objects))), names


def list_otherwise(problem: Problem, rng: random.Random) -> Problem:
    """With its objects in another order, where there are two or more."""
    names = list(problem.objects)
    order = list(names)
    while order == names and len(names) > 1:
        rng.shuffle(order)
    return replace(problem, objects={name: problem.objects[name] for name in order})


def _in_listed_order(goal: Formula, objects: list[str]) -> Formula:
    """A conjunction of atoms, ordered by the places of its atoms' objects; any other goal as it is."""
    if not isinstance(goal, And) or not all(isinstance(part, Literal) for part in goal.parts):
        return goal
    place = {name: number for number, name in enumerate(objects)}
    atoms = sorted(
        (part.atom for part in goal.parts if isinstance(part, Literal)), key=lambda a: [place.get(o, -1) for o in a[1:]]
    )
    return And(tuple(map(Literal, atoms)))


def by_kind(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that differ in their numbers alone, together: {"b#": ["b1", "b2"]}."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in names:
        kinds[re.sub(r"\d+", "#", name)].append(name)
    return kinds
