"""Probes change names or order and nothing else: the same problem up to renaming, solved by the renamed plan."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from shipped_domains import TRAINED

from grpo_project.data.asked_words import in_asked_words
from grpo_project.data.probes import PROBES, probed_row, probed_table
from grpo_project.data.rows import Row, RowTable, read_rows
from grpo_project.domains import get_domain
from grpo_project.pddl import compile_task, extract_plan, validate
from grpo_project.pddl.canonical import canonical_form


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> RowTable:
    return read_rows(request.config.rootpath / "data" / "test")


def some_rows(table: RowTable) -> list[Row]:
    assert set(table.domains) == set(TRAINED)
    return [table.rows[index] for domain in table.domains for index in table.indices_of(domain)[:8]]


@pytest.mark.parametrize("probe", PROBES)
def test_the_problem_is_the_same_up_to_renaming_and_so_is_its_plan(table: RowTable, probe: str) -> None:
    for row in some_rows(table):
        probed = probed_row(row, probe, 3)
        assert canonical_form(probed.domain, probed.problem) == canonical_form(row.domain, row.problem)
        assert (probed.problem_file, probed.scenario, probed.source) == (row.problem_file, row.scenario, row.source)
        steps = extract_plan(probed.response or "").steps
        assert steps and validate(compile_task(probed.domain, probed.problem), steps).success
        assert all(name in probed.prompt for name in probed.problem.objects)
        assert probed_row(row, probe, 3) == probed


def test_order_changes_the_list_alone(table: RowTable) -> None:
    for row in some_rows(table):
        probed = probed_row(row, "order", 3)
        assert list(probed.problem.objects) != list(row.problem.objects)
        assert probed.problem == row.problem  # a mapping's order is no part of its equality
        assert probed.response == row.response


def test_names_come_from_the_vocabulary_and_keep_their_kind_and_place(table: RowTable) -> None:
    changed = 0
    for row in some_rows(table):
        before, after = list(row.problem.objects), list(probed_row(row, "names", 3).problem.objects)
        assert set(after) <= set(get_domain(row.scenario).object_names)
        assert [name.rstrip("0123456789_") for name in before] == [name.rstrip("0123456789_") for name in after]
        changed += before != after
    assert changed > 30


def test_unseen_names_are_in_no_vocabulary(table: RowTable) -> None:
    known = {name for domain in TRAINED for name in get_domain(domain).object_names}
    for row in some_rows(table):
        assert not known & set(probed_row(row, "unseen_names", 3).problem.objects)


def test_the_seed_decides(table: RowTable) -> None:
    row = table.rows[0]
    assert probed_row(row, "names", 3).problem != probed_row(row, "names", 4).problem
    assert probed_table(table, "names", 3).fingerprint != probed_table(table, "names", 4).fingerprint != table.fingerprint


def test_more_objects_than_names_swap_theirs(table: RowTable) -> None:
    row = next(row for row in table.rows if row.scenario == "blocksworld")
    many = [f"b{number}" for number in range(1, 25)]
    facts = " ".join(f"(on-table {name}) (clear {name})" for name in many)
    text = (
        f"(define (problem p) (:domain blocksworld) (:objects {' '.join(many)}) (:init (arm-empty) {facts}) (:goal (on b1 b2)))"
    )
    large = replace(row, meta={"scenario": "blocksworld", "problem_pddl": text}, response=None)
    probed = probed_row(large, "names", 3)
    assert sorted(probed.problem.objects) == sorted(many) and list(probed.problem.objects) != many
    assert probed.response is None


def test_names_reach_the_ones_of_the_shipped_data(table: RowTable, repository: Path) -> None:
    """The vocabulary is whole: whatever the generators write is in it."""
    for root in ("data/test", "data/test_harder", "data/four_domain"):
        for row in read_rows(repository / root).rows[::7]:
            assert set(row.problem.objects) <= set(get_domain(row.scenario).object_names), row.source


@pytest.mark.parametrize("probe", PROBES)
def test_rows_in_symbols_are_probed_in_symbols(table: RowTable, probe: str) -> None:
    """A planner that reads domains is not asked about words that it cannot know."""
    row = in_asked_words(table.rows[0], "schemas")[0]
    told = replace(row, meta={**row.meta, "prompt_style": "schemas"})
    asked = in_asked_words(probed_row(told, probe, seed=1), "schemas")[0]
    assert all(re.fullmatch(r"obj\d+", name) for name in asked.problem.objects)
