"""Run folders as they are found: whole, growing, torn, damaged, continued."""

from __future__ import annotations

import json
import os
import random
import time

import pytest

from grpo_project.errors import DataError
from grpo_project.reporting import page_data, read_run, read_runs, render_page
from grpo_project.reporting.alarms import alarms


def test_a_finished_run_is_read_whole(finished_run):
    run = read_run(finished_run.path)
    assert (run.state, run.step, run.max_steps, len(run.records)) == ("finished", 12, 12, 12)
    assert [(found.label, found.step) for found in run.evaluations] == [("before", 0), ("after", 12)]
    assert len(run.samples) == 12 * 5
    assert run.faults == ()


def test_a_growing_log_with_a_torn_last_line_loses_only_that_line(make_run):
    path = make_run(steps=5, max_steps=100).path
    with open(path / "metrics.jsonl", "a", encoding="utf-8") as log:
        log.write('{"step": 6, "loss": 0.')
    run = read_run(path)
    assert (run.state, run.step, run.faults) == ("in progress", 5, ())
    page_data([run])


def test_a_broken_line_in_the_middle_is_counted_and_named(make_run):
    path = make_run(steps=4, max_steps=100).path
    lines = (path / "metrics.jsonl").read_text().splitlines()
    (path / "metrics.jsonl").write_text("\n".join([lines[0], '{"step": 2, "lo', "[1]", *lines[2:]]) + "\n")
    run = read_run(path)
    assert [record["step"] for record in run.records] == [1, 3, 4]
    assert run.faults == ("metrics.jsonl: 2 lines could not be read and left out",)
    assert any("2 lines" in alarm.detail for alarm in alarms(run))


def test_the_last_line_of_a_step_counts(bare_run):
    run = read_run(bare_run([{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}, {"step": 2, "loss": 3.0}]))
    assert [record["loss"] for record in run.records] == [1.0, 3.0]


def test_nan_in_a_foreign_log_is_no_number(bare_run):
    run = read_run(bare_run([{"step": 1, "loss": float("nan"), "reward": float("inf")}, {"step": 2, "loss": 0.5}]))
    assert run.records[0]["loss"] is None
    assert "loss is not a number" in [alarm.title for alarm in alarms(run)]
    json.dumps(page_data([run]), allow_nan=False)


def test_an_old_log_without_an_end_is_a_stopped_run(bare_run):
    path = bare_run([{"step": 3, "loss": 1.0, "seconds_per_step": {"total": 2.0}}], max_steps=10)
    assert read_run(path).state == "in progress"
    hour_ago = time.time() - 3600
    os.utime(path / "metrics.jsonl", (hour_ago, hour_ago))
    run = read_run(path)
    assert run.state == "stopped"
    assert any(alarm.title == "The run stopped at step 3 of 10" for alarm in alarms(run))


def test_a_run_that_has_logged_nothing_is_a_page_all_the_same(bare_run):
    run = read_run(bare_run([]))
    assert run.state == "starting"
    assert page_data([run])["runs"][0]["points"]["step"] == []


def test_missing_settings_are_told(bare_run):
    path = bare_run([{"step": 1, "loss": 1.0}])
    (path / "resolved_config.json").unlink()
    assert read_run(path).faults == ("resolved_config.json is missing: the settings of this run are not known",)


def test_a_line_of_an_evaluation_before_the_first_step_is_no_training(bare_run):
    counts = {"ferry": {"easy": [1, 4], "hard": [0, 4]}}
    lines = [
        {"step": 0, "eval_step": 0, "eval_counts": counts, "eval_avg_test_pass_rate": 0.125, "curriculum/evaluation_count": 1},
        {"step": 1, "completions": 4, "loss": 0.1},
    ]
    run = read_run(bare_run(lines))
    assert [record["step"] for record in run.records] == [1]
    (outcome,) = page_data([run])["runs"][0]["outcomes"]
    assert outcome["by_domain"] == {"ferry": [1, 8]}
    assert outcome["by_bucket"] == {"easy": [1, 4], "hard": [0, 4]}


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_run(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds no run"):
        read_run(tmp_path)


def test_runs_of_one_name_are_told_apart_and_one_run_is_not_compared_with_itself(bare_run, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [bare_run([{"step": 1, "loss": 1.0}], f"{name}/run") for name in "ab"]
    assert [run.name for run in read_runs(paths)] == ["a/run", "b/run"]
    with pytest.raises(DataError, match="more than once"):
        read_runs([paths[0], paths[0]])


def test_a_damaged_evaluation_is_an_alarm_and_no_crash(make_run):
    path = make_run().path
    (path / "evaluation_after.json").write_text('{"problems": [{"domain": "ferry"}]}')
    run = read_run(path)
    assert [found.label for found in run.evaluations] == ["before"]
    assert "evaluation_after.json is no evaluation" in run.faults[0]


ODD = (None, "x", -1, True, [], [1], {"a": 1}, {"ferry": {"easy": [1, 2]}}, {"ferry": [9, 1]}, 10**30, "</script>", [[["deep"]]])


def damaged(value, rng):
    """A copy with one place, at any depth, put to something odd."""
    value = json.loads(json.dumps(value))
    place = value
    while True:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.6:
            place = place[key]
            continue
        place[key] = json.loads(json.dumps(rng.choice(ODD)))
        return value


@pytest.mark.parametrize("seed", range(20))
def test_a_log_by_another_hand_never_stops_the_page(finished_run, tmp_path, seed):
    rng = random.Random(seed)
    for name in ("metrics.jsonl", "completions.jsonl"):
        lines = (finished_run.path / name).read_bytes().split(b"\n")[:20]
        (tmp_path / name).write_text("".join(json.dumps(damaged(json.loads(line), rng)) + "\n" for line in lines if line))
    settings = json.loads((finished_run.path / "resolved_config.json").read_text())
    (tmp_path / "resolved_config.json").write_text(json.dumps(damaged(settings, rng)))
    assert len(render_page(page_data([read_run(tmp_path)]))) > 10_000


def test_a_figure_of_the_wrong_form_is_left_out_and_named_and_unknown_ones_are_let_pass(bare_run):
    lines = [{"step": 1, "loss": 0.1, "cells": {"ferry": [1, 2]}, "something_new": ["of", {"any": "form"}]}]
    run = read_run(bare_run(lines))
    assert "cells" not in run.records[0] and run.records[0]["loss"] == 0.1
    assert run.faults == ("metrics.jsonl: figures of an unknown form were left out: cells",)
