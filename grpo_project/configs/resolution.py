"""From what was given to a TrainingConfig: texts to values, layers of values to the one that counts, and where it came from.

Precedence: command line > environment > --config_file > run being continued > `grpo_defaults` of the model's planner.json >
built-in default.
"""

from __future__ import annotations

import difflib
import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_project.common.files import json_settings
from grpo_project.common.paths import from_home
from grpo_project.configs.setting import BUILT_IN, kind_of, true_or_false
from grpo_project.configs.settings import Settings, default_of, settings
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError

_PART = re.compile(r"(?:\[[^\]]*\]|\{[^}]*\}|[^\s,])+")  # spaces and commas inside brackets belong to a part


def convert(name: str, text: str, where: str) -> Any:
    """The value of a setting written as text. Raises ConfigError naming `where` when the text does not fit its kind."""
    kind = kind_of(Settings.__dataclass_fields__[name])
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "bool":
            return true_or_false(text)
        if kind.startswith("tuple"):
            return tuple(from_home(part) for part in _PART.findall(text))
    except ValueError:
        wanted = {"int": "a whole number", "float": "a number", "bool": "true or false"}[kind]
        raise ConfigError(f"{where} must be {wanted}, got {text!r}") from None
    return from_home(text)


def resolve(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> TrainingConfig:
    """The config in which every setting has the value of the first layer that names it, else its built-in default.

    `layers` are (source, values) pairs, the strongest first. Raises ConfigError for an unknown name or a value out of range.
    """
    known = {spec.name for spec in settings()}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {name: BUILT_IN for name in known}
    for source, layer in layers:
        for name, value in layer.items():
            if name not in known:
                raise ConfigError(f"{source}: there is no setting {name!r}{_did_you_mean(name, known)}")
            if name not in values:
                values[name] = _of_right_kind(name, value, source)
                sources[name] = source
    return TrainingConfig(**values, sources=sources)


def describe_settings(config: TrainingConfig) -> str:
    """One line per setting: name, value, and where the value came from."""
    values = config.as_dict()
    width, middle = max(map(len, values)), max(len(json.dumps(value)) for value in values.values())
    lines = [f"{name:<{width}}  {json.dumps(values[name]):<{min(middle, 60)}}  {config.sources.get(name, '')}" for name in values]
    return "\n".join(lines)


def read_config_file(path: str) -> dict[str, Any]:
    """The settings in a JSON file, each of its kind. Raises ConfigError where it is none, or names a file of its own."""
    try:
        found = json_settings(Path(from_home(path)).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config_file {path} cannot be read: {error}") from None
    if not isinstance(found, dict) or "config_file" in found:
        raise ConfigError(f"--config_file {path} must hold one JSON object of settings, without config_file among them")
    known = {spec.name for spec in settings()}
    return {name: _of_right_kind(name, value, path) if name in known else value for name, value in found.items()}


def _did_you_mean(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _of_right_kind(name: str, value: Any, source: str) -> Any:
    """JSON knows no tuples and may write 1 for 1.0; anything else of a wrong kind is refused."""
    kind = kind_of(Settings.__dataclass_fields__[name])
    if value is None:
        if default_of(name) is not None:
            raise ConfigError(f"{source}: {name} must have a value")
        return None
    if kind.startswith("tuple") and isinstance(value, (str, list, tuple)):
        parts = (value,) if isinstance(value, str) else tuple(value)
        if all(isinstance(part, str) for part in parts):
            return tuple(from_home(part) for part in parts)
    if kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{source}: {name} is beyond every number of kind float") from None
    wanted = {"str": str, "int": int, "bool": bool}.get(kind)
    if wanted is None or not isinstance(value, wanted) or (kind == "int" and isinstance(value, bool)):
        raise ConfigError(f"{source}: {name} must be of kind {kind}, got {reprlib.repr(value)}")
    return from_home(value) if isinstance(value, str) else value
