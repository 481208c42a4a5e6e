"""Checks what a curriculum function returns: a weight for easy, medium and hard, or the same for each domain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import ConfigError

DomainWeights = dict[str, dict[str, float]]

# Weights that sum to 1 up to this much are left as the user wrote them: 0.7 stays 0.7 in the log.
SUM_TOLERANCE = 1e-9


def normalise_weights(weights: Any, step: int, source: str = "get_curriculum_weights") -> dict[str, float]:
    """{easy, medium, hard} in this order, each in [0, 1], sum 1. `step` and `source` only name the culprit in messages.

    Raises ConfigError unless `weights` maps exactly these three names to finite numbers >= 0, not all 0.
    """
    where = f"{source} at step {step}"
    if not isinstance(weights, Mapping):
        raise ConfigError(f"{where} returned {_shown(weights)}; return a dict with the weights of {', '.join(BUCKETS)}")
    unknown = [str(name) for name in weights if name not in BUCKETS]
    missing = [name for name in BUCKETS if name not in weights]
    if unknown or missing:
        faults = [f"names {', '.join(unknown)}, which is no bucket"] if unknown else []
        faults += [f"leaves out {', '.join(missing)}"] if missing else []
        raise ConfigError(f"{where} {' and '.join(faults)}; return the weights of {', '.join(BUCKETS)} (0 is allowed)")
    values = {}
    for name in BUCKETS:
        value = weights[name]
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ConfigError(f"{where} gives {name} the weight {_shown(value)}; a weight is a number >= 0")
        try:
            values[name] = float(value)
        except OverflowError:  # an int beyond every float
            values[name] = math.inf
        if not math.isfinite(values[name]) or values[name] < 0:
            raise ConfigError(f"{where} gives {name} the weight {_shown(value)}; a weight is a finite number >= 0")
    largest = max(values.values())
    if largest == 0:
        raise ConfigError(f"{where} gives every bucket the weight 0; at least one must be above 0")
    if abs(sum(values.values()) - 1) <= SUM_TOLERANCE:
        return values
    # Divided by the largest first: a sum of huge weights would overflow.
    total = math.fsum(value / largest for value in values.values())
    return {name: value / largest / total for name, value in values.items()}


def domain_weights(weights: Any, domains: Sequence[str], step: int, source: str = "get_curriculum_weights") -> DomainWeights:
    """{domain: {easy, medium, hard}} for all `domains`, in their order, each summing to 1.

    `weights` is one mapping of the buckets for all domains, or one per domain: {domain: {bucket: weight}}. Raises ConfigError
    as `normalise_weights` does, and for a domain that is unknown or left out.
    """
    if not (isinstance(weights, Mapping) and weights and all(isinstance(value, Mapping) for value in weights.values())):
        shared = normalise_weights(weights, step, source)
        return {name: dict(shared) for name in domains}
    unknown = [str(name) for name in weights if name not in domains]
    missing = [name for name in domains if name not in weights]
    if unknown or missing:
        faults = [f"names {', '.join(unknown)}, which is no domain of this run"] if unknown else []
        faults += [f"leaves out {', '.join(missing)}"] if missing else []
        raise ConfigError(f"{source} at step {step} {' and '.join(faults)}; the domains are {', '.join(domains)}")
    return {name: normalise_weights(weights[name], step, f"{source} for {name}") for name in domains}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
