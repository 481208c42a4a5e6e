"""TRL's GRPO trainer with ours on top, for tests that need one without a whole run."""

from __future__ import annotations

from typing import Any

from grpo_project.configs.batches import BatchShape
from grpo_project.configs.training import TrainingConfig


def grpo_arguments(
    config: TrainingConfig, shape: BatchShape, device: str, backend: str, output_dir: str, autocast: str = ""
) -> dict[str, Any]:
    """Every field of GRPOConfig, as a run would set it."""
    from trl import GRPOConfig

    from grpo_project.training.algorithms import ALGORITHMS, trainer_arguments

    return trainer_arguments(ALGORITHMS["grpo"], GRPOConfig, config, shape, device, backend, output_dir, autocast)


def grpo_trainer(config: TrainingConfig, shape: BatchShape, output_dir: str, shortcuts: bool = True, **parts: Any) -> Any:
    """On a CPU. `parts`: what a Trainer takes, and `row_sampler`, `observers` and the like where a test has its own."""
    from trl import GRPOConfig, GRPOTrainer

    from grpo_project.callbacks.timing import StepTimer
    from grpo_project.runs.observer import Observer
    from grpo_project.runs.states import RunStates
    from grpo_project.training.algorithms import ALGORITHMS
    from grpo_project.training.trainer import planning_trainer

    defaults = {"observers": Observer(), "timer": StepTimer(), "states": RunStates({})}
    return planning_trainer(GRPOTrainer)(
        args=GRPOConfig(**grpo_arguments(config, shape, "cpu", "transformers", output_dir)),
        shortcuts=shortcuts,
        regrouping=ALGORITHMS["grpo"].regrouping(config) if shortcuts else None,
        **{**defaults, **parts},
    )
