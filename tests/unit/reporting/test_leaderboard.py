"""Evaluation files to a table: order, counts, intervals, and a mark where the problems were others."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from grpo_project.errors import ConfigError, DataError
from grpo_project.evaluation import EvaluationResult, ProblemResult
from grpo_project.evaluation.results import SampleResult
from grpo_project.reporting import Entry, leaderboard, read_entries


def result(name, solved, asked=4, domains=("ferry", "spanner"), prefix="p"):
    problems = [
        ProblemResult(
            domain, f"{prefix}{i}", "easy", False, "success_plans" if i < solved else "goal_not_satisfied", 3.0, None, ""
        )
        for domain in domains
        for i in range(asked)
    ]
    return EvaluationResult(tuple(problems), 1.0, name)


def table_of(*named):
    return leaderboard([Entry.of(name, found) for name, found in named])


def rows(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")]


def test_the_best_comes_first_with_counts_and_intervals():
    table = table_of(("weak", result("weak", 1)), ("strong", result("strong", 4)))
    head, first, second = rows(table)
    assert head == ["place", "model", "average", "solved", "ferry", "spanner"]
    assert first[:4] == ["1", "strong", "100.0%", "8/8"]
    assert second[:4] == ["2", "weak", "25.0%", "2/8"]
    assert second[4] == "25.0% 1/4 [4.6, 69.9]"
    assert "\\*" not in table


def test_other_problems_are_marked():
    table = table_of(("a", result("a", 1)), ("b", result("b", 2, prefix="q")))
    assert rows(table)[1][1] == "b *"
    assert "evaluated on other problems" in table


def test_a_domain_that_was_not_asked_is_a_dash():
    table = table_of(("a", result("a", 1)), ("b", result("b", 2, domains=("ferry",))))
    assert rows(table)[1][-1] == "-"


def test_a_hostile_name_breaks_no_row():
    table = table_of(("a|b\n| c <script>", result("", 1)))
    assert table.count("\n") == table_of(("a", result("", 1))).count("\n")
    assert "&lt;script&gt;" in table and "a\\|b" in table


def test_files_of_one_name_are_told_apart(tmp_path):
    for file in ("x.json", "y.json"):
        (tmp_path / file).write_text(json.dumps(result("same", 1).to_json()))
    names = [entry.name for entry in read_entries([tmp_path / "x.json", tmp_path / "y.json"])]
    assert names == [f"same ({tmp_path / 'x.json'})", f"same ({tmp_path / 'y.json'})"]


def test_what_is_no_evaluation_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(DataError, match=r"x\.json is no evaluation"):
        read_entries([tmp_path / "x.json"])
    with pytest.raises(DataError, match="cannot be read"):
        read_entries([tmp_path / "none.json"])
    with pytest.raises(ConfigError, match="needs evaluations"):
        leaderboard([])


def test_drawn_answers_show_as_pass_at_k_with_intervals():
    def drawn(solved):
        return tuple(SampleResult("success_plans" if i < solved else "goal_not_satisfied", 3.0, "") for i in range(4))

    greedy = result("greedy", 2)
    problems = tuple(replace(problem, samples=drawn(i % 2)) for i, problem in enumerate(greedy.problems))
    table = table_of(("greedy", greedy), ("sampled", EvaluationResult(problems, 1.0, "sampled")))
    head, first, second = rows(table)
    assert head[4:6] == ["pass@1", "pass@4"]
    assert (first[1], first[4:6]) == ("greedy", ["-", "-"])
    # Every second problem is solved by one of its four samples: 1/8 and 1/2 of the problems.
    assert [cell.split()[0] for cell in second[4:6]] == ["12.5%", "50.0%"]
    low, high = (float(word.strip("[],")) for word in second[5].split()[1:])
    assert 0 < low < 50 < high < 100
    assert "bootstrap" in table


def test_a_run_brings_its_evaluations_and_those_made_while_it_trained(make_run):
    run = make_run(feedback_every=4)  # twelve steps
    found = read_entries([run.path])
    assert [entry.name for entry in found[:2]] == ["run, before", "run, after"]
    assert [entry.name for entry in found[2:]] == [f"run, step {step} in training" for step in (4, 8, 12)]
    recorded = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for entry, record in zip(found[2:], [one for one in recorded if "eval_counts" in one], strict=True):
        assert entry.average() == pytest.approx(record["eval_avg_test_pass_rate"])
    marked = {row[1].removesuffix(" *"): row[1].endswith(" *") for row in rows(leaderboard(found))}
    assert [marked[entry.name] for entry in found] == [False, False, True, True, True]
