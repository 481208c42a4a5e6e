"""Whole numbers that always add up to the batch."""

from __future__ import annotations

from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.curriculum.quotas import domain_quotas, parse_domain_weights, shifted_quotas
from grpo_project.errors import ConfigError

FOUR = ("blocksworld", "ferry", "grippers", "spanner")


def test_weights_are_read_from_the_command_line() -> None:
    assert parse_domain_weights(["ferry=2", "spanner=3"]) == {"ferry": 2, "spanner": 3}
    assert parse_domain_weights([]) == {}


@pytest.mark.parametrize(
    "entry", ["ferry", "ferry=", "=2", "ferry=0", "ferry=-1", "ferry=1.5", "ferry=two", "ferry=2=3", "ferry=²"]
)
def test_anything_else_is_refused_with_an_example(entry: str) -> None:
    with pytest.raises(ConfigError, match="write domain=N with a whole number N of 1 or more, such as ferry=2"):
        parse_domain_weights([entry])


def test_a_domain_may_not_be_named_twice() -> None:
    with pytest.raises(ConfigError, match="names ferry twice"):
        parse_domain_weights(["ferry=2", "ferry=3"])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 120))
def test_quotas_are_in_the_exact_proportion_or_refused_with_sizes_that_work(weights: list[int], size: int) -> None:
    names = [f"d{place}" for place in range(len(weights))]
    given_weights = dict(zip(names, weights, strict=True))
    parts = sum(weights) // gcd(*weights)
    if size % parts:
        with pytest.raises(ConfigError) as error:
            domain_quotas(size, names, given_weights)
        nearest = int(str(error.value).split()[-1])
        assert sum(domain_quotas(nearest, names, given_weights).values()) == nearest
        return
    quotas = domain_quotas(size, names, given_weights)
    assert sum(quotas.values()) == size and min(quotas.values()) >= 1
    assert all(quotas[name] * weights[0] == quotas["d0"] * given_weights[name] for name in names)


def test_a_proportion_that_does_not_fit_says_which_sizes_do() -> None:
    with pytest.raises(ConfigError, match=r"ferry=2, grippers=1, spanner=1, 5 parts in all; sizes that work: 5, 10, .* 5 or 10$"):
        domain_quotas(8, FOUR, {"ferry": 2})
    with pytest.raises(ConfigError, match="names chess; the domains of this run are blocksworld"):
        domain_quotas(8, FOUR, {"chess": 2})


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_shifting_keeps_the_sum_and_starves_nobody(quotas: list[int], data: st.DataObject) -> None:
    before = {f"d{place}": quota for place, quota in enumerate(quotas)}
    favoured = data.draw(st.lists(st.sampled_from(sorted(before)), unique=True))
    after = shifted_quotas(before, favoured)
    assert sum(after.values()) == sum(quotas) and min(after.values()) >= 1
    assert all(after[name] >= before[name] for name in favoured)
    assert all(after[name] >= before[name] - max(1, before[name] // 4) for name in before)


def test_a_favoured_domain_gets_a_quarter_of_the_others() -> None:
    assert shifted_quotas(dict.fromkeys(FOUR, 8), ["ferry"]) == {"blocksworld": 6, "ferry": 14, "grippers": 6, "spanner": 6}
    assert shifted_quotas(dict.fromkeys(FOUR, 2), ["ferry"]) == {"blocksworld": 1, "ferry": 5, "grippers": 1, "spanner": 1}
    assert shifted_quotas(dict.fromkeys(FOUR, 1), ["ferry"]) == dict.fromkeys(FOUR, 1)
