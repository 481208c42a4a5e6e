"""Rows made of PDDL files: a domain and problems of it, as a planner's user has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from grpo_project.common.files import read_text
from grpo_project.data.origin import Origin
from grpo_project.data.rows import Row, RowTable
from grpo_project.domains import all_domains
from grpo_project.pddl import Domain, parse_domain
from grpo_project.prompting import render_prompt


def table_of_files(domain_file: str, problem_files: Sequence[str]) -> RowTable:
    """One row a problem file, in their order, each with the full prompt.

    Raises DataError for a file that cannot be read, PddlError for one that is no PDDL.
    """
    scenario = scenario_of(parse_domain(read_text(domain_file), domain_file))
    rows, origin = [], Origin(Path())
    for name in problem_files:
        read_text(name)  # says in one line why it cannot be read
        meta = {"scenario": scenario, "problem_file": name, "domain_file": domain_file}
        row = Row("", scenario, name, None, None, meta, name, origin)
        rows.append(replace(row, prompt=render_prompt(scenario, row.domain_text, row.problem, "full")))
    return RowTable(origin, [scenario], rows, [], "")


def scenario_of(domain: Domain) -> str:
    """The name under which the registry has a domain with these actions and predicates, else the domain's own."""

    def words(one: Domain) -> tuple[set[str], set[str]]:
        return set(one.actions), set(one.predicates)

    return next((name for name, known in all_domains().items() if words(known.domain) == words(domain)), domain.name)
