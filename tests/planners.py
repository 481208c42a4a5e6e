"""Planners over a plain schedule, for tests that are about planning and not about deciding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from grpo_project.curriculum.base import Decision
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.curriculum.weights import domain_weights

Weights = Callable[[int, int], Mapping[str, Any]]


def scheduled_planner(
    seed: int, bucket_rows: Mapping[str, Any], batch_size: int, weights: Weights, max_steps: int, **more: Any
) -> BatchPlanner:
    """A planner whose every generation batch follows `weights(step, max_steps)`, with the quotas of the planner itself."""

    def decide(generation: int) -> Decision:
        step = planner.step_of(generation * planner.batches_per_generation)
        return Decision(domain_weights(weights(step, max_steps), planner.domains, step), planner.quotas)

    planner = BatchPlanner(seed, bucket_rows, batch_size, decide, max_steps, **more)
    return planner
