"""What follows a run: observers, each told of a handful of events, in the order of one list.

    TRL's trainer, the reward function --> TrainerEvents (callbacks/trainer_events.py) --> Observers --> each Observer, in order

A record is the line of metrics.jsonl: every observer adds its figures when it is due, and gets it whole when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.rewards import ScoredCompletion

Record = dict[str, Any]


class Control(Protocol):
    """transformers' TrainerControl: what an observer may ask of the Trainer."""

    should_training_stop: bool
    should_save: bool
    should_log: bool


class Observer:
    """Override what concerns you. Steps count the optimizer steps that are done."""

    def training_begins(self, step: int, control: Control, model: Any, optimizer: Any) -> None:
        """Before the first step of this process; `step` is 0, or where a continued run goes on."""

    def completions_generated(self, row_indices: Sequence[int], batch: Mapping[str, Any]) -> None:
        """A generation of this process as it will be trained on: TRL's tensors, (completions, tokens) each."""

    def entropies_computed(self, ids: Any, mask: Any, kept: int, entropies: Any) -> None:
        """A micro-batch on its way to the loss: (rows, tokens) each, `entropies` (rows, kept) in nats."""

    def gradient_computed(self, norm: Any) -> None:
        """The gradient norm of an optimizer step, before it is clipped."""

    def completions_scored(self, step: int, scored: Sequence[ScoredCompletion]) -> None:
        """What `step` was trained on, of all processes, whole groups in the sampler's order; not told where they are reused."""

    def step_ended(self, step: int, control: Control) -> None:
        """An optimizer step is done."""

    def evaluation_done(self, outcome: EvaluationOutcome, control: Control) -> None:
        """The steering problems were evaluated."""

    def record_due(self, record: Record) -> None:
        """Add your figures to the record; those of the observers before you are in it. One without `loss` is of step 0."""

    def record_made(self, record: Record) -> None:
        """The record is whole."""


EVENTS = tuple(name for name in vars(Observer) if not name.startswith("_"))


class Observers(Observer):
    """All of a run as one: each event goes to each of them, in the order of the list."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)


def _to_each(event: str) -> Callable[..., None]:
    def tell(self: Observers, *told: Any) -> None:
        for observer in self._observers:
            getattr(observer, event)(*told)

    return tell


for _event in EVENTS:
    setattr(Observers, _event, _to_each(_event))
