"""pass@k, bootstrap and McNemar against counting, simulation and scipy where it is installed."""

from __future__ import annotations

import itertools
import math

import pytest

from grpo_project.common.statistics import bootstrap_interval, bootstrap_interval_of_rates, mcnemar, pass_at_k, wilson_interval


@pytest.mark.parametrize("samples", range(1, 8))
def test_pass_at_k_is_the_share_of_all_choices_of_k_samples_that_hold_a_success(samples: int) -> None:
    for successes in range(samples + 1):
        outcomes = [True] * successes + [False] * (samples - successes)
        for k in range(1, samples + 1):
            choices = list(itertools.combinations(outcomes, k))
            assert pass_at_k(samples, successes, k) == pytest.approx(sum(map(any, choices)) / len(choices))


@pytest.mark.parametrize("arguments", [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)])
def test_pass_at_k_refuses_what_it_cannot_estimate(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        pass_at_k(*arguments)


def test_the_bootstrap_agrees_with_wilson_on_plain_successes_and_repeats_itself() -> None:
    values = [1.0] * 60 + [0.0] * 140
    low, high = bootstrap_interval(values)
    expected = wilson_interval(60, 200)
    assert low == pytest.approx(expected.low, abs=0.02) and high == pytest.approx(expected.high, abs=0.02)
    assert bootstrap_interval(values) == (low, high)
    few = [math.sqrt(prime) % 1 for prime in (2, 3, 5, 7, 11, 13, 17, 19)]
    assert bootstrap_interval(few) != bootstrap_interval(few, "another stream")


def test_a_small_sample_without_variance_keeps_a_width() -> None:
    assert bootstrap_interval_of_rates([0.0] * 5) == wilson_interval(0, 5)
    assert bootstrap_interval_of_rates([1.0] * 5) == wilson_interval(5, 5)
    assert bootstrap_interval_of_rates([1.0, 0.5]) == bootstrap_interval([1.0, 0.5])
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval_of_rates([])


@pytest.mark.parametrize(("first", "second", "p"), [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (0, 6, 2 / 64), (1, 7, 18 / 256)])
def test_mcnemar_on_cases_counted_by_hand(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(p)


def test_mcnemar_is_scipys_exact_binomial_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    for first, second in itertools.product((0, 1, 4, 13, 60), (0, 2, 5, 41, 200)):
        if first + second:
            assert mcnemar(first, second) == pytest.approx(stats.binomtest(first, first + second, 0.5).pvalue, rel=1e-9)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        mcnemar(-1, 2)
