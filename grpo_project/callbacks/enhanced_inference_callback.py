"""Held-out success during training, in a Trainer of your own, under the guides' name: real problems, really solved.

Runs of this suite use `PeriodicEvaluation` (evaluation.py), which this wraps as a callback.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback

from grpo_project.callbacks.evaluation import PeriodicEvaluation
from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.evaluation import EvaluationResult

logger = logging.getLogger(__name__)

# (model, tokenizer) -> result. Must leave weights, mode and random state as they were.
Evaluate = Callable[[Any, Any], EvaluationResult]
Listener = Callable[[EvaluationOutcome, Any], None]  # (outcome, the Trainer's control)


class EnhancedInferenceCallback(TrainerCallback):
    """Evaluates before the first step and after every `eval_every_n_steps`, and asks the Trainer for a log line there.

    evaluate: how; without one, `max_samples` problems of every domain (or of `domains`) are generated from a named seed and
    solved greedily in the full prompt style, which fits any chat model. `listener` hears each outcome at once.
    """

    def __init__(
        self,
        eval_every_n_steps: int = 25,
        max_samples: int = 8,
        evaluate: Evaluate | None = None,
        listener: Listener | None = None,
        domains: Sequence[str] | None = None,
        max_new_tokens: int = 512,
    ) -> None:
        if eval_every_n_steps < 1 or max_samples < 1:
            raise ValueError(f"both must be at least 1: eval_every_n_steps {eval_every_n_steps}, max_samples {max_samples}")
        self.eval_every_n_steps = eval_every_n_steps
        self.max_samples = max_samples
        self._evaluate = evaluate or _generated_problems(max_samples, domains, max_new_tokens)
        self._listener = listener
        self._asked: tuple[Any, Any] = (None, None)
        self._periodic = PeriodicEvaluation(eval_every_n_steps, lambda: self._evaluate(*self._asked), self._tell)

    @property
    def outcomes(self) -> list[EvaluationOutcome]:
        """All so far, in order of steps."""
        return self._periodic.outcomes

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._asked = kwargs.get("model"), kwargs.get("processing_class", kwargs.get("tokenizer"))
        self._periodic.training_begins(state.global_step, control, *self._asked)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._asked = kwargs.get("model"), kwargs.get("processing_class", kwargs.get("tokenizer"))
        self._periodic.step_ended(state.global_step, control)

    def _tell(self, outcome: EvaluationOutcome, control: Any) -> None:
        if outcome.step:
            control.should_log = True
        logger.debug("step %d: eval_avg_test_pass_rate %.4f", outcome.step, outcome.average())
        if self._listener is not None:
            self._listener(outcome, control)

    def get_evaluation_summary(self) -> dict[str, Any]:
        """evaluation_count, and once there is one: latest and best eval_avg_test_pass_rate, their steps, and `history`."""
        if not self.outcomes:
            return {"evaluation_count": 0, "eval_every_n_steps": self.eval_every_n_steps}
        best = max(self.outcomes, key=lambda outcome: outcome.average())
        latest = self.outcomes[-1]
        return {
            "evaluation_count": len(self.outcomes),
            "eval_every_n_steps": self.eval_every_n_steps,
            "latest_performance": latest.average(),
            "latest_step": latest.step,
            "best_performance": best.average(),
            "best_step": best.step,
            "history": [(outcome.step, outcome.average()) for outcome in self.outcomes],
        }


def _generated_problems(count: int, domains: Sequence[str] | None, max_new_tokens: int) -> Evaluate:
    table: Any = None

    def evaluate(model: Any, tokenizer: Any) -> EvaluationResult:
        nonlocal table
        from grpo_project.data.held_out import generate_problems
        from grpo_project.domains import training_domains
        from grpo_project.evaluation import evaluate as solve
        from grpo_project.models.generation import complete_greedy

        if table is None:
            table = generate_problems(tuple(domains or training_domains()), count)

        def complete(rows: list[Any]) -> list[str]:
            return complete_greedy(model, tokenizer, [row.prompt for row in rows], max_new_tokens)

        return solve(table, range(len(table)), complete, "during training")

    return evaluate
