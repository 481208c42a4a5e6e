"""--grpo NAME=VALUE: fields of TRL's config that the suite has no setting for, each read by the type that TRL gives it."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any

from grpo_project.common.files import json_value
from grpo_project.errors import ConfigError

# Fields of these kinds decide where a run writes, what it saves, how it is launched or what it reports: the suite's own business,
# or accelerate's. `ref_model_` belongs to sync_ref_model, whose reference model no checkpoint holds.
OWNED_KINDS = tuple(
    "eval_ hub_ push_ log_ logging_ save_ do_ dataloader_ ddp_ fsdp deepspeed debug vllm_ trackio_ per_device_ include_ report_ "
    "load_best metric_for_best greater_is_better prediction_ batch_eval_ ref_model_ local_rank accelerator_ parallelism_ project "
    "enable_jit length_column label_names train_sampling skip_memory transformers_ use_transformers num_completions_to_print "
    "bf16 fp16 max_tool generation_ torch_compile".split()
)


def read_fields(texts: Mapping[str, str], config_class: Any, owned: Collection[str]) -> dict[str, Any]:
    """{field: value}. `owned`: fields that the suite sets itself.

    Raises ConfigError for one of those, for a field that `config_class` does not have, and for a value of another type.
    """
    hints = {field.name: field.type for field in dataclasses.fields(config_class)}
    found = {}
    for name, text in texts.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=3)
            known = f"; near it are {', '.join(near)}" if near else ""
            raise ConfigError(f"--grpo {name}: TRL's {config_class.__name__} has no such field{known}")
        if name in owned or name.startswith(OWNED_KINDS):
            raise ConfigError(
                f"--grpo {name}: the suite sets this field itself, since batches, checkpoints or reports hang on it: leave it out"
            )
        found[name] = _read(name, text, hints[name])
    return found


def _read(name: str, text: str, hint: Any) -> Any:
    plain = {"True": "true", "False": "false", "None": "null", "none": "null"}.get(text, text)
    candidates = [text]
    try:
        candidates.insert(0, json_value(plain))
    except ValueError:
        pass
    for value in candidates:
        if _fits(value, hint):
            return tuple(value) if isinstance(value, list) and "tuple" in str(hint) else value
    kind = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
    raise ConfigError(f"--grpo {name} must be of kind {kind}, got {text!r}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list or origin is tuple:
        kinds = list(arguments) if origin is tuple else list(arguments[:1]) * len(value if isinstance(value, list) else ())
        return isinstance(value, list) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin or hint) if isinstance(origin or hint, type) else False
