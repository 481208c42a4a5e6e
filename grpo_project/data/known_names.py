"""Objects under names that a small planner was taught, where a problem brings others.

A small planner tells apart the names of its domains' vocabularies, and no words that it never met. Which name of the vocabulary
an object has means nothing to it, so others are exchanged for some of these on the way in, and back on the way out.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Mapping
from dataclasses import replace

from grpo_project.common.random_streams import stream
from grpo_project.data.object_names import by_kind
from grpo_project.data.rows import Row, RowTable
from grpo_project.domains import all_domains, get_domain
from grpo_project.pddl import render_problem
from grpo_project.pddl.renaming import Renaming

STYLE = "compact"  # of prompts without a meaning in names; the planners of other styles were taught which name is what


def known_names(row: Row, style: str) -> dict[str, str]:
    """{name of the row's problem: name of its domain's vocabulary} for the objects that have none of it, drawn by a stream of the
    row's own among those of their type that are free.

    {} where there is nothing to exchange, for another style or domain, and where the vocabulary has too few for the problem.
    """
    domain = all_domains().get(row.scenario)
    if style != STYLE or domain is None or row.domain.predicates.keys() != domain.domain.predicates.keys():
        return {}
    objects = row.problem.objects
    rng = stream(0, "known names", row.scenario, row.problem_file)
    found: dict[str, str] = {}
    for kind in dict.fromkeys(objects.values()):
        unknown = [name for name, own in objects.items() if own == kind and name not in domain.object_names]
        free = [name for name in _vocabulary(domain.name).get(kind, ()) if name not in objects]
        if len(unknown) > len(free):
            return {}
        found |= dict(zip(unknown, rng.sample(free, len(unknown)), strict=True))
    return found


@functools.cache
def _vocabulary(name: str) -> Mapping[str, list[str]]:
    """{type: the names of the largest family that its objects have in the domain's own problems}."""
    domain, rng = get_domain(name), random.Random(0)
    own = domain.generate(rng, domain.draw_parameters(rng, domain.sizes["train"]), False).objects
    families = list(by_kind(domain.object_names).values())
    return {
        kind: max((names for names in families if {name for name in own if own[name] == kind} & set(names)), key=len)
        for kind in dict.fromkeys(own.values())
    }


def with_known_names(table: RowTable, style: str) -> RowTable:
    """The table with the rows renamed that need it, at the same indices."""
    renamed = [_under(row, known_names(row, style)) for row in table.rows]
    return RowTable(table.origin, table.domains, renamed, table.bad_rows, table.fingerprint)


def _under(row: Row, names: Mapping[str, str]) -> Row:
    if not names:
        return row
    problem = Renaming(row.problem.domain_name, objects=names).problem(row.problem, row.problem.name)
    return replace(row, meta={**row.meta, "problem_pddl": render_problem(problem, row.domain)})


def with_own_names(text: str, names: Mapping[str, str]) -> str:
    """An answer in the problem's own words again. `names`: as `known_names` gives them."""
    own = {known: name for name, known in names.items()}
    return re.sub(r"[\w-]+", lambda word: own.get(word[0].lower(), word[0]), text)
