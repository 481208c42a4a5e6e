"""The Trainer's side: events reach every observer in order, one record per log, Ctrl-C that lets a step finish."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from grpo_project.callbacks.collapse import CollapseActions
from grpo_project.callbacks.collector import CompletionCollector
from grpo_project.callbacks.curriculum_feedback import CurriculumFeedback
from grpo_project.callbacks.evaluation import PeriodicEvaluation
from grpo_project.callbacks.interrupts import Interrupts
from grpo_project.callbacks.progress import ProgressLine
from grpo_project.callbacks.timing import StepTimer
from grpo_project.callbacks.trainer_events import TrainerEvents
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.curriculum.schedules import Schedule
from grpo_project.evaluation import EvaluationResult
from grpo_project.runs.observer import Observer, Observers


class _Sink(Observer):
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def record_made(self, record: Any) -> None:
        self.records.append(dict(record))


def _control() -> Any:
    return SimpleNamespace(should_training_stop=False, should_save=False, should_log=False)


class _Run:
    """Events over real observers, driven as a Trainer does. `evaluate`: every two steps."""

    def __init__(self, evaluate: bool = False) -> None:
        self.stream, self.sink, self.timer = io.StringIO(), _Sink(), StepTimer()
        weights = lambda step, max_steps: {"easy": 1, "medium": 0, "hard": 0} if step < 2 else {"easy": 1, "medium": 0, "hard": 1}  # noqa: E731
        engine = CurriculumEngine(Schedule("step", weights), {"ferry": 1}, 4)
        counts = CompletionCollector({0: "ferry"}, {0: "easy"}, 2)
        progress = ProgressLine(4, lambda step: counts.figures(), self.stream)
        feedback = CurriculumFeedback(engine, {0: "ferry"}, {0: "easy"}, 2, 4, CollapseActions(), progress.say)
        self.interrupts = Interrupts(lambda step: step % 2 == 0)
        followers: list[Observer] = [counts, feedback, self.timer, progress, self.interrupts, self.sink]
        if evaluate:
            found = EvaluationResult((), 0.1)
            followers.insert(2, PeriodicEvaluation(2, lambda: found, lambda *told: self.events.tell_evaluation(*told)))
        self.events = TrainerEvents(Observers(followers), self.timer)

    def steps(self, count: int) -> list[Any]:
        controls = []
        state = SimpleNamespace(global_step=0, max_steps=4)
        self.events.on_train_begin(None, state, _control())
        for step in range(1, count + 1):
            verdict = SimpleNamespace(verdict_class="goal_not_satisfied", steps_total=1)
            item: Any = SimpleNamespace(
                row_index=0, text="(wait)", total=0.5, success=False, rewards={"dense": 0.5}, verdict=verdict, turn=0
            )
            self.events.scored_here([item] * 2)
            state.global_step = step
            control = _control()
            self.events.on_step_end(None, state, control)
            self.events.on_log(None, state, control, logs={"loss": 0.1, "entropy": 0.3, "unknown": 1})
            controls.append(control)
        self.events.on_log(None, state, _control(), logs={"train_runtime": 1.0})
        return controls


def test_a_record_has_the_weights_of_the_batch_that_was_trained() -> None:
    run = _Run()
    run.steps(3)
    records = run.sink.records
    assert [record["step"] for record in records] == [1, 2, 3]
    easy, both = {"easy": 1.0, "medium": 0.0, "hard": 0.0}, {"easy": 0.5, "medium": 0.0, "hard": 0.5}
    assert [record["curriculum_weights"] for record in records] == [easy, easy, both]
    assert records[0]["reward"] == 0.5 and records[0]["entropy"] == 0.3 and records[0]["completions"] == 2
    assert "unknown" not in records[0]
    assert {"total", "other"} <= set(records[0]["seconds_per_step"])
    told = [line for line in run.stream.getvalue().splitlines() if line.startswith("Step ")]
    assert told[0] == f"Step 0/4: curriculum weights = {easy}"
    assert f"Step 2/4: curriculum weights = {both}" in told


def test_an_evaluation_before_the_first_step_is_a_record_of_its_own_and_later_ones_ask_for_a_log_line() -> None:
    run = _Run(evaluate=True)
    controls = run.steps(3)
    first, *others = run.sink.records
    assert first["step"] == first["eval_step"] == 0 and "loss" not in first and "seconds_per_step" not in first
    assert [record["step"] for record in others] == [1, 2, 3]
    assert [record.get("eval_step") for record in others] == [None, 2, None]
    assert [control.should_log for control in controls] == [False, True, False]
    assert not [line for line in run.stream.getvalue().splitlines() if line.startswith("step 0/4")]


def test_a_further_step_on_the_same_completions_is_no_news() -> None:
    seen: list[int] = []

    class Listener(Observer):
        def completions_scored(self, step: int, scored: Any) -> None:
            seen.append(step)

    events = TrainerEvents(Listener(), StepTimer())
    for step in (1, 2, 3, 4):
        if step % 2:
            events.scored_here([SimpleNamespace()])  # type: ignore[list-item]
        events.on_step_end(None, SimpleNamespace(global_step=step), _control())
    assert seen == [1, 3]


def test_observers_hear_in_the_order_of_their_list() -> None:
    heard: list[tuple[str, int]] = []

    class Listener(Observer):
        def __init__(self, name: str) -> None:
            self.name = name

        def step_ended(self, step: int, control: Any) -> None:
            heard.append((self.name, step))

        def record_due(self, record: dict[str, Any]) -> None:
            record[self.name] = len(record)

    events = TrainerEvents(Observers([Listener("first"), Listener("second")]), StepTimer())
    events.on_step_end(None, SimpleNamespace(global_step=3), _control())
    assert heard == [("first", 3), ("second", 3)]
    record: dict[str, Any] = {}
    Observers([Listener("first"), Listener("second")]).record_due(record)
    assert record == {"first": 0, "second": 1}


@pytest.fixture
def python_s_own_handler() -> Iterator[None]:
    """A shell starts what it runs in the background with SIGINT ignored, and so would this test be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_lets_the_step_finish_and_the_second_stops(
    capsys: pytest.CaptureFixture[str], python_s_own_handler: None
) -> None:
    run = _Run()
    with run.interrupts.caught():
        signal.raise_signal(signal.SIGINT)
        assert run.interrupts.interrupted
        assert "Stopping after this step" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        first, second = run.steps(2)
        assert not first.should_training_stop and not first.should_save  # completions are still to be used again
        assert second.should_training_stop and second.should_save and second.should_log
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("hangup_heard")
@pytest.mark.parametrize("warning", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
def test_a_warning_lets_the_step_finish_and_so_does_the_sigterm_that_it_warned_of(
    capsys: pytest.CaptureFixture[str], warning: int
) -> None:
    run = _Run()
    before = signal.getsignal(warning)
    with run.interrupts.caught():
        for number in (warning, warning, signal.SIGTERM):
            signal.raise_signal(number)
        assert run.interrupts.interrupted and run.interrupts.signal_number == warning
        assert capsys.readouterr().err.count("Stopping after this step") == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert run.steps(2)[1].should_save
    assert signal.getsignal(warning) == before


def test_under_nohup_a_hangup_is_still_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run = _Run()
    try:
        with run.interrupts.caught():
            signal.raise_signal(signal.SIGHUP)
        assert not run.interrupts.interrupted and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
