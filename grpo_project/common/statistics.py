"""Statistics of successes and failures: confidence intervals, pass@k, and whether two models differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from grpo_project.common.random_streams import stream

RESAMPLES = 10_000  # of a bootstrap
_RESAMPLES_AT_ONCE = 1_000  # bounds the memory; the draws are the same


class Interval(NamedTuple):
    """Bounds of a figure, low <= high; those of a proportion lie in [0, 1]."""

    low: float
    high: float


def wilson_interval(successes: float, count: float, z: float = 1.96) -> Interval:
    """The score interval of a proportion, (low, high) in [0, 1]; z = 1.96 makes it 95%. Without observations (0, 1).

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American Statistical
    Association 22 (1927), 209-212. Unlike the normal approximation it never leaves [0, 1] and keeps a width at 0 and 100%.
    Counts may be fractions where they stand for an average. Raises ValueError unless 0 <= successes <= count and z > 0 is finite.
    """
    if not 0 <= successes <= count:
        raise ValueError(f"successes must lie in 0..count, got {successes} of {count}")
    if not (math.isfinite(z) and z > 0):
        raise ValueError(f"z must be finite and above 0, got {z}")
    if count == 0:
        return Interval(0.0, 1.0)
    rate = successes / count
    scale = 1 + z * z / count
    centre = (rate + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    # The exact bounds at 0 and at count are 0 and 1; rounding would leave them a hair inside or outside.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == count else min(1.0, centre + half)
    return Interval(low, high)


def bootstrap_interval(values: Sequence[float], *names: object) -> Interval:
    """The 95% percentile interval of the mean of `values`, by resampling them; the same for the same values and `names`.

    B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979). Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values to resample")
    found = np.asarray(values, dtype=float)
    generator = np.random.default_rng(stream(0, "bootstrap", *names).getrandbits(64))
    means = [
        found[generator.integers(len(found), size=(_RESAMPLES_AT_ONCE, len(found)))].mean(axis=1)
        for _ in range(RESAMPLES // _RESAMPLES_AT_ONCE)
    ]
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return Interval(float(low), float(high))


def bootstrap_interval_of_rates(values: Sequence[float], *names: object) -> Interval:
    """The same where each of `values` is a problem's chance of success, in [0, 1].

    Where all are 0 or all are 1 resampling sees no variance, and Wilson's interval for as many problems stands in: it keeps the
    width that a small sample has.
    """
    if values and (set(values) <= {0.0} or set(values) <= {1.0}):
        return wilson_interval(sum(values), len(values))
    return bootstrap_interval(values, *names)


def pass_at_k(samples: int, successes: int, k: int) -> float:
    """The chance that at least one of k samples succeeds, estimated without bias from `successes` among `samples` >= k.

    1 - C(samples - successes, k) / C(samples, k): M. Chen et al., "Evaluating Large Language Models Trained on Code"
    (arXiv:2107.03374, 2021), equation 1. Raises ValueError unless 0 <= successes <= samples and 1 <= k <= samples.
    """
    if not 0 <= successes <= samples:
        raise ValueError(f"successes must lie in 0..samples, got {successes} of {samples}")
    if not 1 <= k <= samples:
        raise ValueError(f"k must lie in 1..{samples} (the number of samples), got {k}")
    return 1.0 - math.comb(samples - successes, k) / math.comb(samples, k)


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided exact p-value of McNemar's test, in (0, 1], from the problems that only one of two models solved.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika 12
    (1947); exact: under equality each such problem falls to either model with chance 1/2, so the count is binomial. Raises
    ValueError for a negative count.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"counts must be at least 0, got {only_first} and {only_second}")
    count = only_first + only_second
    tail = sum(math.comb(count, i) for i in range(min(only_first, only_second) + 1))
    return float(min(1.0, 2 * tail / 2**count))
