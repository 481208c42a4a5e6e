"""The order in which TRL's GRPOTrainer sees the rows: the batch plans, laid out as TRL's own RepeatSampler lays out a dataset.

TRL splits what a sampler yields into generation batches of `prompts x num_generations` indices, and asks for the same
generation batch again for every micro-step and iteration that reuses its completions. Hand the sampler over by overriding
`_get_train_sampler`; the dataset holds the whole pool of rows, row i at place i.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from grpo_project.callbacks.timing import StepTimer
from grpo_project.configs.batches import BatchShape
from grpo_project.configs.settings import Settings
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.errors import ConfigError


class CurriculumSampler(Sampler[int]):
    """Row indices, generation batch after generation batch.

    Generation batch c holds the batches A*c .. A*c+A-1, one after another, where A is `batches_per_generation` (the batches of a
    step under gradient accumulation). Each of its prompts stands `num_generations` times in a row, and the whole generation
    batch comes `repeat_count` times (TRL: num_iterations x steps_per_generation) before generation batch c+1 begins.

    `len` counts indices: num_generation_batches x prompts_per_generation x num_generations x repeat_count. Iterating starts at
    batch 0 every time, which is what a resumed Trainer relies on: it skips what it has seen. `timer` counts what planning takes.
    Raises ConfigError for a count below 1.
    """

    def __init__(
        self,
        planner: BatchPlanner,
        *,
        num_generation_batches: int,
        num_generations: int,
        repeat_count: int = 1,
        batches_per_generation: int = 1,
        timer: StepTimer | None = None,
    ) -> None:
        counts = {
            "num_generation_batches": num_generation_batches,
            "num_generations": num_generations,
            "repeat_count": repeat_count,
            "batches_per_generation": batches_per_generation,
        }
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number of 1 or more, got {value!r}")
        self.planner = planner
        self.num_generation_batches = num_generation_batches
        self.num_generations = num_generations
        self.repeat_count = repeat_count
        self.batches_per_generation = batches_per_generation
        self._timer = timer or StepTimer()

    @classmethod
    def for_training(
        cls,
        planner: BatchPlanner,
        *,
        num_generations: int,
        max_steps: int,
        gradient_accumulation_steps: int = 1,
        steps_per_generation: int = 1,
        num_iterations: int = 1,
        batches_per_generation: int = 1,
        timer: StepTimer | None = None,
    ) -> CurriculumSampler:
        """The sampler that lasts for `max_steps` optimizer steps; the names are GRPOConfig's, and each must be 1 or more.

        The Trainer must not wrap into a second epoch, where the plan would begin again, so the last generation batch is whole
        even where the run ends within it.
        """
        repeat_count = num_iterations * steps_per_generation
        return cls(
            planner,
            num_generation_batches=-(-max_steps * gradient_accumulation_steps // max(repeat_count, 1)),
            num_generations=num_generations,
            repeat_count=repeat_count,
            batches_per_generation=batches_per_generation,
            timer=timer,
        )

    @property
    def prompts_per_generation(self) -> int:
        return self.batches_per_generation * self.planner.batch_size

    def generation(self, number: int) -> list[int]:
        """The prompts of generation batch `number` (from 0) as row indices, in order; `prompts_per_generation` long."""
        first = number * self.batches_per_generation
        batches = range(first, first + self.batches_per_generation)
        with self._timer.section("sampling"):
            return [index for batch in batches for index in self.planner.plan(batch).row_indices]

    def __iter__(self) -> Iterator[int]:
        for number in range(self.num_generation_batches):
            prompts = self.generation(number)
            for _ in range(self.repeat_count):
                for index in prompts:
                    for _ in range(self.num_generations):
                        yield index

    def __len__(self) -> int:
        return self.num_generation_batches * self.prompts_per_generation * self.num_generations * self.repeat_count


def row_sampler(config: Settings, shape: BatchShape, planner: BatchPlanner, timer: StepTimer) -> CurriculumSampler:
    """What the trainer of a run draws its rows from."""
    return CurriculumSampler.for_training(
        planner,
        num_generations=config.num_generations,
        max_steps=config.max_steps,
        gradient_accumulation_steps=shape.micro_batches,
        steps_per_generation=shape.micro_batches,
        num_iterations=config.num_iterations,
        batches_per_generation=shape.batches,
        timer=timer,
    )
