"""Evaluation files to a table: order, counts, intervals, and a mark where the problems were others."""

from __future__ import annotations

import json

import pytest

from grpo_project.errors import ConfigError, DataError
from grpo_project.evaluation import EvaluationResult, ProblemResult
from grpo_project.reporting import leaderboard, read_entries


def result(name, solved, asked=4, domains=("ferry", "spanner"), prefix="p"):
    problems = [
        ProblemResult(
            domain, f"{prefix}{i}", "easy", False, "success_plans" if i < solved else "goal_not_satisfied", 3.0, None, ""
        )
        for domain in domains
        for i in range(asked)
    ]
    return EvaluationResult(tuple(problems), 1.0, name)


def rows(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")]


def test_the_best_comes_first_with_counts_and_intervals():
    table = leaderboard([("weak", result("weak", 1)), ("strong", result("strong", 4))])
    head, first, second = rows(table)
    assert head == ["place", "model", "average", "solved", "ferry", "spanner"]
    assert first[:4] == ["1", "strong", "100.0%", "8/8"]
    assert second[:4] == ["2", "weak", "25.0%", "2/8"]
    assert second[4] == "25.0% 1/4 [4.6, 69.9]"
    assert "\\*" not in table


def test_other_problems_are_marked():
    table = leaderboard([("a", result("a", 1)), ("b", result("b", 2, prefix="q"))])
    assert rows(table)[1][1] == "b *"
    assert "judged on other problems" in table


def test_a_domain_that_was_not_asked_is_a_dash():
    table = leaderboard([("a", result("a", 1)), ("b", result("b", 2, domains=("ferry",)))])
    assert rows(table)[1][-1] == "-"


def test_a_hostile_name_breaks_no_row():
    table = leaderboard([("a|b\n| c <script>", result("", 1))])
    assert table.count("\n") == leaderboard([("a", result("", 1))]).count("\n")
    assert "&lt;script&gt;" in table and "a\\|b" in table


def test_files_of_one_name_are_told_apart(tmp_path):
    for file in ("x.json", "y.json"):
        (tmp_path / file).write_text(json.dumps(result("same", 1).to_json()))
    names = [name for name, _ in read_entries([tmp_path / "x.json", tmp_path / "y.json"])]
    assert names == [f"same ({tmp_path / 'x.json'})", f"same ({tmp_path / 'y.json'})"]


def test_what_is_no_evaluation_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(DataError, match=r"x\.json is no evaluation"):
        read_entries([tmp_path / "x.json"])
    with pytest.raises(DataError, match="cannot be read"):
        read_entries([tmp_path / "none.json"])
    with pytest.raises(ConfigError, match="needs evaluation files"):
        leaderboard([])
