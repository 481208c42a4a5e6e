"""Equal problems, counted: two rows whose problems differ in names and order alone (canonical form) are one problem twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grpo_project.data.rows import Row


def problem_keys(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """(domain, canonical form) of the different problems among the rows."""
    return {(row.scenario, row.canonical) for row in rows}


def repeats_remark(rows: Sequence[Row], where: str) -> str | None:
    """One line on rows that repeat a problem; None where all are different. Raises PddlError or DataError as their PDDL does."""
    different = len(problem_keys(rows))
    if different == len(rows):
        return None
    return f"{len(rows)} rows of {where} hold {different} different problems: the others repeat one, up to names and order"
