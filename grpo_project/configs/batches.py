"""Settings of a run --> how one optimizer step is cut up into what fits the memory."""

from __future__ import annotations

from dataclasses import dataclass

from grpo_project.configs.settings import Settings
from grpo_project.errors import ConfigError

# Completions per micro-batch. On a CPU a small one stays in the cache: 192 at once took 2.5 s where 48 at a time took 1.4 s.
CPU_COMPLETIONS = 48
GPU_COMPLETIONS = 8


@dataclass(frozen=True)
class BatchShape:
    """How one optimizer step is cut up. Prompts: `batches` x `batch_size`; `micro_batch_size` of them in the memory of each of
    `world_size` processes at once.

    `micro_batches`, of each process, is TRL's gradient_accumulation_steps and its steps_per_generation: one generation per
    optimizer step, so the completions are on-policy and the old log-probabilities need not be computed.
    """

    batch_size: int
    batches: int
    micro_batch_size: int
    num_generations: int
    world_size: int = 1

    @property
    def micro_batches(self) -> int:
        return self.batches * self.batch_size // (self.micro_batch_size * self.world_size)

    @property
    def prompts_per_step(self) -> int:
        return self.batches * self.batch_size

    @property
    def completions_per_micro_batch(self) -> int:
        return self.micro_batch_size * self.num_generations


def batch_shape(config: Settings, device: str, world_size: int = 1) -> BatchShape:
    """The shape of a step on `device` (cpu or cuda). A micro-batch size that was not given is what suits the device.

    The batch is shared out among `world_size` processes, so it holds the same with any number of them. Raises ConfigError
    where its prompts do not come out even.
    """
    prompts = config.batch_size * config.gradient_accumulation_steps
    micro = config.micro_batch_size
    if micro is None:
        fitting = max(1, (CPU_COMPLETIONS if device == "cpu" else GPU_COMPLETIONS) // config.num_generations)
        sizes = [size for size in range(1, min(fitting, config.batch_size) + 1) if config.batch_size % size == 0]
        micro = max((size for size in sizes if prompts % (size * world_size) == 0), default=1)
    if prompts % (micro * world_size):
        raise ConfigError(
            f"{prompts} prompts per step (--batch_size x --gradient_accumulation_steps) cannot be shared out evenly among "
            f"{world_size} processes in micro-batches of {micro}: they must be a multiple of {micro * world_size}"
        )
    return BatchShape(
        batch_size=config.batch_size,
        batches=config.gradient_accumulation_steps,
        micro_batch_size=micro,
        num_generations=config.num_generations,
        world_size=world_size,
    )
