"""planner.json, the card of a model folder, and the settings that a model may bring along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_project.configs.setting import nature_of
from grpo_project.configs.settings import settings
from grpo_project.errors import ModelError

MODEL_CARD = "planner.json"


def read_model_card(model: str) -> dict[str, Any]:
    """planner.json of a model folder as plain data; {} when it has none. Raises ModelError when the file is broken."""
    path = Path(model) / MODEL_CARD
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(card, dict) or not isinstance(card.get("grpo_defaults", {}), dict):
        raise ModelError(f"{path} must hold an object, and its grpo_defaults too")
    return card


def model_defaults(card: Mapping[str, Any], model: str) -> dict[str, Any]:
    """`grpo_defaults` of a model card. Raises ModelError for a setting that a model may not choose."""
    defaults = dict(card.get("grpo_defaults", {}))
    allowed = {spec.name for spec in settings() if nature_of(spec).by_card}
    for name in defaults:
        if name not in allowed:
            raise ModelError(f"{Path(model) / MODEL_CARD}: grpo_defaults may not hold {name!r}")
    return defaults
