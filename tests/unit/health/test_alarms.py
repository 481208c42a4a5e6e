"""Alarms from figures: at the threshold and not before it, once, and the same from a log that is read again."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from grpo_project.configs.health import HealthConfig
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError
from grpo_project.health.alarms import _WATCHES, FAULTS, Alarm, HealthMonitor, faults, replay

SOUND = {
    "answers": 64,
    "prompt_in_answers": 0.0,
    "repeated_end_tokens": 0.0,
    "prompts_not_opened": 0.0,
    "most_end_tokens": 1,
    "zero_entropy_answers": 0.0,
    "grad_norm": 1.0,
}
LIMITS = HealthConfig()


def found(step: int = 1, **changed: Any) -> list[str]:
    return [alarm.name for alarm in faults({**SOUND, **changed}, step, LIMITS, first_steps=2)]


@pytest.mark.parametrize("name", ["prompt_in_answers", "repeated_end_tokens", "prompts_not_opened"])
def test_a_broken_boundary_is_a_fault_at_any_step_from_its_share_on(name: str) -> None:
    assert found() == found(**{name: LIMITS.broken_answers}) == []
    assert found(**{name: LIMITS.broken_answers + 0.01}) == found(1000, **{name: 1.0}) == [name]


def test_one_odd_answer_among_few_is_chance_and_two_are_not() -> None:
    assert found(answers=4, prompt_in_answers=1 / 4) == []
    assert found(answers=4, prompt_in_answers=2 / 4) == ["prompt_in_answers"]
    assert faults({}, 1, LIMITS, 2) == [], "what was not counted is not checked"


def test_entropy_is_checked_in_the_first_steps_alone() -> None:
    assert found(2, zero_entropy_answers=0.51) == ["zero_entropy"] and found(2, zero_entropy_answers=0.5) == []
    assert found(3, zero_entropy_answers=1.0) == []


@pytest.mark.parametrize("norm", [math.nan, math.inf, None])
def test_a_norm_that_is_no_number_is_a_fault(norm: float | None) -> None:
    assert found(grad_norm=norm) == ["grad_norm_not_a_number"]


LINE = {"completions": 64, "loss": 0.1, "grad_norm": 1.0, "entropy": 1.0, "kl": 0.1, "mixed_groups": 0.5}


def lines(count: int, **changed: Any) -> list[dict[str, Any]]:
    return [{"step": step, **LINE, **changed} for step in range(1, count + 1)]


@pytest.mark.parametrize(
    ("figure", "threshold", "name"),
    [
        ("completions_cut_off", "completions_cut_off", "completions_cut_off"),
        ("one_token_answers", "one_token_answers", "one_token_answers"),
        ("empty_plans", "empty_plans", "empty_plans"),
        ("identical_completions", "identical_completions", "identical_completions"),
        ("zero_entropy_answers", "zero_entropy_answers", "zero_entropy"),
        ("kl", "kl", "kl"),
    ],
)
def test_a_mean_above_its_threshold_warns_once(figure: str, threshold: str, name: str) -> None:
    limit = getattr(LIMITS, threshold)
    assert replay(lines(30, **{figure: limit * 0.99}), LIMITS) == []
    ((alarm, until),) = replay(lines(30, **{figure: limit * 1.01}), LIMITS)
    assert (alarm.name, alarm.level, alarm.step, until) == (name, "warning", 4, None)  # 4 lines hold 200 completions
    changed = HealthConfig.of([f"{threshold}={limit * 1.02}"])
    assert replay(lines(30, **{figure: limit * 1.01}), changed) == []


def test_few_groups_that_differ_and_few_plans_warn() -> None:
    ((alarm, _),) = replay(lines(10, mixed_groups=0.09), LIMITS)
    assert alarm.name == "zero_variance_groups"
    ((alarm, _),) = replay(lines(10, verdict_shares={"plan_format_error": 0.51}), LIMITS)
    assert alarm.name == "format_errors"


def test_a_line_counts_by_its_completions() -> None:
    """The first line of a run stands for one step, the others for ten."""
    records = [{**lines(1, empty_plans=1.0)[0], "completions": 100}, {**lines(2)[1], "completions": 1000, "empty_plans": 0.0}]
    assert [alarm.name for alarm, _ in replay(records[:1], HealthConfig.of(["enough_completions=100"]))] == ["empty_plans"]
    assert replay(records, LIMITS) == []


def test_entropy_that_falls_to_a_tenth_and_returns() -> None:
    records = lines(40)
    for record in records[20:25]:
        record["entropy"] = 0.01
    assert replay(records, LIMITS) == []  # half a window is not enough
    for record in records[15:30]:
        record["entropy"] = 0.05
    ((alarm, until),) = replay(records, LIMITS)
    assert (alarm.name, alarm.step, until) == ("entropy_collapse", 25, 31)


def test_a_spike_is_measured_against_the_norms_before_it() -> None:
    records = lines(20)
    records[15] |= {"grad_norm": 1.0, "grad_norm_max": 20.1}  # in a step that was not logged
    assert [(alarm.name, alarm.step, until) for alarm, until in replay(records, LIMITS)] == [("gradient_spike", 16, 17)]
    assert replay(records[11:], LIMITS) == []  # too few to know what is usual
    records[15]["grad_norm_max"] = 20.0
    assert replay(records, LIMITS) == []


def test_a_figure_that_is_no_number_is_an_error_from_memory_and_from_json_alike() -> None:
    for name in ("loss", "grad_norm", "reward", "kl"):
        for value in (math.nan, None):
            ((alarm, _),) = replay([lines(1)[0], {**lines(2)[1], name: value}], LIMITS)
            assert (alarm.name, alarm.level, alarm.step) == (f"{name}_not_a_number", "error", 2)


def test_a_monitor_that_read_the_log_again_goes_on_as_the_one_that_wrote_it() -> None:
    records = lines(60, entropy=1.0)
    for number, record in enumerate(records):
        record |= {"entropy": 2.0 / (1 + number), "grad_norm": 1.0 + number % 3, "empty_plans": 0.4 * (number // 20 % 2)}
    records[33]["grad_norm"] = 500.0
    whole = HealthMonitor(LIMITS)
    told = [whole.observe(record) for record in records]
    assert len({alarm.name for begun in told for alarm in begun}) == 3
    for stop in (1, 9, 22, 33, 34, 59):
        again = HealthMonitor(LIMITS)
        for record in json.loads(json.dumps(records[:stop])):
            again.observe(record)
        assert [again.observe(record) for record in records[stop:]] == told[stop:]
        assert again.active == whole.active


# -- thresholds -----------------------------------------------------------------------------------------------------------


def test_thresholds_are_changed_by_name_and_refused_where_they_make_no_sense() -> None:
    assert TrainingConfig(alarm_thresholds=("kl=0.5", "window=20")).health_config() == HealthConfig(kl=0.5, window=20)
    for change, message in (
        ("kull=1", "there is no threshold 'kull'; they are broken_answers, "),
        ("window=2.5", "window must be a whole number, got '2.5'"),
        ("kl=much", "kl must be a number, got 'much'"),
        ("kl=nan", "kl must be above 0, got nan"),
        ("empty_plans=1.5", r"empty_plans must lie in \[0, 1\], got 1.5"),
        ("end_tokens=0", "end_tokens must be at least 1, got 0"),
    ):
        with pytest.raises(ConfigError, match=f"--alarm_thresholds: {message}"):
            TrainingConfig(alarm_thresholds=(change,))


def test_the_page_lists_every_threshold_with_its_value_and_every_alarm(repository: Path) -> None:
    page = (repository / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    written = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", page, re.MULTILINE))
    assert {name: float(value) for name, value in written.items()} == {
        spec.name: float(spec.default) for spec in fields(HealthConfig) if isinstance(spec.default, (int, float))
    }
    source = (repository / "grpo_project" / "health" / "alarms.py").read_text(encoding="utf-8")
    named = {*re.findall(r'name="(\w+)"', source), *(watch.name or watch.figure for watch in _WATCHES), *FAULTS}
    assert len(named) >= 13 and {name for name in named if f"`{name}`" not in page} == set()
    assert Alarm("note", "a", "b").as_dict() == {"level": "note", "title": "a", "detail": "b", "step": None, "name": ""}
