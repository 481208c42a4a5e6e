"""Every PDDL text that the repository holds: it parses, and rendering it changes nothing but its looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_project.data.rows import Row, read_rows
from grpo_project.pddl import parse_domain, parse_problem, render_domain, render_problem

ROOT = Path(__file__).resolve().parents[2]
DATA_ROOTS = sorted({path.parent for path in (ROOT / "data").glob("*/*.jsonl")})
DOMAIN_FILES = sorted((ROOT / "data").glob("*/domains/*.pddl")) + sorted((ROOT / "tests" / "golden").glob("*/domain.pddl"))


def assert_stable(row: Row) -> None:
    rendered = render_problem(row.problem, row.domain)
    again = parse_problem(rendered, row.domain)
    assert again == row.problem, row.source
    assert render_problem(again, row.domain) == rendered, row.source


def test_there_are_some():
    assert {root.name for root in DATA_ROOTS} >= {"four_domain", "test", "test_harder"}
    assert len(DOMAIN_FILES) >= 15


@pytest.mark.parametrize("path", DOMAIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_domain_file_survives_render_and_parse(path):
    domain = parse_domain(path.read_text(encoding="utf-8"), str(path))
    rendered = render_domain(domain)
    assert parse_domain(rendered) == domain
    assert render_domain(parse_domain(rendered)) == rendered


def test_the_golden_problems_survive_render_and_parse():
    problems = sorted((ROOT / "tests" / "golden").glob("*/problem.pddl"))
    assert problems
    for path in problems:
        domain = parse_domain((path.parent / "domain.pddl").read_text(encoding="utf-8"))
        problem = parse_problem(path.read_text(encoding="utf-8"), domain, str(path))
        assert parse_problem(render_problem(problem, domain), domain) == problem


@pytest.mark.parametrize("root", DATA_ROOTS, ids=lambda root: root.name)
def test_a_sample_of_the_shipped_rows_survives_render_and_parse(root):
    rows = read_rows(root, on_bad_row="error", validate_pddl=False)
    assert len(rows) >= 200
    for row in rows.rows[::40]:
        assert_stable(row)


@pytest.mark.slow
@pytest.mark.parametrize("root", DATA_ROOTS, ids=lambda root: root.name)
def test_every_shipped_row_survives_render_and_parse(root):
    rows = read_rows(root, on_bad_row="error")
    for row in rows.rows:
        assert_stable(row)
