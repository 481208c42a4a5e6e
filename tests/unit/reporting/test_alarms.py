"""An alarm sounds where it should, and nowhere else."""

from __future__ import annotations

import json

import pytest

from grpo_project.reporting import read_run
from grpo_project.reporting.alarms import alarms

HEALTHY = {
    "completions": 64,
    "loss": 0.1,
    "grad_norm": 1.0,
    "entropy": 1.0,
    "mixed_groups": 0.8,
    "completions_cut_off": 0.0,
    "verdict_shares": {"success_plans": 0.5, "goal_not_satisfied": 0.5},
    "prompts_per_batch": {"ferry": [2, 2], "spanner": [2, 2]},
}


def titles(path):
    return [alarm.title for alarm in alarms(read_run(path)) if alarm.level != "note"]


def lines(count=20, **changed):
    return [{"step": step, **HEALTHY, **changed} for step in range(1, count + 1)]


def test_a_healthy_run_raises_none(bare_run):
    assert titles(bare_run(lines(), max_steps=100)) == []


@pytest.mark.parametrize(
    ("changed", "title"),
    [
        ({"loss": None}, "loss is not a number"),
        ({"completions_cut_off": 0.5}, "Many completions are cut off"),
        ({"cut_off_while_thinking": 0.2}, "Cut off while thinking"),
        ({"verdict_shares": {"plan_format_error": 0.9}}, "Most completions are no plans"),
        ({"mixed_groups": 0.01}, "Almost nothing to learn from"),
        ({"prompts_per_batch": {"ferry": [2, 2], "spanner": [2, 3]}}, "A batch did not hold the domains in their quotas"),
        ({"prompts_per_batch": {"ferry": [2, 2], "spanner": [3, 3]}}, "A batch did not hold the domains in their quotas"),
    ],
)
def test_each_trouble_is_named(bare_run, changed, title):
    assert titles(bare_run(lines(**changed), max_steps=100)) == [title]


def test_weighted_domains_may_have_unequal_quotas_but_not_uneven_ones(bare_run):
    unequal = {"ferry": [4, 4], "spanner": [2, 2]}
    assert titles(bare_run(lines(prompts_per_batch=unequal), "a", domain_weights="ferry=2", max_steps=100)) == []
    uneven = {"ferry": [3, 4], "spanner": [2, 2]}
    assert len(titles(bare_run(lines(prompts_per_batch=uneven), "b", domain_weights="ferry=2", max_steps=100))) == 1


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_groups_drawn_anew_are_not_taken_for_broken_quotas(bare_run, share):
    changed = {"prompts_per_batch": {"ferry": [2, 4], "spanner": [2, 2]}, "resampled_groups": share}
    assert titles(bare_run(lines(**changed), max_steps=100)) == []


def test_entropy_that_vanishes_and_a_gradient_spike(bare_run):
    records = lines(30)
    for record in records[20:]:
        record["entropy"] = 0.01
    records[15]["grad_norm"] = 100.0
    assert titles(bare_run(records, max_steps=100)) == ["A gradient spike", "Entropy has collapsed"]


def test_a_collapsed_domain_is_an_error_once_and_its_return_a_note(bare_run):
    counts = {"ferry": {"easy": [1, 8]}}
    records = lines(4)
    for record, collapsed in zip(records, [[], ["ferry"], ["ferry"], []], strict=True):
        record |= {"eval_step": record["step"], "eval_counts": counts, "eval_collapsed": collapsed}
    found = alarms(read_run(bare_run(records, max_steps=100)))
    assert [(alarm.level, alarm.title, alarm.step) for alarm in found] == [
        ("error", "ferry has collapsed", 2),
        ("note", "ferry has come back", 4),
    ]


def test_disagreeing_validators_are_an_error(bare_run):
    path = bare_run(lines(), max_steps=100)
    (path / "disagreements" / "disagreement_abc").mkdir(parents=True)
    assert titles(path) == ["The validators disagree"]


def test_alarms_that_training_wrote_are_passed_on(bare_run):
    records = lines(2)
    records[0]["alarms"] = ["something odd", {"level": "error", "title": "Broken", "detail": "why"}]
    assert titles(bare_run(records, max_steps=100)) == ["Broken", "something odd"]


def test_an_alarm_that_training_raised_and_the_log_shows_is_told_once(bare_run):
    records = lines(20, completions_cut_off=0.5)
    warning = {
        "level": "warning",
        "name": "completions_cut_off",
        "title": "Many completions are cut off",
        "detail": "d",
        "step": 4,
    }
    fault = {"level": "error", "name": "zero_entropy", "title": "Entropy is zero", "detail": "stopped", "step": 2}
    records[1]["alarms"], records[3]["alarms"] = [fault], [warning]
    for record in records:
        record["zero_entropy_answers"] = 1.0  # what the log line shows too, as a warning
    found = alarms(read_run(bare_run(records, max_steps=100)))
    assert [(alarm.level, alarm.name, alarm.step) for alarm in found] == [
        ("error", "zero_entropy", 2),
        ("warning", "completions_cut_off", 4),
    ]


def test_a_warning_that_no_longer_stands_is_a_note(bare_run):
    records = lines(40)
    for record in records[:10]:
        record["completions_cut_off"] = 0.9
    (alarm,) = alarms(read_run(bare_run(records, max_steps=100)))
    assert (alarm.level, alarm.step) == ("note", 4) and alarm.detail.endswith("No longer so at step 18.")


def test_the_thresholds_of_the_run_are_those_of_its_report(bare_run):
    records = lines(completions_cut_off=0.5)
    assert titles(bare_run(records, "a", max_steps=100, alarm_thresholds=["completions_cut_off=0.6"])) == []
    assert len(titles(bare_run(records, "b", max_steps=100, alarm_thresholds=["of_another_version=0.6"]))) == 1


def test_a_curriculum_that_cannot_be_followed_is_noted(bare_run):
    changed = {"curriculum_weights": {"easy": 0.2, "hard": 0.8}, "bucket_shares": {"easy": 0.9, "hard": 0.1}}
    found = alarms(read_run(bare_run(lines(**changed), max_steps=100)))
    assert [alarm.level for alarm in found] == ["note", "note"]
    assert json.dumps([vars(alarm) for alarm in found])
