"""Carries what happened in training to the curriculum engine, and what the collapse guard says to whom it concerns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

from grpo_project.callbacks.collector import CompletionCollector
from grpo_project.common.statistics import wilson_interval
from grpo_project.curriculum.base import EvaluationOutcome, GroupOutcome
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.data.difficulty import BUCKETS

logger = logging.getLogger(__name__)


class CurriculumFeedback(TrainerCallback):
    """Stands before RunMonitor among the callbacks.

    `add` is the reward function's observer. At the end of a step, `gather` brings together what all processes added, in
    sampler order, and collector and engine get it: so every process's engine sees the same and decides the same.
    on_collapse: warn, reweight (the engine does it), rollback or stop. keep(step) keeps the weights of a healthy evaluation;
    restore(step) brings them back. `stopped_by`: the line that tells why training was stopped, or None.
    """

    def __init__(
        self,
        engine: CurriculumEngine,
        collector: CompletionCollector,
        row_domain: Mapping[int, str],
        row_bucket: Mapping[int, str],
        num_generations: int,
        on_collapse: str = "warn",
        say: Callable[[str], None] = print,
        gather: Callable[[list[Any]], list[Any]] = list,
        keep: Callable[[int], None] | None = None,
        restore: Callable[[int], None] | None = None,
        may_save: Callable[[int], bool] = lambda step: True,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.engine = engine
        self._collector = collector
        self._row_domain = row_domain
        self._row_bucket = row_bucket
        self._num_generations = num_generations
        self._on_collapse = on_collapse
        self._say = say
        self._gather = gather
        self._keep = keep
        self._restore = restore
        self._may_save = may_save
        self._on_change = on_change
        self._scored: list[Any] = []
        self._fresh: EvaluationOutcome | None = None
        self.kept_step: int | None = None
        self.rollbacks: list[tuple[int, int]] = []  # (at step, back to the weights of step)
        self.stopped_by: str | None = None

    # -- groups -------------------------------------------------------------------------------------------------------

    def add(self, scored: Sequence[Any]) -> None:
        """Scored completions of this process, whole batches in the order of the sampler."""
        self._scored += scored

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        scored, self._scored = self._gather(self._scored), []
        if not scored:
            return  # a further step on the same completions
        self._collector.observe(scored, self._num_generations)
        self.engine.observe_groups(self.engine.generation_of(state.global_step - 1), self._groups(scored))

    def _groups(self, scored: Sequence[Any]) -> list[GroupOutcome]:
        size = self._num_generations
        groups = []
        for start in range(0, len(scored), size):
            items = scored[start : start + size]
            row = items[0].row_index
            successes = sum(item.success for item in items)
            rewards = [item.total for item in items]
            groups.append(GroupOutcome.of(self._row_domain[row], self._row_bucket[row], row, rewards, successes))
        return groups

    # -- evaluations --------------------------------------------------------------------------------------------------

    def evaluated(self, outcome: EvaluationOutcome, control: Any) -> None:
        """An evaluation is there: tell it, let the guard judge it, and act."""
        changes = self.engine.observe_evaluation(outcome)
        self._fresh = outcome
        low, high = outcome.interval()
        rates = ", ".join(f"{domain} {_rate(outcome.domain_counts(domain)):.0%}" for domain in outcome.cells)
        self._say(f"Held-out success at step {outcome.step}: {outcome.average():.1%} ({low:.0%} to {high:.0%}); {rates}")
        for change in changes:
            self._say(str(change))
            if change.collapsed:
                logger.warning("%s", change)
        if not self.engine.guard.collapsed:
            if self._keep is not None:
                self._keep(outcome.step)
                self.kept_step = outcome.step
        elif self._on_collapse == "rollback":
            self._go_back(outcome.step)
        elif self._on_collapse == "stop" and any(change.collapsed for change in changes):
            self.stopped_by = "; ".join(str(change) for change in changes if change.collapsed)
            control.should_training_stop = True
            control.should_save = self._may_save(outcome.step)
        if self._on_change is not None:
            self._on_change()

    def _go_back(self, step: int) -> None:
        if self._restore is None or self.kept_step is None:
            self._say("There are no earlier weights to go back to: training goes on")
            return
        self._restore(self.kept_step)
        self.rollbacks.append((step, self.kept_step))
        names = ", ".join(self.engine.guard.collapsed)
        self._say(f"Step {step}: back to the weights of step {self.kept_step}, and more and easier prompts for {names}")

    # -- figures and state --------------------------------------------------------------------------------------------

    def extra(self) -> dict[str, Any]:
        """Figures for the next record; those of an evaluation once, in the first record after it."""
        record = self.engine.metrics()
        if self.rollbacks:
            record["curriculum/rollbacks"] = len(self.rollbacks)
        outcome, self._fresh = self._fresh, None
        if outcome is not None:
            low, high = outcome.interval()
            buckets = {name: outcome.bucket_counts(name) for name in BUCKETS}
            record |= {
                "eval_step": outcome.step,
                "inference/step": outcome.step,
                "_trainer_step": outcome.step,
                "eval_avg_test_pass_rate": outcome.average(),
                "eval_avg_test_pass_rate_interval": {"low": low, "high": high},
                "eval_pass_rate_by_domain": {name: _rate(outcome.domain_counts(name)) for name in outcome.cells},
                "eval_interval_by_domain": {name: list(wilson_interval(*outcome.domain_counts(name))) for name in outcome.cells},
                "eval_pass_rate_by_difficulty": {name: _rate(counts) for name, counts in buckets.items() if counts[1]},
                "eval_counts": outcome.to_json()["cells"],
                "eval_collapsed": list(self.engine.guard.collapsed),
            }
        return record

    def state_dict(self) -> dict[str, Any]:
        """The engine's state and what this callback adds."""
        rollbacks = [list(pair) for pair in self.rollbacks]
        return {
            **self.engine.state_dict(),
            "kept_step": self.kept_step,
            "rollbacks": rollbacks,
            "collector": self._collector.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ConfigError as the engine does."""
        self.engine.load_state_dict(state)
        kept = state.get("kept_step")
        self.kept_step = None if kept is None else int(kept)
        self.rollbacks = [(int(at), int(to)) for at, to in state.get("rollbacks", ())]
        if "collector" in state:  # a state that was begun anew has none
            self._collector.load_state_dict(state["collector"])


def _rate(counts: tuple[int, int]) -> float:
    return counts[0] / counts[1] if counts[1] else 0.0
