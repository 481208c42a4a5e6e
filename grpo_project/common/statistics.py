"""Confidence intervals of rates."""

from __future__ import annotations

import math
from typing import NamedTuple


class Interval(NamedTuple):
    """Bounds of a proportion, 0 <= low <= high <= 1."""

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
