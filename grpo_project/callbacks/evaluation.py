"""Evaluations of the steering problems before the first step and every so many steps, each told to all observers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.evaluation import EvaluationResult
from grpo_project.runs.observer import Control, Observer

Tell = Callable[[EvaluationOutcome, Control], None]


class PeriodicEvaluation(Observer):
    """Once per step, however often it is asked. `evaluate` must leave weights, mode and random state as they were.

    `outcomes`: all so far, in order of steps; `done`: those that a continued run knows already.
    """

    def __init__(
        self, every_steps: int, evaluate: Callable[[], EvaluationResult], tell: Tell, done: Sequence[EvaluationOutcome] = ()
    ) -> None:
        if every_steps < 1:
            raise ValueError(f"steps between two evaluations must be at least 1, got {every_steps}")
        self.every_steps = every_steps
        self._evaluate = evaluate
        self._tell = tell
        self.outcomes = list(done)

    def training_begins(self, step: int, control: Control, model: Any, optimizer: Any) -> None:
        if step == 0:
            self._run(step, control)

    def step_ended(self, step: int, control: Control) -> None:
        if step % self.every_steps == 0:
            self._run(step, control)

    def _run(self, step: int, control: Control) -> None:
        if self.outcomes and self.outcomes[-1].step >= step:
            return
        outcome = outcome_of(self._evaluate(), step)
        self.outcomes.append(outcome)
        self._tell(outcome, control)


def outcome_of(result: EvaluationResult, step: int) -> EvaluationOutcome:
    """The counts of a result by domain and bucket."""
    cells: dict[str, dict[str, tuple[int, int]]] = {domain: {} for domain in result.domains}
    for problem in result.problems:
        successes, count = cells[problem.domain].get(problem.bucket, (0, 0))
        cells[problem.domain][problem.bucket] = (successes + problem.success, count + 1)
    return EvaluationOutcome(step, cells)
