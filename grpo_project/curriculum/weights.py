"""Checks what a curriculum function returns: a weight for easy, medium and hard, or the same for each domain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import ConfigError

DomainWeights = dict[str, dict[str, float]]
DomainLevels = Mapping[str, Mapping[str, Mapping[str, float]]]

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


def split_levels(weights: Any, step: int, source: str) -> tuple[Any, dict[str, dict[str, dict[str, float]]]]:
    """(weights by bucket, shares within buckets) of what a curriculum answers; the second is empty unless it names levels.

    A bucket weighs as much as its levels together. Raises ConfigError for a bucket that there is not and for a level whose
    weight is no finite number >= 0.
    """
    named = isinstance(weights, Mapping) and [own for own in weights.values() if isinstance(own, Mapping)]
    if not named or not any(isinstance(levels, Mapping) for own in named for levels in own.values()):
        return weights, {}
    sums: dict[str, dict[str, float]] = {}
    shares: dict[str, dict[str, dict[str, float]]] = {}
    for domain, own in weights.items():
        sums[domain], shares[domain] = dict.fromkeys(BUCKETS, 0.0), {}
        for name, levels in own.items():
            if name not in BUCKETS or not isinstance(levels, Mapping) or not all(map(_is_weight, levels.values())):
                raise ConfigError(
                    f"{source} at step {step} gives {domain} {_shown({name: levels})}; return a finite weight >= 0 for each "
                    f"difficulty score of {', '.join(BUCKETS)}"
                )
            sums[domain][name] = math.fsum(levels.values())
            if sums[domain][name] > 0:
                shares[domain][name] = {level: weight / sums[domain][name] for level, weight in levels.items()}
    return sums, shares


def _is_weight(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and float(value) >= 0


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
