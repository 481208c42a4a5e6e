"""Objects under names that a small planner was taught, where a problem brings others.

A small planner tells apart the names of its domains' vocabularies, and no words that it never met. Which name of the vocabulary
an object has means nothing to it, so others are exchanged for some of these on the way in, and back on the way out.
"""

from __future__ import annotations

import functools
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from grpo_project.common.random_streams import stream
from grpo_project.data.object_names import by_kind
from grpo_project.data.rows import Row
from grpo_project.domains import all_domains, get_domain
from grpo_project.pddl import Problem, render_problem
from grpo_project.pddl.renaming import Renaming

SAMPLED_PROBLEMS = 20


def in_known_names(row: Row) -> tuple[Row, dict[str, str]]:
    """The row with its objects under names of the vocabulary, and `known_names`; the row itself where there are none."""
    names = known_names(row)
    if not names:
        return row, names
    problem = Renaming(row.problem.domain_name, objects=names).problem(row.problem, row.problem.name)
    return replace(row, meta={**row.meta, "problem_pddl": render_problem(problem, row.domain)}), names


def known_names(row: Row) -> dict[str, str]:
    """{name of the row's problem: name of its domain's vocabulary} for the objects that have none of it.

    Each gets a free name of the family whose objects are said the most alike to it, drawn by a stream of the row's own: what
    is a car in a ferry problem gets a car's name, and the place where spanner's man stands the name that this place always has.
    {} where there is nothing to exchange, for another domain, and where the vocabulary has none, or too few for the problem.
    """
    domain = all_domains().get(row.scenario)
    if domain is None or row.domain.predicates.keys() != domain.domain.predicates.keys():
        return {}
    rng = stream(0, "known names", row.scenario, row.problem_file)
    free = {
        kind: [name for name in names if name not in row.problem.objects] for kind, names in by_kind(domain.object_names).items()
    }
    for names in free.values():
        rng.shuffle(names)
    families, found = _families(domain.name), dict[str, str]()
    for name, own in _what_is_said(row.problem).items():
        if name in domain.object_names:
            continue
        likeness = {
            kind: max(len(own & other) / len(own | other) for other in families[kind]) for kind in families if free.get(kind)
        }
        if not likeness:
            return {}
        kind = max(likeness, key=lambda kind: (likeness[kind], len(free[kind])))
        found[name] = free[kind].pop()
    return found


def _what_is_said(problem: Problem) -> dict[str, frozenset[tuple[str, ...]]]:
    """Of each object its type, and every initial atom that it is in: predicate, its place in it, the types of the others."""
    said: dict[str, set[tuple[str, ...]]] = {name: {(kind,)} for name, kind in problem.objects.items()}
    for predicate, *names in problem.init:
        kinds = [problem.objects.get(name, "") for name in names]
        for place, name in enumerate(names):
            if name in said:
                said[name].add((predicate, str(place), *kinds[:place], *kinds[place + 1 :]))
    return {name: frozenset(own) for name, own in said.items()}


@functools.cache
def _families(name: str) -> Mapping[str, set[frozenset[tuple[str, ...]]]]:
    """Family of names to what is said of its objects, in problems that the domain's own generator makes."""
    domain, rng = get_domain(name), random.Random(0)
    found: dict[str, set[frozenset[tuple[str, ...]]]] = defaultdict(set)
    for _ in range(SAMPLED_PROBLEMS):
        own = _what_is_said(domain.generate(rng, domain.draw_parameters(rng, domain.sizes["train"]), False))
        for kind, names in by_kind(own).items():
            found[kind] |= {own[known] for known in names}
    return found
