"""Which form every figure of a log line must have. Logs come from other versions and other hands; the page trusts this check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]

LARGEST = 2**53  # JavaScript counts no further


def is_number(value: Any) -> bool:
    """A finite int or float; no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_count(value: Any) -> bool:
    """A whole number of 0 or more."""
    return isinstance(value, int) and is_number(value) and value >= 0


def _rate(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _number_or_none(value: Any) -> bool:
    return value is None or is_number(value)


def _counts(length: int) -> Check:
    return lambda value: isinstance(value, list) and len(value) == length and all(map(is_count, value))


def _solved(value: Any) -> bool:
    """[successes, problems]"""
    return _counts(2)(value) and value[0] <= value[1]


def _map(of: Check) -> Check:
    return lambda value: isinstance(value, Mapping) and all(map(of, value.values()))


def _text(value: Any) -> bool:
    return isinstance(value, str)


# What is not named here is a single figure, checked where it is drawn, or nothing that the page draws.
_SHAPES: dict[str, Check] = {
    "step": is_count,
    "completions": is_count,
    "successes": is_count,
    "success_rate_by_domain": _map(_rate),
    "success_rate_by_difficulty": _map(_rate),
    "completions_by_domain": _map(is_count),
    "completions_by_difficulty": _map(is_count),
    "reward_by_domain": _map(_number_or_none),
    "reward_by_difficulty": _map(_number_or_none),
    "zero_variance_by_domain": _map(_rate),
    "curriculum_weights": _map(_number_or_none),
    "verdict_shares": _map(_rate),
    "bucket_shares": _map(_rate),
    "seconds_per_step": _map(is_number),
    "prompts_per_batch": _map(_counts(2)),
    "cells": _map(_map(lambda value: _counts(3)(value) and value[2] <= value[1])),
    "curriculum/stage": _text,
    "curriculum/expected_spread": _map(_map(is_number)),
    "eval_step": is_count,
    "eval_counts": _map(_map(_solved)),
    "eval_avg_test_pass_rate": _rate,
    "eval_avg_test_pass_rate_interval": _map(_rate),
    "eval_collapsed": lambda value: isinstance(value, list) and all(map(_text, value)),
    "alarms": lambda value: isinstance(value, list),
}


def well_formed(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(the record without the figures that lack their form, the names of those)."""
    kept = {name: value for name, value in record.items() if name not in _SHAPES or _SHAPES[name](value)}
    return kept, [name for name in record if name not in kept]
