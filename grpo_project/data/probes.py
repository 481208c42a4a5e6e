"""The same problems changed in one way that a planner must not notice: does it plan, or has it learned names by heart?

    order          the objects of the problem are listed in another order
    names          every object has another name of its kind, from the domain's vocabulary
    unseen_names   every object has an invented name, which no example of ours holds

What a model solves as it stands and not when probed, it did not solve by planning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from grpo_project.common.random_streams import stream
from grpo_project.data.object_names import NAMINGS, list_otherwise
from grpo_project.data.rows import Row, RowTable
from grpo_project.domains import all_domains
from grpo_project.pddl import extract_plan, render_problem
from grpo_project.pddl.renaming import Renaming
from grpo_project.prompting import FULL, render_plan, render_prompt

# Probe to the naming of its objects.
PROBES: Mapping[str, str] = MappingProxyType({"order": "conventional", "names": "drawn", "unseen_names": "invented"})


def probed_row(row: Row, probe: str, seed: int) -> Row:
    """The row's problem, changed as `probe` says and asked in full PDDL; a pure function of the arguments.

    It keeps file name, scenario and canonical form, so that results can be paired. A reference plan is renamed with it; one that
    cannot be read is left out. Raises KeyError for a probe that there is not.
    """
    rng = stream(seed, "probe", probe, row.scenario, row.problem_file)
    known = all_domains().get(row.scenario)
    drawn = NAMINGS[PROBES[probe]](row.domain, known.object_names if known is not None else (), row.problem, rng)
    names = Renaming(row.problem.domain_name, objects=drawn)
    problem = names.problem(row.problem, row.problem.name)
    if probe == "order":
        problem = list_otherwise(problem, rng)
    steps = extract_plan(row.response).steps if row.response else None
    return replace(
        row,
        prompt=render_prompt(row.scenario, row.domain_text, problem, FULL),
        response=render_plan(names.steps(steps)) if steps else None,
        meta={**row.meta, "problem_pddl": render_problem(problem, row.domain), "prompt_style": FULL},
    )


def probed_table(table: RowTable, probe: str, seed: int) -> RowTable:
    """Every row of a table, probed, at the same index."""
    rows = [probed_row(row, probe, seed) for row in table.rows]
    return RowTable(table.origin, table.domains, rows, table.bad_rows, f"{table.fingerprint}/{probe}/{seed}")
