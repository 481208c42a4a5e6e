"""The same problems changed in one way that a planner must not notice: does it plan, or has it learned names by heart?

    order          the objects of the problem are listed in another order
    names          every object has another name of its kind, from the domain's vocabulary
    unseen_names   every object has an invented name, which no example of ours holds

What a model solves as it stands and not when probed, it did not solve by planning.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from grpo_project.common.random_streams import stream
from grpo_project.data.rows import Row, RowTable
from grpo_project.domains import get_domain
from grpo_project.pddl import Problem, extract_plan, render_problem
from grpo_project.pddl.renaming import Renaming, invented_words
from grpo_project.prompting import render_plan, render_prompt


def _no_names(row: Row, rng: random.Random) -> dict[str, str]:
    return {}


def _drawn_names(row: Row, rng: random.Random) -> dict[str, str]:
    """Names of one kind differ in their numbers alone: b1 may become b7, and l1 never. Where the vocabulary has too few, they swap."""
    own, known = _by_kind(row.problem.objects), _by_kind(get_domain(row.scenario).object_names)
    drawn: dict[str, str] = {}
    for kind, names in own.items():
        pool = known[kind] if len(known[kind]) >= len(names) else names
        drawn |= dict(zip(names, rng.sample(pool, len(names)), strict=True))
    return drawn


def _invented_names(row: Row, rng: random.Random) -> dict[str, str]:
    taken = {row.scenario, *row.domain.predicates, *row.domain.actions, *row.domain.types, *row.domain.constants}
    return dict(zip(row.problem.objects, invented_words(rng, taken), strict=False))


PROBES: Mapping[str, Callable[[Row, random.Random], dict[str, str]]] = MappingProxyType(
    {"order": _no_names, "names": _drawn_names, "unseen_names": _invented_names}
)


def probed_row(row: Row, probe: str, seed: int) -> Row:
    """The row's problem, changed as `probe` says and asked in full PDDL; a pure function of the arguments.

    It keeps file name, scenario and canonical form, so that results can be paired. A reference plan is renamed with it; one that
    cannot be read is left out. Raises KeyError for a probe that there is not.
    """
    rng = stream(seed, "probe", probe, row.scenario, row.problem_file)
    names = Renaming(row.problem.domain_name, objects=PROBES[probe](row, rng))
    problem = names.problem(row.problem, row.problem.name)
    if probe == "order":
        problem = _listed_otherwise(problem, rng)
    steps = extract_plan(row.response).steps if row.response else None
    return replace(
        row,
        prompt=render_prompt(row.scenario, row.domain_text, problem, "full"),
        response=render_plan(names.steps(steps)) if steps else None,
        meta={**row.meta, "problem_pddl": render_problem(problem, row.domain)},
    )


def probed_table(table: RowTable, probe: str, seed: int) -> RowTable:
    """Every row of a table, probed, at the same index."""
    rows = [probed_row(row, probe, seed) for row in table.rows]
    return RowTable(table.data_root, table.domains, rows, table.bad_rows, f"{table.fingerprint}/{probe}/{seed}")


def _by_kind(names: Iterable[str]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in names:
        kinds[re.sub(r"\d+", "#", name)].append(name)
    return kinds


def _listed_otherwise(problem: Problem, rng: random.Random) -> Problem:
    """With its objects in another order, where there are two or more."""
    names = list(problem.objects)
    order = list(names)
    while order == names and len(names) > 1:
        rng.shuffle(order)
    return replace(problem, objects={name: problem.objects[name] for name in order})
