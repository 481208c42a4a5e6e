"""--report_to: every tracker gets the numbers of metrics.jsonl; one that is missing or fails costs a line."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402
from grpo_project.tracking.metrics_file import MetricsFile  # noqa: E402
from grpo_project.tracking.trackers import TensorBoardTracker, Trackers, TrackioTracker, numbers  # noqa: E402

RECORDS = [
    {
        "step": step,
        "reward": 0.5 / step,
        "success_rate_by_domain": {"ferry": 0.25},
        "grid": {"ferry": math.nan, "own": 2},
        "curriculum/stage": "foundation",
        "cells": {"ferry": {"easy": 3}},
        "alarms": 1.0,
        "ok": True,
    }
    for step in (1, 2, 3, 4)
]


class Recording:
    state = "here"

    def __init__(self, fail: bool = False) -> None:
        self.fail = fail
        self.records: list[Any] = []
        self.closed = 0

    def record(self, record: Mapping[str, Any]) -> None:
        if self.fail:
            raise OSError("gone")
        self.records.append(record)

    def summary(self, values: Mapping[str, Any]) -> None:
        self.records.append(values)

    def close(self) -> None:
        self.closed += 1


def test_a_tracker_that_fails_is_left_alone_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Recording(), Recording(fail=True)
    trackers = Trackers({"good": good, "bad": bad})
    for record in RECORDS:
        trackers.record_made(record)
    trackers.close()
    trackers.close()
    assert good.records == RECORDS and (good.closed, bad.closed) == (1, 0)
    assert caplog.text.count("bad failed and is left alone") == 1


def test_what_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trackio", None)  # import raises ImportError
    trackers = Trackers.of(TrainingConfig(report_to=("trackio",)), tmp_path, "offline", {}, None)
    assert trackers.state == "trackio: not installed (pip install trackio), so nothing goes there"
    trackers.record_made(RECORDS[0])
    trackers.close()
    assert trackers.state_dict() == {"wandb": {}} and list(tmp_path.iterdir()) == []


def test_none_and_the_other_processes_track_nothing(tmp_path: Path) -> None:
    for config in (None, TrainingConfig(report_to=("none",)), TrainingConfig(use_wandb=False)):
        trackers = Trackers.of(config, tmp_path, "offline", {}, None)
        trackers.record_made(RECORDS[0])
        trackers.close()
    assert list(tmp_path.iterdir()) == []
    for wrong in (("wand",), ("none", "wandb"), ()):
        with pytest.raises(ConfigError, match="--report_to"):
            TrainingConfig(report_to=wrong)


def _numbers_of_metrics_file(folder: Path, records: list[dict[str, Any]]) -> dict[int, dict[str, float]]:
    file = MetricsFile(folder / "metrics.jsonl")
    for record in records:
        file.record_made(record)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: dict(numbers(line)) for line in lines}


def test_numbers_are_what_is_declared_as_numbers_or_by_nobody() -> None:
    assert dict(numbers(RECORDS[0])) == {"reward": 0.5, "success_rate_by_domain/ferry": 0.25, "grid/own": 2.0}


def test_tensorboard_has_the_numbers_of_metrics_jsonl_also_after_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = TensorBoardTracker(tmp_path, 0)
    for record in RECORDS:
        first.record({**record, "reward": -1.0} if record["step"] > 2 else record)  # what an attempt that died wrote
    first.close()
    second = TensorBoardTracker(tmp_path, 2)
    for record in RECORDS[2:]:
        second.record(record)
    second.summary({"after": {"ferry": 0.5}})
    second.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found: dict[int, dict[str, float]] = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            assert name not in found.setdefault(event.step, {})
            found[event.step][name] = event.value
    assert "figures/text_summary" in events.Tags()["tensors"]
    wanted = _numbers_of_metrics_file(tmp_path, RECORDS)
    assert {step: pytest.approx(values) for step, values in wanted.items()} == found


def test_trackio_has_the_numbers_of_metrics_jsonl(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    project = f"p-{uuid.uuid4().hex}"  # trackio settles on its folder (conftest.py) when it is first imported, for all tests
    tracker = TrackioTracker(tmp_path, 0, project, "r", {})
    for record in RECORDS:
        tracker.record(record)
    tracker.close()
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = SQLiteStorage.get_runs(project)
    assert run == "r"
    found = {
        entry["step"]: {name: float(value) for name, value in entry.items() if name not in ("step", "timestamp")}
        for entry in SQLiteStorage.get_logs(project, run)
    }
    assert found == _numbers_of_metrics_file(tmp_path, RECORDS)
