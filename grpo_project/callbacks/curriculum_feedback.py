"""What happened in training and in evaluations, told to the curriculum engine; and the curriculum's own lines and figures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grpo_project.callbacks.collapse import CollapseActions
from grpo_project.common.statistics import wilson_interval
from grpo_project.curriculum.base import EvaluationOutcome, GroupOutcome
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.data.difficulty import BUCKETS
from grpo_project.rewards import ScoredCompletion
from grpo_project.runs.observer import Control, Observer, Record

logger = logging.getLogger(__name__)

TOLD_CHANGE = 0.05  # an adaptive curriculum moves a little at every step
REPORTED_TENTHS = 10  # unchanged curriculum weights are repeated this many times in a run


class CurriculumFeedback(Observer):
    """Every process's engine is told the same, in the same order, and so decides the same.

    `collapse`: what is done when the engine's guard names a domain. `on_change`: called when an evaluation was taken in.
    """

    def __init__(
        self,
        engine: CurriculumEngine,
        row_domain: Mapping[int, str],
        row_bucket: Mapping[int, str],
        num_generations: int,
        max_steps: int,
        collapse: CollapseActions,
        say: Callable[[str], None] = print,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._row_domain = row_domain
        self._row_bucket = row_bucket
        self._num_generations = num_generations
        self._max_steps = max_steps
        self._collapse = collapse
        self._say = say
        self._on_change = on_change
        self._lines = CurriculumLines(max_steps)
        self._fresh: EvaluationOutcome | None = None

    def training_begins(self, step: int, control: Control, model: Any, optimizer: Any) -> None:
        self._tell_weights(step)

    def completions_scored(self, step: int, scored: Sequence[ScoredCompletion]) -> None:
        self._engine.observe_groups(self._engine.generation_of(step - 1), self._groups(scored))

    def step_ended(self, step: int, control: Control) -> None:
        if step < self._max_steps:
            self._tell_weights(step)

    def evaluation_done(self, outcome: EvaluationOutcome, control: Control) -> None:
        changes = self._engine.observe_evaluation(outcome)
        self._fresh = outcome
        low, high = outcome.interval()
        rates = ", ".join(f"{domain} {_rate(outcome.domain_counts(domain)):.0%}" for domain in outcome.cells)
        self._say(f"Held-out success at step {outcome.step}: {outcome.average():.1%} ({low:.0%} to {high:.0%}); {rates}")
        for change in changes:
            self._say(str(change))
            if change.collapsed:
                logger.warning("%s", change)
        self._collapse.act(outcome.step, changes, self._engine.guard.collapsed, control)
        self._on_change()

    def record_due(self, record: Record) -> None:
        """The weights of the batch that was trained, the engine's figures, and those of an evaluation in the first record after
        it."""
        if "loss" in record:
            record["curriculum_weights"] = dict(self._engine.weights_at(max(0, record["step"] - 1)))
        record |= self._engine.metrics()
        if self._collapse.rollbacks:
            record["curriculum/rollbacks"] = len(self._collapse.rollbacks)
        outcome, self._fresh = self._fresh, None
        if outcome is not None:
            record |= self._evaluation_figures(outcome)

    def _evaluation_figures(self, outcome: EvaluationOutcome) -> dict[str, Any]:
        low, high = outcome.interval()
        buckets = {name: outcome.bucket_counts(name) for name in BUCKETS}
        return {
            "eval_step": outcome.step,
            "inference/step": outcome.step,
            "_trainer_step": outcome.step,
            "eval_avg_test_pass_rate": outcome.average(),
            "eval_avg_test_pass_rate_interval": {"low": low, "high": high},
            "eval_pass_rate_by_domain": {name: _rate(outcome.domain_counts(name)) for name in outcome.cells},
            "eval_interval_by_domain": {name: list(wilson_interval(*outcome.domain_counts(name))) for name in outcome.cells},
            "eval_pass_rate_by_difficulty": {name: _rate(counts) for name, counts in buckets.items() if counts[1]},
            "eval_counts": outcome.to_json()["cells"],
            "eval_collapsed": list(self._engine.guard.collapsed),
        }

    def _groups(self, scored: Sequence[ScoredCompletion]) -> list[GroupOutcome]:
        size = self._num_generations
        groups = []
        for start in range(0, len(scored), size):
            items = scored[start : start + size]
            row = items[0].row_index
            successes = sum(item.success for item in items)
            rewards = [item.total for item in items]
            groups.append(GroupOutcome.of(self._row_domain[row], self._row_bucket[row], row, rewards, successes))
        return groups

    def _tell_weights(self, step: int) -> None:
        line = self._lines.line(step, self._engine.weights_at(step))
        if line:
            self._say(line)


class CurriculumLines:
    """`Step 0/1000: curriculum weights = {...}`: at the start, at every change worth a line, and once per tenth of the run."""

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps
        self._every = max(1, max_steps // REPORTED_TENTHS)
        self._told: dict[str, float] | None = None

    def line(self, step: int, weights: Mapping[str, float]) -> str | None:
        """The line for `step` (before it trains), or None when there is nothing to say."""
        plain = {name: round(float(weight), 6) for name, weight in weights.items()}
        told = self._told or {}
        changed = any(abs(weight - told.get(name, 0.0)) >= TOLD_CHANGE for name, weight in plain.items())
        if not changed and step % self._every:
            return None
        self._told = plain
        return f"Step {step}/{self._max_steps}: curriculum weights = {plain}"


def _rate(counts: tuple[int, int]) -> float:
    return counts[0] / counts[1] if counts[1] else 0.0
