"""planner.json, the card of a model folder, and the settings that a model may bring along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_project.errors import ModelError

MODEL_CARD = "planner.json"
# What a model folder may bring along as its own defaults: how to train it, never where to write or what to read.
MODEL_MAY_SET = frozenset(
    "batch_size micro_batch_size gradient_accumulation_steps max_steps learning_rate lr_scheduler warmup_steps weight_decay "
    "adam_beta1 adam_beta2 max_grad_norm beta epsilon epsilon_high loss_type scale_rewards mask_truncated_completions "
    "num_iterations temperature num_generations max_prompt_length max_completion_length curriculum adaptive_quotas "
    "reward reward_bands save_steps logging_steps eval_samples lora_rank lora_alpha".split()
)


def read_model_card(model: str) -> dict[str, Any]:
    """planner.json of a model folder as plain data; {} when it has none. Raises ModelError when the file is broken."""
    path = Path(model) / MODEL_CARD
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(card, dict) or not isinstance(card.get("grpo_defaults", {}), dict):
        raise ModelError(f"{path} must hold an object, and its grpo_defaults too")
    return card


def model_defaults(card: Mapping[str, Any], model: str) -> dict[str, Any]:
    """`grpo_defaults` of a model card. Raises ModelError for a setting that a model may not choose."""
    defaults = dict(card.get("grpo_defaults", {}))
    for name in defaults:
        if name not in MODEL_MAY_SET:
            raise ModelError(f"{Path(model) / MODEL_CARD}: grpo_defaults may not hold {name!r}")
    return defaults
