"""The Trainer's side: one record per log, Ctrl-C that lets a step finish, weights told as they change."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from grpo_project.callbacks.collector import CompletionCollector
from grpo_project.callbacks.monitor import RunMonitor
from grpo_project.callbacks.progress import ProgressLine
from grpo_project.callbacks.timing import StepTimer


class _Sink:
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def record(self, record: Any) -> None:
        self.records.append(dict(record))

    def close(self) -> None:
        pass


def _monitor(max_steps: int = 4, extra: Any = dict) -> tuple[RunMonitor, _Sink, io.StringIO, CompletionCollector]:
    collector = CompletionCollector({0: "ferry"}, {0: "easy"})
    sink, stream = _Sink(), io.StringIO()
    monitor = RunMonitor(
        collector,
        StepTimer(),
        ProgressLine(max_steps, stream),
        [sink],
        weights_at=lambda step: {"easy": 1.0} if step < 2 else {"easy": 0.5, "hard": 0.5},
        max_steps=max_steps,
        may_save=lambda step: step % 2 == 0,
        extra=extra,
    )
    return monitor, sink, stream, collector


def _run(monitor: RunMonitor, collector: CompletionCollector, steps: int) -> list[Any]:
    controls = []
    state = SimpleNamespace(global_step=0, max_steps=4)
    monitor.on_train_begin(None, state, None)
    for step in range(1, steps + 1):
        verdict = SimpleNamespace(verdict_class="goal_not_satisfied", steps_total=1)
        scores: dict[str, Any] = {"total": 0.5, "success": False, "rewards": {"dense": 0.5}}
        item: Any = SimpleNamespace(row_index=0, text="(wait)", verdict=verdict, **scores)
        collector.observe([item] * 2, 2)
        state.global_step = step
        control = SimpleNamespace(should_training_stop=False, should_save=False)
        monitor.on_step_end(None, state, control)
        monitor.on_log(None, state, control, logs={"loss": 0.1, "entropy": 0.3, "unknown": 1})
        controls.append(control)
    monitor.on_log(None, state, None, logs={"train_runtime": 1.0})
    return controls


def test_a_record_has_the_weights_of_the_batch_that_was_trained() -> None:
    monitor, sink, stream, collector = _monitor()
    _run(monitor, collector, 3)
    assert [record["step"] for record in sink.records] == [1, 2, 3]
    assert [record["curriculum_weights"] for record in sink.records] == [{"easy": 1.0}] * 2 + [{"easy": 0.5, "hard": 0.5}]
    assert sink.records[0]["reward"] == 0.5 and sink.records[0]["entropy"] == 0.3
    assert "unknown" not in sink.records[0]
    assert {"total", "other"} <= set(sink.records[0]["seconds_per_step"])
    told = [line for line in stream.getvalue().splitlines() if line.startswith("Step ")]
    assert told[0] == "Step 0/4: curriculum weights = {'easy': 1.0}"
    assert "Step 2/4: curriculum weights = {'easy': 0.5, 'hard': 0.5}" in told


def test_an_evaluation_before_the_first_step_is_a_record_of_its_own() -> None:
    fresh = [{"eval_step": 0, "eval_avg_test_pass_rate": 0.25}]
    monitor, sink, stream, collector = _monitor(extra=lambda: fresh.pop() if fresh else {})
    _run(monitor, collector, 2)
    assert sink.records[0] == {"step": 0, "eval_step": 0, "eval_avg_test_pass_rate": 0.25}
    assert [record["step"] for record in sink.records] == [0, 1, 2] and "eval_step" not in sink.records[1]
    assert not [line for line in stream.getvalue().splitlines() if line.startswith("step 0/4")]


@pytest.fixture
def python_s_own_handler() -> Iterator[None]:
    """A shell starts what it runs in the background with SIGINT ignored, and so would this test be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_lets_the_step_finish_and_the_second_stops(
    capsys: pytest.CaptureFixture[str], python_s_own_handler: None
) -> None:
    monitor, _, _, collector = _monitor()
    give_back = monitor.catch_interrupts()
    try:
        signal.raise_signal(signal.SIGINT)
        assert monitor.interrupted
        assert "Stopping after this step" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        first, second = _run(monitor, collector, 2)
        assert not first.should_training_stop and not first.should_save  # completions are still to be used again
        assert second.should_training_stop and second.should_save
    finally:
        give_back()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
