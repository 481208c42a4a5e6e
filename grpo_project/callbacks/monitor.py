"""The one Trainer callback of the suite: gathers a record per logging step and hands it to every sink."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from transformers import TrainerCallback

from grpo_project.callbacks.collector import CompletionCollector
from grpo_project.callbacks.progress import CurriculumLines, ProgressLine
from grpo_project.callbacks.timing import StepTimer

# TRL's name -> ours. What is not listed is either ours already or says nothing here.
TRAINER_METRICS = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "reward_std": "reward_std",
    "kl": "kl",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_ratio",
    "completions/mean_length": "completion_length_mean",
    "completions/min_length": "completion_length_min",
    "completions/max_length": "completion_length_max",
    "completions/clipped_ratio": "completions_cut_off",
    "num_tokens": "tokens_seen",
    "resampled_groups": "resampled_groups",
}


class Sink(Protocol):
    """Where records go."""

    def record(self, record: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class RunMonitor(TrainerCallback):
    """`weights_at(step)`: the curriculum weights under which the batch of a step (from 0) is drawn.

    The progress line comes first among the sinks; `sinks` get every record, in order. The first Ctrl-C or SIGTERM lets the step
    finish, and those after it up to one where `may_save(step)` allows a checkpoint, which is written; the second stops at once.
    `agree` tells whether any of the processes that train together was asked to stop: they must stop at the same step.
    `extra()`: figures of others for the next record, asked once for each; callbacks that make them stand before this one.
    `watch(record)`: what a finished record says about the run's health, added to it.
    """

    def __init__(
        self,
        collector: CompletionCollector,
        timer: StepTimer,
        progress: ProgressLine,
        sinks: Sequence[Sink],
        weights_at: Callable[[int], Mapping[str, float]],
        max_steps: int,
        may_save: Callable[[int], bool],
        agree: Callable[[bool], bool] = bool,
        extra: Callable[[], Mapping[str, Any]] = dict,
        watch: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda record: {},
    ) -> None:
        self._collector = collector
        self._timer = timer
        self._progress = progress
        self._sinks = [progress, *sinks]
        self._weights_at = weights_at
        self._lines = CurriculumLines(max_steps)
        self._may_save = may_save
        self.agree = agree
        self._extra = extra
        self._watch = watch
        self._latest: dict[str, Any] = {}
        self.interrupted = False
        self.signal_number = 0

    # -- Trainer events -----------------------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._progress.start()
        self._timer.begin_step()
        self._tell_weights(state.global_step)
        found = self._extra()
        if "eval_step" in found:  # an evaluation before the first step; the progress line has no step to tell
            for sink in self._sinks[1:]:
                sink.record({"step": state.global_step, **found})

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._timer.end_step()
        with self._timer.section("logging"):
            figures = self._collector.figures() or self._latest
            figures["curriculum_weights"] = dict(self._weights_at(max(0, state.global_step - 1)))
            self._progress.step(state.global_step, figures)
            if state.global_step < state.max_steps:
                self._tell_weights(state.global_step)
        self.interrupted = self.agree(self.interrupted)
        if self.interrupted and self._may_save(state.global_step) and not control.should_training_stop:
            control.should_training_stop = True  # who stopped it before decided about the checkpoint, too
            control.should_save = True
        if control.should_save:
            # A record's window must not span a checkpoint: its first half would be lost to a run that goes on from there.
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if not logs or "train_runtime" in logs:  # the closing summary of the Trainer is no step
            return
        with self._timer.section("logging"):
            record: dict[str, Any] = {"step": state.global_step}
            record |= self._collector.flush()
            record["curriculum_weights"] = dict(self._weights_at(max(0, state.global_step - 1)))
            record |= {ours: logs[theirs] for theirs, ours in TRAINER_METRICS.items() if theirs in logs}
            record |= self._extra()
            record["seconds_per_step"] = self._timer.flush()
            record |= self._watch(record)
            self._latest = record
            for sink in self._sinks:
                sink.record(record)

    def close(self) -> None:
        """Ends the progress line. Call it also after an error. The other sinks are closed by who made them."""
        self._progress.close()

    # -- Ctrl-C and SIGTERM -------------------------------------------------------------------------------------------

    def catch_interrupts(self) -> Callable[[], None]:
        """Takes over SIGINT and SIGTERM; the returned function gives them back. Does nothing outside the main thread."""

        def first_asks_second_stops(signum: int, frame: Any) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
            self.signal_number = signum
            print("\nStopping after this step, with a checkpoint. Ctrl-C again stops at once.", file=sys.stderr, flush=True)

        before: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, first_asks_second_stops)
        except ValueError:
            return lambda: None

        def give_back() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return give_back

    def _tell_weights(self, step: int) -> None:
        line = self._lines.line(step, self._weights_at(step))
        if line:
            self._progress.say(line)
