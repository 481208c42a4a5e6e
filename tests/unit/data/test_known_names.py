"""Names that a small planner was not taught are exchanged for ones that it was, and come back in its plans."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from grpo_project.data.asked_words import Words, in_asked_words, table_in_asked_words
from grpo_project.data.known_names import known_names
from grpo_project.data.probes import probed_row, probed_table
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.domains import get_domain
from grpo_project.pddl import render_problem, validate_text

DATA = Path(__file__).resolve().parents[3] / "data"


@pytest.fixture(scope="module")
def table() -> RowTable:
    return read_rows(DATA / "four_domain")


def kind(name: str) -> str:
    """The family of a name; left and right grippers are one."""
    return re.sub(r"\d+", "#", name).removeprefix("l").removeprefix("r") if "gripper" in name else re.sub(r"\d+", "#", name)


@pytest.mark.parametrize("probe", ["unseen_names", "names"])
def test_every_name_is_one_of_the_vocabulary_and_plans_come_back(table: RowTable, probe: str) -> None:
    rows = [table.rows[index] for name in table.domains for index in table.indices_of(name)[:20]]
    strange = probed_table(RowTable(table.origin, table.domains, rows, (), "rows"), probe, seed=1)
    asked = table_in_asked_words(strange, "compact")
    for index, (before, after) in enumerate(zip(strange.rows, asked.rows, strict=True)):
        names = known_names(before)
        assert set(after.problem.objects) <= set(get_domain(after.scenario).object_names), before.source
        assert bool(names) == (probe == "unseen_names") and before.canonical == after.canonical
        kinds = before.problem.objects
        assert [kinds[name] for name in kinds] == [after.problem.objects[names.get(name, name)] for name in kinds]
        # A car is called as cars are, and the place where spanner's man begins as that place always is.
        if probe == "unseen_names":
            usual = [kind(name) for name in rows[index].problem.objects]
            assert [kind(names[name]) for name in kinds] == usual, before.source
        # Its reference plan in the planner's words solves the exchanged problem, and with its own words back the problem itself.
        assert before.response is not None
        words = in_asked_words(before, "compact")[1]
        spoken = words.asked(before.response)
        assert spoken == after.response and words.objects == names
        assert validate_text(asked.task(index), spoken).success
        assert validate_text(strange.task(index), words.own(spoken.upper())).success


def test_nothing_is_exchanged_where_it_would_not_help(table: RowTable) -> None:
    row = probed_row(table.rows[table.indices_of("ferry")[0]], "unseen_names", seed=1)
    assert in_asked_words(row, "full") == in_asked_words(row, "compact_by_name") == (row, Words())
    assert in_asked_words(row, "compact")[1] and in_asked_words(table.rows[0], "compact") == (table.rows[0], Words())
    many = replace(row.problem, objects=row.problem.objects | {f"car{n}": "object" for n in range(80)})
    crowded = replace(row, meta={**row.meta, "problem_pddl": render_problem(many, row.domain)})
    assert known_names(crowded) == {}


def test_a_domain_without_a_vocabulary_keeps_its_names() -> None:
    """As a user's own file may leave it out: elevator has none."""
    assert not get_domain("elevator").object_names
    row = read_rows(DATA / "test_held_out_domain").rows[0]
    assert known_names(row) == {} and in_asked_words(row, "compact") == (row, Words())


def test_marks_around_reasoning_are_no_words_to_exchange() -> None:
    words = Words(objects={"think": "c1", "dock": "l3"})
    answer = "<think> c1 l3 ; </think>\n(board c1 l3)\n"
    assert words.own(answer) == "<think> think dock ; </think>\n(board think dock)\n"
    assert words.asked(words.own(answer)) == answer
