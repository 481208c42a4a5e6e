"""Where the files and models are that settings name: as they stand, or in the repository."""

from __future__ import annotations

import os
from pathlib import Path

from grpo_project.common.files import named_in_utf8
from grpo_project.common.weights import require_whole_weights
from grpo_project.errors import ModelError

REPOSITORY = Path(__file__).resolve().parents[2]


def from_home(text: str) -> str:
    """`text` with the home folder for a `~/` in front, which shells leave alone behind a `=`, in variables and in files."""
    return os.path.expanduser(text) if text.startswith("~/") else text


def locate(path: str) -> Path | None:
    """`path` as it stands, or relative to the repository root; None when neither exists."""
    for candidate in (Path(os.path.expanduser(path)), REPOSITORY / path):
        if candidate.exists():
            return candidate
    return None


def locate_model(base_model: str) -> str:
    """The model folder as an absolute path, or the name unchanged when it can be a Hugging Face one.

    Raises ModelError for a path that does not exist, or a folder that holds no model, or none whose weights are whole.
    """
    found = locate(base_model)
    if found is None:
        parts = base_model.split("/")
        if len(parts) > 2 or base_model.startswith(("/", ".", "~")) or "\\" in base_model or not all(parts):
            raise ModelError(
                f"--base_model {base_model}: no such folder, here or in {REPOSITORY}. Give a folder that holds a model, or a "
                "Hugging Face name such as unsloth/Qwen2.5-7B-Instruct-bnb-4bit"
            )
        return base_model
    if not found.is_dir():
        raise ModelError(f"--base_model {base_model} is a file: give the folder that holds the model")
    if not (found / "config.json").exists() and not (found / "adapter_config.json").exists():
        raise ModelError(f"--base_model {base_model}: the folder has no config.json, so it holds no model")
    if not named_in_utf8(found):
        raise ModelError(
            f"--base_model {base_model} has a name that is not UTF-8, under which no tokenizer loads: give it another"
        )
    require_whole_weights(found)
    return str(found.resolve())
