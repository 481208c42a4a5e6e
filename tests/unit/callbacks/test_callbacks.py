"""Counts, timings, console lines, metrics.jsonl, and a tracker that may fail."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grpo_project.callbacks.collector import CompletionCollector
from grpo_project.callbacks.curriculum_feedback import CurriculumLines
from grpo_project.callbacks.progress import ProgressLine, format_duration, progress_text
from grpo_project.callbacks.timing import StepTimer
from grpo_project.tracking.metrics_file import MetricsFile
from grpo_project.tracking.wandb_sync import flatten

CONTROL: Any = SimpleNamespace(should_training_stop=False, should_save=False, should_log=False)


def _scored(
    row: int, reward: float, verdict: str = "goal_not_satisfied", text: str = "(wait)", steps: int = 1, turn: int = 0
) -> Any:
    success = 1.0 if reward == 1.0 else 0.0
    return SimpleNamespace(
        row_index=row,
        text=text,
        total=reward,
        success=bool(success),
        rewards={"dense": reward},
        turn=turn,
        verdict=SimpleNamespace(verdict_class="success_plans" if success else verdict, steps_total=steps),
    )


def _flush(collector: CompletionCollector) -> dict[str, Any]:
    record: dict[str, Any] = {}
    collector.record_due(record)
    return record


def test_repeated_and_empty_plans_are_counted_and_outlive_a_stop() -> None:
    first, second = (CompletionCollector({0: "ferry", 1: "spanner"}, {0: "easy", 1: "hard"}, 4) for _ in range(2))
    texts = ("(a)", "(a)", "(a)", "(b)")
    first.completions_scored(1, [_scored(0, -0.5, text=text) for text in texts])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    empty = [_scored(1, -1.0, text=text, steps=0) for text in ("", " ", "\n", "; no")]
    no_plan = [_scored(1, -1.0, "plan_format_error", text, 0) for text in "abcd"]
    for collector in (first, second):
        collector.completions_scored(1, [*empty, *no_plan])
        figures = _flush(collector)
        assert figures["identical_completions"] == 2 / 9  # of three groups each has one that cannot repeat another
        assert figures["empty_plans"] == 4 / 12


def test_success_after_each_repair_is_counted_and_outlives_a_stop() -> None:
    first, second = (CompletionCollector({0: "ferry"}, {0: "easy"}, 4) for _ in range(2))
    first.completions_scored(1, [_scored(0, 1.0), _scored(0, 1.0, turn=1), _scored(0, 0.0, turn=2), _scored(0, 0.9, turn=2)])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for collector in (first, second):
        found = collector.figures()
        assert found["success_rate_by_turn"] == {"0": 0.25, "1": 0.5, "2": 0.5}
        assert found["repaired_completions"] == 0.75
    first.record_due({})
    first.completions_scored(2, [_scored(0, 1.0)] * 4)
    assert "success_rate_by_turn" not in first.figures()


def test_several_rewards_are_named_with_their_means_and_outlive_a_stop() -> None:
    first, second = (CompletionCollector({0: "ferry"}, {0: "easy"}, 2) for _ in range(2))
    items = [_scored(0, reward) for reward in (1.0, -0.5)]
    for item, brief in zip(items, (0.25, 0.5), strict=True):
        item.rewards["brief"] = brief
    first.completions_scored(1, items)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for collector in (first, second):
        assert _flush(collector)["reward_by_name"] == {"dense": 0.25, "brief": 0.375}
        collector.completions_scored(2, [_scored(0, 1.0)] * 2)
        assert "reward_by_name" not in _flush(collector)  # the only one is `reward`


def test_success_is_counted_by_domain_and_by_difficulty() -> None:
    collector = CompletionCollector({0: "ferry", 1: "spanner"}, {0: "easy", 1: "hard"}, 2)
    collector.completions_scored(1, [_scored(0, 1.0), _scored(0, -1.0), _scored(1, -0.5), _scored(1, -0.5)])
    collector.completions_scored(1, [_scored(0, 1.0), _scored(0, 1.0)])
    record = _flush(collector)
    assert record["completions"] == 6
    assert record["successes"] == 3
    assert record["success_rate_by_domain"] == {"ferry": 0.75, "spanner": 0.0}
    assert record["success_rate_by_difficulty"] == {"easy": 0.75, "hard": 0.0}
    assert record["completions_by_domain"] == {"ferry": 4, "spanner": 2}
    assert record["reward_by_domain"] == {"ferry": 0.5, "spanner": -0.5}
    assert record["bucket_shares"] == {"easy": 2 / 3, "medium": 0.0, "hard": 1 / 3}
    assert record["mixed_groups"] == pytest.approx(1 / 3)
    assert record["zero_variance_groups"] == pytest.approx(2 / 3)
    assert record["zero_variance_by_domain"] == {"ferry": 0.5, "spanner": 1.0}
    assert record["zero_variance_by_difficulty"] == {"easy": 0.5, "hard": 1.0}
    assert record["domain_shares"] == {"ferry": pytest.approx(2 / 3), "spanner": pytest.approx(1 / 3)}
    assert record["reward_by_difficulty"] == {"easy": 0.5, "hard": -0.5}
    assert record["verdict_shares"] == {"goal_not_satisfied": 0.5, "success_plans": 0.5}
    assert _flush(collector) == {}


def test_counts_between_two_log_lines_survive_a_checkpoint() -> None:
    rows = ({0: "ferry", 1: "spanner"}, {0: "easy", 1: "hard"})
    whole, first, second = (CompletionCollector(*rows, 2) for _ in range(3))
    early, late = [_scored(0, 1.0), _scored(0, -1.0)], [_scored(1, -0.5), _scored(1, -0.5)]
    for part in (early, late):
        whole.completions_scored(1, part)
    first.completions_scored(1, early)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.completions_scored(1, late)
    assert second.figures() == whole.figures() and whole.figures()["completions"] == 4


def test_completions_that_form_no_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="3 completions do not form groups of 2"):
        CompletionCollector({0: "ferry"}, {0: "easy"}, 2).completions_scored(1, [_scored(0, 1.0)] * 3)


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_inner_sections_time_is_not_counted_twice() -> None:
    clock = _Clock()
    timer = StepTimer(clock)
    timer.training_begins(0, CONTROL, None, None)
    for _ in range(2):
        with timer.section("generation"):
            clock.now += 3
            with timer.section("reward"):
                clock.now += 1
        clock.now += 2
        timer.step_ended(1, CONTROL)
    assert timer.flush() == {"generation": 3, "reward": 1, "total": 6, "other": 2}
    assert timer.flush() == {}


def test_a_section_that_fails_is_still_closed() -> None:
    clock = _Clock()
    timer = StepTimer(clock)
    timer.training_begins(0, CONTROL, None, None)
    with pytest.raises(RuntimeError), timer.section("reward"):
        clock.now += 1
        raise RuntimeError
    with timer.section("backward"):
        clock.now += 1
    timer.step_ended(1, CONTROL)
    assert timer.flush() == {"reward": 1, "backward": 1, "total": 2, "other": 0}


def test_the_curriculum_line_is_the_guides_and_comes_at_every_change() -> None:
    def weights(step: int) -> dict[str, float]:
        if step < 300:
            return {"easy": 0.7, "medium": 0.25, "hard": 0.05}
        return {"easy": 0.4, "medium": 0.4, "hard": 0.2} if step < 700 else {"easy": 0.2, "medium": 0.4, "hard": 0.4}

    lines = CurriculumLines(1000)
    told = [line for step in range(1000) if (line := lines.line(step, weights(step)))]
    assert told[0] == "Step 0/1000: curriculum weights = {'easy': 0.7, 'medium': 0.25, 'hard': 0.05}"
    assert told[1].startswith("Step 100/1000: ")
    assert "Step 300/1000: curriculum weights = {'easy': 0.4, 'medium': 0.4, 'hard': 0.2}" in told
    assert "Step 700/1000: curriculum weights = {'easy': 0.2, 'medium': 0.4, 'hard': 0.4}" in told
    assert len(told) == 10
    odd = CurriculumLines(1000)
    assert odd.line(0, {"easy": 1.0}) and not odd.line(7, {"easy": 1.0}) and odd.line(8, {"easy": 0.5})
    assert not odd.line(9, {"easy": 0.54}) and odd.line(10, {"easy": 0.56})  # small moves add up


def test_durations_read_well() -> None:
    assert [format_duration(seconds) for seconds in (0, 59.4, 61, 3599, 7800)] == ["0s", "59s", "1m 01s", "59m 59s", "2h 10m"]


FIGURES = {
    "reward": 0.25,
    "success_rate": 0.5,
    "success_rate_by_domain": {"ferry": 0.25, "spanner": 0.75},
    "curriculum_weights": {"easy": 0.7, "hard": 0.3},
}


def test_the_progress_text_names_reward_success_weights_and_time_left() -> None:
    text = progress_text(3, 60, FIGURES, 185)
    assert text == "step 3/60  reward +0.250  success 50% (ferry 25% spanner 75%)  easy 70%/hard 30%  3m 05s left"
    assert progress_text(0, 60, {}, None) == "step 0/60"


def test_a_log_file_gets_plain_lines_at_log_time_only() -> None:
    stream, clock = io.StringIO(), _Clock()
    line = ProgressLine(10, lambda step: FIGURES, stream, clock)
    line.training_begins(0, CONTROL, None, None)
    for step in (1, 2):
        clock.now += 5
        line.step_ended(step, CONTROL)
    assert stream.getvalue() == ""
    line.record_made({"step": 0})  # an evaluation before the first step
    line.record_made({"step": 2, "loss": 0.1, **FIGURES})
    line.say("a line")
    line.close()
    assert stream.getvalue().splitlines() == [progress_text(2, 10, FIGURES, 40), "a line"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_is_written_over() -> None:
    stream = _Terminal()
    line = ProgressLine(10, lambda step: FIGURES if step == 1 else {}, stream, _Clock())
    line.training_begins(0, CONTROL, None, None)
    line.step_ended(1, CONTROL)
    line.step_ended(2, CONTROL)
    line.record_made({"step": 2, "loss": 0.1, **FIGURES})
    line.close()
    shown = stream.getvalue()
    assert shown.count("\n") == 1 and shown.endswith("\n")
    parts = shown.rstrip("\n").split("\r")
    assert parts[1].startswith("[##..................] step 1/10  reward +0.250")
    assert len(parts[2]) == len(parts[1])  # what was longer is overwritten


def test_metrics_are_one_json_object_per_line_without_nan(tmp_path: Path) -> None:
    sink = MetricsFile(tmp_path / "metrics.jsonl")
    sink.record_made({"step": 1, "kl": math.nan, "by": {"a": math.inf, "b": [1.0, math.nan]}})
    sink.record_made({"step": 2})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "kl": None, "by": {"a": None, "b": [1.0, None]}}, {"step": 2}]


def test_a_full_disk_delays_lines_and_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from grpo_project.tracking import metrics_file

    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.record_made({"step": 1})
    with monkeypatch.context() as patch:
        patch.setattr(metrics_file, "append_json_line", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        file.record_made({"step": 2})
        file.record_made({"step": 3})
    file.record_made({"step": 4})
    assert [json.loads(line)["step"] for line in file.path.read_text().splitlines()] == [1, 2, 3, 4]


def test_nested_names_are_joined() -> None:
    assert dict(flatten({"a": {"b": {"c": 1}}, "d": 2})) == {"a/b/c": 1, "d": 2}
