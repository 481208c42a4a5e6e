"""Held-out success during training: real problems, really solved, every so many steps. Nothing is ever made up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback

from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.evaluation import EvaluationResult

logger = logging.getLogger(__name__)

# (model, tokenizer) -> result. Must leave weights, mode and random state as they were.
Evaluate = Callable[[Any, Any], EvaluationResult]
Listener = Callable[[EvaluationOutcome, Any], None]  # (outcome, the Trainer's control)


class EnhancedInferenceCallback(TrainerCallback):
    """Evaluates before the first step and after every `eval_every_n_steps`, and asks the Trainer for a log line there.

    evaluate: how; without one, `max_samples` problems of every domain (or of `domains`) are generated from a named seed and
    solved greedily in the full prompt style, which fits any chat model. `listener` hears each outcome at once. Once per step,
    however often the Trainer calls. `outcomes`: all so far, in order of steps; a resumed run fills in what it knows.
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
        self.outcomes: list[EvaluationOutcome] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self._run(state, control, kwargs)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.eval_every_n_steps == 0:
            self._run(state, control, kwargs)

    def _run(self, state: Any, control: Any, kwargs: dict[str, Any]) -> None:
        if self.outcomes and self.outcomes[-1].step >= state.global_step:
            return
        tokenizer = kwargs.get("processing_class", kwargs.get("tokenizer"))
        outcome = outcome_of(self._evaluate(kwargs.get("model"), tokenizer), state.global_step)
        self.outcomes.append(outcome)
        if state.global_step:
            control.should_log = True
        logger.debug("step %d: eval_avg_test_pass_rate %.4f", state.global_step, outcome.average())
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


def outcome_of(result: EvaluationResult, step: int) -> EvaluationOutcome:
    """The counts of a result by domain and bucket."""
    cells: dict[str, dict[str, tuple[int, int]]] = {domain: {} for domain in result.domains}
    for problem in result.problems:
        successes, count = cells[problem.domain].get(problem.bucket, (0, 0))
        cells[problem.domain][problem.bucket] = (successes + problem.success, count + 1)
    return EvaluationOutcome(step, cells)


def _generated_problems(count: int, domains: Sequence[str] | None, max_new_tokens: int) -> Evaluate:
    table: Any = None

    def evaluate(model: Any, tokenizer: Any) -> EvaluationResult:
        nonlocal table
        from grpo_project.data.held_out import generate_problems
        from grpo_project.domains import training_domains
        from grpo_project.evaluation import evaluate as judge
        from grpo_project.models.generation import complete_greedy

        if table is None:
            table = generate_problems(tuple(domains or training_domains()), count)

        def complete(rows: list[Any]) -> list[str]:
            return complete_greedy(model, tokenizer, [row.prompt for row in rows], max_new_tokens)

        return judge(table, range(len(table)), complete, "during training")

    return evaluate
