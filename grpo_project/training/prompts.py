"""The prompts of the training rows, as this model reads them, and which of them it can read."""

from __future__ import annotations

from grpo_project.data.prompts import row_prompt
from grpo_project.errors import ConfigError
from grpo_project.models.loading import Policy
from grpo_project.prompting import render_chat
from grpo_project.training.console import say
from grpo_project.training.preparation import Preparation, leave_out


def fit_prompts(prepared: Preparation, policy: Policy) -> tuple[list[str], Preparation]:
    """(the user turn of every training row, the run without the rows whose prompt is too long); those are counted aloud.

    Raises DataError where a domain has no other, ConfigError where prompt and completion exceed what the model can read.
    """
    config = prepared.config
    limit = config.max_prompt_length
    prompts = [row_prompt(row, policy.prompt_style) for row in prepared.rows.rows]
    texts = [render_chat(policy.tokenizer, prompt) for prompt in prompts]
    lengths = [len(ids) for ids in policy.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    too_long = {index for index, length in enumerate(lengths) if length > limit}
    if too_long:
        why = f"prompts are longer than --max_prompt_length {limit} (the longest has {max(lengths)} tokens)"
        say(f"{len(too_long)} of {len(lengths)} problems are left out: {why}")
        prepared = leave_out(prepared, too_long, why)
    longest = max(length for index, length in enumerate(lengths) if index not in too_long)
    room = getattr(policy.model.config, "max_position_embeddings", None)
    if room is not None and longest + config.max_completion_length > room:
        raise ConfigError(
            f"the model reads {room} tokens, but the longest prompt has {longest} and --max_completion_length is "
            f"{config.max_completion_length}: lower it to {room - longest}, or set --max_prompt_length"
            if longest < room
            else f"the model reads {room} tokens, but the longest prompt has {longest}: set --max_prompt_length"
        )
    return prompts, prepared
