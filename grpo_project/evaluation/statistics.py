"""What can be concluded from successes and failures: pass@k, its uncertainty, and whether two models differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from grpo_project.common.random_streams import stream
from grpo_project.common.statistics import Interval, wilson_interval

RESAMPLES = 2000


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


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The 95% percentile interval of the mean of `values` (one a problem, in [0, 1]), by resampling problems.

    B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979). The same for the same values and
    seed. Where all values are 0 or all are 1 resampling sees no variance, and Wilson's interval for as many problems stands in:
    it keeps the width that a small sample has. Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values to resample")
    if set(values) <= {0.0} or set(values) <= {1.0}:
        return wilson_interval(int(sum(values)), len(values))
    generator = np.random.Generator(np.random.PCG64(stream(seed, "bootstrap").getrandbits(64)))
    drawn = generator.integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.asarray(values)[drawn].mean(axis=1), [2.5, 97.5])
    return Interval(float(low), float(high))


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
