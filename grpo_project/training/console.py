"""What a run says on the console while all goes well: one line at a time, from rank 0. `endings.py` has the rest."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from grpo_project.common import ranks
from grpo_project.common.guide_lines import with_english
from grpo_project.configs.batches import BatchShape
from grpo_project.configs.training import TrainingConfig
from grpo_project.models.loading import Policy
from grpo_project.rewards.registry import NamedReward, PresetReward


def say(text: str) -> None:
    """One line on the console, at once, from rank 0."""
    if ranks.is_main():
        print(text, flush=True)


def describe_quotas(quotas: Mapping[str, int], batches: int) -> str:
    """`6 prompts of each domain`, or the number for each where they differ."""
    if len(set(quotas.values())) == 1:
        return f"{batches * next(iter(quotas.values()))} prompts of each domain"
    return ", ".join(f"{batches * quota} of {domain}" for domain, quota in quotas.items())


def silence_libraries() -> None:
    """Only warnings that say something about the run reach the console."""
    import warnings

    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    logging.getLogger("trl").setLevel(logging.ERROR)


def describe_model(config: TrainingConfig, policy: Policy, rewards: Sequence[NamedReward]) -> None:
    """What was loaded and for which lengths, and what is doubtful about the settings."""
    from grpo_project.models.penalties import off_policy_warning  # not before the backend, which imports Unsloth first

    for reward in rewards:
        for weakness in reward.function.config.weaknesses() if isinstance(reward.function, PresetReward) else ():
            say(f"warning: with these --reward_bands {weakness}")
    off_policy = off_policy_warning(config)
    if off_policy is not None:
        say(f"warning: {off_policy}")
    if policy.remark:
        say(f"warning: {policy.remark}")
    say(f"Backend: {policy.name}, because {policy.reason}")
    weights_in_all = sum(parameter.numel() for parameter in policy.model.parameters())
    say(f"Model: {config.base_model}, {weights_in_all / 1e6:.2f} M parameters, {policy.prompt_style} prompts")
    thinking = policy.chat.enable_thinking
    if thinking is not None:
        how = "reasons before each plan, within --max_completion_length" if thinking else "is asked for the plan alone"
        say(f"Chats: the model {how} (--enable_thinking {str(thinking).lower()})")
    prompt, completion = config.max_prompt_length, config.max_completion_length
    whole = config.script_config().sequence_length
    say(
        with_english(
            f"🔧 同步长度配置: prompt {prompt}, completion {completion}, 序列 {whole}", "lengths in tokens; 序列: both together"
        )
    )


def describe_step(shape: BatchShape, quotas: Mapping[str, int]) -> str:
    """`Each step: 8 prompts x 8 completions, 2 prompts of each domain, in 2 micro-batches`."""
    share = shape.prompts_per_step * shape.num_generations // shape.world_size
    return (
        f"Each step: {shape.prompts_per_step} prompts x {shape.num_generations} completions, "
        f"{describe_quotas(quotas, shape.batches)}, in {shape.micro_batches} micro-batches"
        + (f" on each of {shape.world_size} processes" if shape.world_size > 1 else "")
        + (f", sampled {sampled} completions at a time" if (sampled := shape.completions_sampled_at_once) < share else "")
    )
