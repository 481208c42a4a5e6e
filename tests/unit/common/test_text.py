"""Numbers as people read them, on cases written by hand."""

from __future__ import annotations

import pytest

from grpo_project.common.text import counted, duration, figure, percent, points, rate_text, text_table


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.123456, "0.123"), (-12.34, "\u221212.3"), (1234.5, "1234"), (45_100, "45 k"), (1_240_000, "1.2 M"),
     (3.4e-5, "3.4e\u221205"), (12, "12"), (100, "100"), (None, "\u2013")],
)  # fmt: skip
def test_a_figure_keeps_three_digits(value: float | None, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (9.97, "10 s"), (42.4, "42 s"), (59.6, "1 min 00 s"), (187, "3 min 07 s"), (7500, "2 h 05 min"),
     (259_200, "3 days"), (None, "\u2013")],
)  # fmt: skip
def test_a_duration_names_its_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_rates_and_changes_are_told_in_percent_and_points() -> None:
    assert percent(0.5714) == "57.1%" and percent(None) == "\u2013" and percent(0.5, 0) == "50%"
    assert rate_text(1, 4) == "25.0% [4.6, 69.9]" and rate_text(1, 4, counts=True) == "25.0% 1/4 [4.6, 69.9]"
    assert rate_text(0, 0) == "-"
    assert [points(change) for change in (0.123, -0.05, 0.0)] == ["+12.3", "\u22125.0", "\u00b10.0"]
    assert [counted(number, "error") for number in (0, 1, 2)] == ["0 errors", "1 error", "2 errors"]


def test_a_table_is_markdown_whose_columns_stand_below_each_other() -> None:
    table = text_table(["domain", "kind", "solved"], [["ferry", "none", "1/4"], ["blocksworld", "x", "40/70"]], ["kind"])
    assert table.splitlines() == [
        "| domain      | kind | solved |",
        "|-------------|------|-------:|",
        "| ferry       | none |    1/4 |",
        "| blocksworld | x    |  40/70 |",
    ]
