"""Evaluations of a run: greedy success on held-out problems before and after training, and on those that steer it during."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from grpo_project.common import ranks
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import Row
from grpo_project.evaluation import EvaluationResult, evaluate
from grpo_project.models.forecast import Forecast
from grpo_project.models.loading import Policy
from grpo_project.runs.run_folder import RunFolder
from grpo_project.training.console import say, show_progress
from grpo_project.training.preparation import Preparation

EVALUATED_AT_ONCE = 64  # completions


@dataclass(frozen=True)
class Evaluator:
    """The held-out problems of a run and the model that solves them, as it is when it is asked.

    `forecast`: what the GPU has room for, None where unknown.
    """

    prepared: Preparation
    policy: Policy
    folder: RunFolder
    forecast: Forecast | None

    def evaluate_held_out(self, when: str) -> EvaluationResult | None:
        """Success on the problems that judge the run, also as evaluation_<when>.json; None without any. `when`: before, after.

        A continued run takes what the first attempt found before training.
        """
        if self.prepared.held_out is None:
            return None
        # Generation gathers the parts of a sharded model, so all must take part; before training every process has all of it.
        together = ranks.shards_parameters() and when == "after"
        if not ranks.is_main() and not together:
            return None  # training begins when all are there
        path = self.folder.path / f"evaluation_{when}.json"
        if when == "before" and self.prepared.checkpoint is not None and path.exists():
            return EvaluationResult.from_json(json.loads(path.read_text(encoding="utf-8")))
        complete = self._complete(show_progress)
        result = evaluate(self.prepared.held_out, self.prepared.held_out_rows, complete, f"{when} training")
        if not ranks.is_main():
            return None
        self.folder.write_json(path.name, result.to_json())
        rates = ", ".join(f"{domain} {result.rate(domain):.1%}" for domain in result.domains)
        say(f"Held-out success {when} training, greedy: {rates}; average {result.average():.1%} ({result.seconds:.0f} s)")
        return result

    def evaluate_feedback(self) -> EvaluationResult:
        """Success on the problems that steer the run, shared out among the processes; every process gets the whole result."""
        prepared = self.prepared
        assert prepared.feedback is not None  # the callback is made only then
        if ranks.shards_parameters():  # every forward pass is one of all processes: they must make the same ones
            return evaluate(prepared.feedback, prepared.feedback_rows, self._complete(), "during training")
        own = list(prepared.feedback_rows)[ranks.rank() :: ranks.world_size()]
        result = evaluate(prepared.feedback, own, self._complete(), "during training")
        return replace(result, problems=tuple(ranks.gather(list(result.problems))))

    def _complete(self, progress: Any = None) -> Callable[[list[Row]], list[str]]:
        """Rows to greedy answers."""
        from grpo_project.models.generation import complete_greedy

        def complete(rows: list[Row]) -> list[str]:
            prompts = [row_prompt(row, self.policy.prompt_style) for row in rows]
            limit = self.prepared.config.max_completion_length
            at_once = EVALUATED_AT_ONCE
            if self.policy.device != "cpu" and self.forecast is not None:
                at_once = min(at_once, self.forecast.load.generated)  # what fits while training fits here
            return complete_greedy(self.policy.model, self.policy.tokenizer, prompts, limit, at_once, progress)

        return complete
