"""Which form every figure of a log line must have. Logs come from other versions and other hands; the page trusts this check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from grpo_project.common.metrics import METRICS, is_number

Check = Callable[[Any], bool]


def is_count(value: Any) -> bool:
    """A whole number of 0 or more."""
    return isinstance(value, int) and is_number(value) and value >= 0


def _share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _counts(length: int) -> Check:
    return lambda value: isinstance(value, list) and len(value) == length and all(map(is_count, value))


def _map(of: Check) -> Check:
    return lambda value: isinstance(value, Mapping) and all(map(of, value.values()))


def _list(of: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(of, value))


def _text(value: Any) -> bool:
    return isinstance(value, str)


_CHECKS: dict[str, Check] = {
    "number": lambda value: True,  # a single figure is checked where it is drawn: null says that it was NaN
    "count": is_count,
    "share": _share,
    "text": _text,
    "names": _list(_text),
    "alarms": lambda value: isinstance(value, list),
    "numbers": _map(lambda value: value is None or is_number(value)),
    "shares": _map(_share),
    "counts": _map(is_count),
    "pairs": _map(_counts(2)),
    "intervals": _map(_list(_share)),
    "cells": _map(_map(lambda value: _counts(3)(value) and value[2] <= value[1])),
    "solved_cells": _map(_map(lambda value: _counts(2)(value) and value[0] <= value[1])),
    "numbers_by_difficulty": _map(_map(is_number)),
}


def well_formed(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(the record without the figures that lack their form, the names of those). What METRICS does not know is let pass."""
    kept = {name: value for name, value in record.items() if name not in METRICS or _CHECKS[METRICS[name].form](value)}
    return kept, [name for name in record if name not in kept]
