"""How one setting is described: a dataclass field that is also a flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

BUILT_IN = "built-in default"  # the source of a value that nobody gave


def setting(default: Any, kind: str, group: str, text: str, *, choices: Sequence[str] = (), flag: str = "") -> Any:
    """A field that is also a flag. `kind`: str, int, float, bool or names; `flag` is given where it is not --<name>."""
    meta = {"kind": kind, "group": group, "help": text, "choices": tuple(choices), "flag": flag}
    return field(default=default, metadata=meta)


def flag_of_field(spec: Any) -> str:
    """`--<name>` of a dataclass field, or the flag that was given for it."""
    return spec.metadata.get("flag") or f"--{spec.name}"
