"""The one Trainer callback of a run: it turns what the Trainer and the reward function say into events for the observers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from grpo_project.callbacks.timing import StepTimer
from grpo_project.common import ranks
from grpo_project.common.metrics import trainer_names
from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.rewards import ScoredCompletion
from grpo_project.runs.observer import Observer

TRAINER_METRICS = trainer_names()  # TRL's name -> ours
CLOSING_SUMMARY = "train_runtime"  # the last log of a Trainer is no step


class TrainerEvents(TrainerCallback, Observer):
    """`observers`: who is told, as one. `timer`: what telling costs is counted to its section `logging`."""

    def __init__(self, observers: Observer, timer: StepTimer) -> None:
        self._observers = observers
        self._timer = timer
        self._scored: list[ScoredCompletion] = []  # of this process, since the last step
        self._evaluated = False  # since the last record

    def scored_here(self, scored: list[ScoredCompletion]) -> None:
        """The reward function's observer: completions of this process, whole batches in the order of the sampler."""
        self._scored += scored

    def tell_evaluation(self, outcome: EvaluationOutcome, control: Any) -> None:
        """For who evaluates: every observer hears of it, and a record of it is due."""
        self._evaluated = True
        if outcome.step:
            control.should_log = True
        self._observers.evaluation_done(outcome, control)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._observers.training_begins(state.global_step, control, kwargs.get("model"), kwargs.get("optimizer"))
        if self._evaluated:  # before the first step, where the Trainer logs nothing
            self._make_record({"step": state.global_step})

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        scored, self._scored = ranks.gather(self._scored), []
        if scored:  # else a further step on the same completions
            self._observers.completions_scored(state.global_step, scored)
        self._observers.step_ended(state.global_step, control)
        if control.should_save:
            # A record's window must not span a checkpoint: its first half would be lost to a run that goes on from there.
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if logs and CLOSING_SUMMARY not in logs:
            figures = {ours: logs[theirs] for theirs, ours in TRAINER_METRICS.items() if theirs in logs}
            self._make_record({"step": state.global_step, **figures})

    def _make_record(self, record: dict[str, Any]) -> None:
        self._evaluated = False
        with self._timer.section("logging"):
            self._observers.record_due(record)
            self._observers.record_made(record)
