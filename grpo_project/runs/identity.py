"""What makes two runs the same run: fingerprints that a checkpoint keeps and a continued run must share."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from grpo_project.common.processors import usable_processors
from grpo_project.errors import ConfigError
from grpo_project.runs.checkpoint import RUN_STATE_FORMAT, read_run_state, require_names

logger = logging.getLogger(__name__)

LARGE_BYTES = 64 * 2**20  # of a larger file only the size and both ends are read
END_BYTES = 2**20
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "planner.json")
VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")

# name -> what it is in a message; a difference in one of these makes the continued run another run
FATAL = {
    "tokenizer": "the tokenizer",  # first: what it does to the training data is not theirs
    "data": "the training data (--data_root)",
    "prompts": "the text that the chat template makes of the prompts",
    "schedule": "the curriculum schedule",
    "reward": "the reward",
    "model": "the base model (--base_model)",
    "steering": "the problems that steer the run (--test_data, --eval_samples, --max_eval_samples)",
    "world_size": "the number of processes (world size)",
}
# the numbers may then differ in their last bits, or nothing may
TOLERATED = {
    "schedule_source": "the source of the curriculum schedule",
    "held_out": "the held-out problems, so before and after are measured on others",
    "versions": "the versions of the libraries",
    "threads": "the number of threads",
}


@dataclass(frozen=True)
class Difference:
    """`name`: the fingerprint; `text`: a sentence part with both values where they can be read; `fatal`: not the same run."""

    name: str
    text: str
    fatal: bool


def hash_of(value: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RunIdentity:
    """What a run is: its settings, the fingerprints of all that they name, and the text of its curriculum's schedule, if any.

    Every checkpoint keeps it as run_state.json, and a run that goes on is held against it before anything heavy is loaded.
    """

    settings: Mapping[str, Any]
    fingerprints: Mapping[str, Any]
    schedule_source: str = ""

    def refuse_changes(self, checkpoint: Path) -> None:
        """Raises ConfigError where what a continued run must share is not as it was; warns where only last digits may differ."""
        require_names(checkpoint, "fingerprints", self.fingerprints)
        for difference in differences(read_run_state(checkpoint)["fingerprints"], self.fingerprints):
            if difference.fatal:
                raise ConfigError(f"{difference.text} since {checkpoint} was written: restore it, or start a new run")
            logger.warning("%s since %s was written; the last digits may differ", difference.text, checkpoint)

    def state_dict(self) -> dict[str, Any]:
        return {
            "format": RUN_STATE_FORMAT,
            "settings": dict(self.settings),
            "fingerprints": dict(self.fingerprints),
            "schedule_source": self.schedule_source,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing: `refuse_changes` has looked at it long before."""


def of_the_machine(model: str, world_size: int) -> dict[str, Any]:
    """Fingerprints of model, tokenizer and machine. `model`: a folder, hashed, or a hub name, taken as it is."""
    return {
        "model": _model_fingerprint(Path(model)) if os.path.isdir(model) else model,
        "tokenizer": hash_of(_hashes(Path(model), TOKENIZER_FILES)) if os.path.isdir(model) else model,
        "world_size": world_size,
        "versions": versions(VERSIONED),
        "threads": os.environ.get("OMP_NUM_THREADS") or str(usable_processors()),
    }


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Where two descriptions differ, the fatal ones first. A fingerprint that one of them lacks is no difference."""
    found = []
    for names, fatal in ((FATAL, True), (TOLERATED, False)):
        for name, meaning in names.items():
            if name in saved and name in now and saved[name] != now[name]:
                found.append(Difference(name, f"{meaning} changed{_values(saved[name], now[name])}", fatal))
    return found


def _values(then: Any, now: Any) -> str:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        changed = [f"{name} {then.get(name)} -> {now.get(name)}" for name in names]
        return f" ({', '.join(changed)})"
    readable = all(isinstance(value, int) or (isinstance(value, str) and len(value) < 64) for value in (then, now))
    return f" ({then} -> {now})" if readable else ""


def _model_fingerprint(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    return hash_of(_hashes(folder, ("config.json", "adapter_config.json", *names)))


def _hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        path = folder / name
        if not path.is_file():
            continue
        size = path.stat().st_size
        with open(path, "rb") as handle:
            if size <= LARGE_BYTES:
                found[name] = hashlib.file_digest(handle, "sha256").hexdigest()
                continue
            digest = hashlib.sha256(str(size).encode())
            digest.update(handle.read(END_BYTES))
            handle.seek(-END_BYTES, os.SEEK_END)
            digest.update(handle.read())
            found[name] = digest.hexdigest()
    return found


def versions(packages: Sequence[str]) -> dict[str, str]:
    """{package: version} of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
