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
    """How one optimizer step is cut up. Prompts: `batches` x `batch_size`; each of `world_size` processes trains on
    `micro_batch_size` of them at once, and samples `sampling_batch_size` of them at once (None: all of its share).

    `micro_batches`, of each process, is TRL's gradient_accumulation_steps and its steps_per_generation: one generation per
    optimizer step, so the completions are on-policy and the old log-probabilities need not be computed.
    """

    batch_size: int
    batches: int
    micro_batch_size: int
    num_generations: int
    world_size: int = 1
    sampling_batch_size: int | None = None

    @property
    def micro_batches(self) -> int:
        return self.batches * self.batch_size // (self.micro_batch_size * self.world_size)

    @property
    def prompts_per_step(self) -> int:
        return self.batches * self.batch_size

    @property
    def completions_per_micro_batch(self) -> int:
        return self.micro_batch_size * self.num_generations

    @property
    def completions_sampled_at_once(self) -> int:
        share = self.prompts_per_step // self.world_size
        return min(self.sampling_batch_size or share, share) * self.num_generations


def possible_micro_batches(config: Settings, device: str, world_size: int = 1) -> list[int]:
    """Sizes, in prompts, of a micro-batch that was not given, the largest first: at most what suits `device`."""
    prompts = config.batch_size * config.gradient_accumulation_steps
    fitting = max(1, (CPU_COMPLETIONS if device == "cpu" else GPU_COMPLETIONS) // config.num_generations)
    sizes = range(min(fitting, config.batch_size), 0, -1)
    return [size for size in sizes if config.batch_size % size == 0 and prompts % (size * world_size) == 0] or [1]


def batch_shape(config: Settings, device: str, world_size: int = 1) -> BatchShape:
    """The shape of a step on `device` (cpu or cuda). A micro-batch size that was not given is the largest that suits the device.

    The batch is shared out among `world_size` processes, so it holds the same with any number of them. Raises ConfigError
    where its prompts do not come out even.
    """
    prompts = config.batch_size * config.gradient_accumulation_steps
    micro = config.micro_batch_size or possible_micro_batches(config, device, world_size)[0]
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
        sampling_batch_size=config.sampling_batch_size,
    )
