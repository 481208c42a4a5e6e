"""Wilson's interval against known figures and its own definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.common.statistics import wilson_interval


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(0, 10, 0.0, 0.277545), (5, 10, 0.236590, 0.763410), (10, 10, 0.722455, 1.0), (81, 263, 0.255269, 0.366171)],
)
def test_known_figures(successes: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(successes, count) == pytest.approx((low, high), abs=1e-4)


def test_without_observations_nothing_is_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "count", "z"), [(-1, 5, 1.96), (6, 5, 1.96), (0, -1, 1.96), (1, 2, 0.0), (1, 2, math.nan)])
def test_impossible_counts_are_refused(successes: int, count: int, z: float) -> None:
    with pytest.raises(ValueError, match="must"):
        wilson_interval(successes, count, z)


@given(count=st.integers(1, 100_000), data=st.data(), z=st.floats(0.1, 5))
def test_bounds_hold_the_rate_and_solve_the_score_equation(count: int, data: st.DataObject, z: float) -> None:
    successes = data.draw(st.integers(0, count))
    low, high = wilson_interval(successes, count, z)
    rate = successes / count
    assert 0 <= low <= rate <= high <= 1
    assert low < high
    for bound in (low, high):  # the definition: the rates whose standard score is exactly z
        assert (rate - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / count, rel=1e-6, abs=1e-12)


@given(count=st.integers(1, 1000), data=st.data())
def test_failures_mirror_successes(count: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, count))
    low, high = wilson_interval(successes, count)
    mirrored = wilson_interval(count - successes, count)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-12)
