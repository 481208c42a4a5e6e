"""Trackers that lost points or ended trainings of this kind (trials.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from grpo_project.runs.observer import Record
from grpo_project.tracking import trackers
from grpo_project.tracking.trackers import Trackers, numbers


def test_a_mean_that_is_no_number_takes_no_other_figure_with_it() -> None:
    record = {"step": 3, "reward": math.nan, "kl": math.inf, "success": {"ferry": 0.5, "spanner": math.nan}, "loss": 0.25}
    assert dict(numbers(record)) == {"success/ferry": 0.5, "loss": 0.25}


class Failing:
    """A tracker whose service ends in the middle of the run."""

    state = "somewhere"

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    def record(self, record: Mapping[str, Any]) -> None:
        self.asked += 1
        raise self.error

    def summary(self, values: Mapping[str, Any]) -> None:
        raise self.error

    def close(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError("the backend has shut down"), RuntimeError("409: was deleted"), MemoryError()])
def test_a_tracker_whose_service_dies_ends_no_training_and_is_not_asked_again(error: Exception, caplog: Any) -> None:
    failing = Failing(error)
    all_of_them = Trackers({"wandb": failing})
    for step in range(3):
        all_of_them.record_made(Record({"step": step, "loss": 1.0}))
    all_of_them.summary({"success": 1.0})
    all_of_them.close()
    assert failing.asked == 1 and caplog.text.count("metrics.jsonl has everything") == 1


def test_a_tracker_that_does_not_start_is_told_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> Any:
        raise TimeoutError("run initialization has timed out after 90.0 sec")

    started, missing = trackers._start({"wandb": refuse})
    assert started == {} and missing == {"wandb": "did not start (TimeoutError: run initialization has timed out after 90.0 sec)"}
