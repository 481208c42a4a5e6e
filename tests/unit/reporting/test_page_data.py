"""The numbers on the page are those of the log: summed counts, intervals, nothing made up where nothing was recorded."""

from __future__ import annotations

import json

import pytest

from grpo_project.callbacks.collector import CompletionCollector
from grpo_project.common.statistics import wilson_interval
from grpo_project.pddl import validate_text
from grpo_project.reporting import page_data, read_run
from grpo_project.reporting.page_data import MOST_POINTS
from grpo_project.rewards import ScoredCompletion
from tests.report_runs import search, spoiled, write_drawn_evaluation


def test_counts_are_those_of_the_log(finished_run):
    run = read_run(finished_run.path)
    points = page_data([run])["runs"][0]["points"]
    logged = sum(record["successes"] for record in run.records)
    assert logged > 0
    assert sum(points["successes"]) == logged
    assert sum(sum(own["successes"]) for own in points["by_domain"].values()) == logged
    assert sum(value or 0 for own in points["by_bucket"].values() for value in own["successes"]) == logged
    cells = [cell for own in points["cells"].values() for cell in own.values()]
    assert sum(value or 0 for cell in cells for value in cell["successes"]) == logged
    assert sum(value for values in points["verdicts"].values() for value in values) == sum(points["completions"])


def test_every_batch_shows_its_quota(finished_run):
    points = page_data([read_run(finished_run.path)])["runs"][0]["points"]
    assert len(points["fewest_per_batch"]) == 5
    for columns in (points["fewest_per_batch"], points["most_per_batch"], points["prompts_by_domain"]):
        assert all(values == [1] * 12 for values in columns.values())


def test_a_long_log_is_pooled_without_losing_a_completion(bare_run):
    count = 2 * MOST_POINTS + 7
    lines = [
        {
            "step": step,
            "completions": 8,
            "successes": step % 3,
            "success_rate_by_domain": {"ferry": (step % 3) / 8},
            "completions_by_domain": {"ferry": 8},
            "reward_by_domain": {"ferry": 0.5},
            "loss": float(step),
        }
        for step in range(1, count + 1)
    ]
    run = page_data([read_run(bare_run(lines))])["runs"][0]
    assert len(run["points"]["step"]) <= MOST_POINTS
    assert run["points"]["step"][-1] == count
    assert run["pooled"] == 3
    assert sum(run["points"]["by_domain"]["ferry"]["successes"]) == sum(line["successes"] for line in lines)
    assert run["points"]["loss"][0] == 2.0  # the mean of 1, 2, 3


def test_a_run_from_before_cells_were_recorded_falls_back_to_completions(bare_run):
    line = {"step": 1, "completions": 16, "completions_by_domain": {"ferry": 16}, "success_rate_by_domain": {"ferry": 0.5}}
    points = page_data([read_run(bare_run([line]))])["runs"][0]["points"]
    assert points["prompts_by_domain"] == {"ferry": [16]}
    assert points["cells"] == {} and points["fewest_per_batch"] == {}


def test_evaluations_carry_counts_and_wilson_intervals(finished_run):
    found = page_data([read_run(finished_run.path)])["runs"][0]["evaluations"]
    assert [evaluation["label"] for evaluation in found] == ["before", "after"]
    for evaluation in found:
        for row in evaluation["rows"]:
            assert (row["low"], row["high"]) == wilson_interval(row["successes"], row["count"])
    assert found[1]["all"]["successes"] == found[1]["all"]["count"] == 15


def test_evaluations_with_drawn_answers_carry_pass_at_k(make_run):
    run = make_run(feedback_every=6)
    write_drawn_evaluation(run, "drawn", whole=5, num_samples=6)
    data = page_data([read_run(run.path)])["runs"][0]
    (drawn,) = [one for one in data["evaluations"] if one["label"] == "drawn"]
    assert [one["pass_at_k"] for one in data["evaluations"] if one is not drawn] == [{}, {}]
    assert set(drawn["pass_at_k"]) == set(data["domains"])
    stored = json.loads((run.path / "evaluations" / "drawn.json").read_text())
    for domain, points in drawn["pass_at_k"].items():
        assert [k for k, *_ in points] == [1, 2, 4, 6]
        values = [value for _, value, *_ in points]
        assert values == sorted(values) and 0 < values[0] < values[-1] <= 1
        assert values[-1] == pytest.approx(stored["domains"][domain]["pass@6"]["value"])
        assert all(low <= value <= high for _, value, low, high in points)
    assert [one["step"] for one in data["outcomes"]] == [6, 12]


def test_what_a_curriculum_that_learns_logs_is_taken_over(bare_run):
    lines = [
        {
            "step": step,
            "loss": 0.1,
            "curriculum/latest_performance": 0.25,
            "curriculum/evaluation_count": step,
            "curriculum/stage": "foundation" if step < 3 else "advanced",
            "curriculum/expected_reward_std": {"ferry": {"easy": 0.1, "medium": 0.2, "hard": 0.3}},
        }
        for step in (1, 2, 3)
    ]
    points = page_data([read_run(bare_run(lines))])["runs"][0]["points"]
    assert points["curriculum"] == {"evaluation_count": [1, 2, 3], "latest_performance": [0.25] * 3}
    assert points["stages"] == [[1, "foundation"], [3, "advanced"]]
    assert points["expected_reward_std"]["ferry"]["hard"] == [0.3] * 3


def test_the_collector_counts_prompts_by_batch_and_cell(finished_run):
    table = finished_run.table
    row = table.indices_of("ferry")[0]
    other = table.indices_of("spanner")[0]

    def completion(index):
        text = spoiled(search(table, index), 0)
        return ScoredCompletion(index, text, validate_text(table.task(index), text), 1.0, {"valid": 1.0})

    collector = CompletionCollector({row: "ferry", other: "spanner"}, {row: "easy", other: "hard"}, 2)
    collector.completions_scored(1, [completion(row)] * 4 + [completion(other)] * 2)
    collector.completions_scored(2, [completion(row)] * 2)
    record = {"step": 2}
    collector.record_due(record)
    assert record["prompts_per_batch"] == {"ferry": [1, 2], "spanner": [0, 1]}
    assert record["cells"] == {"ferry": {"easy": [3, 6, 6]}, "spanner": {"hard": [1, 2, 2]}}
    again = {"step": 3}
    collector.record_due(again)
    assert again == {"step": 3}
