"""What users return from get_curriculum_weights is normalised or refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.curriculum.weights import domain_weights, normalise_weights
from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import ConfigError

GUIDE = [
    {"easy": 0.7, "medium": 0.25, "hard": 0.05},
    {"easy": 0.4, "medium": 0.4, "hard": 0.2},
    {"easy": 0.2, "medium": 0.4, "hard": 0.4},
    {"easy": 0.9, "medium": 0.1, "hard": 0.0},
]


@pytest.mark.parametrize("weights", GUIDE)
def test_weights_that_sum_to_one_stay_as_they_were_written(weights: dict[str, float]) -> None:
    assert normalise_weights(weights, 0) == weights
    assert str(normalise_weights(dict(reversed(weights.items())), 0)) == str(weights)


@given(values=st.tuples(*[st.floats(0, 1.7e308)] * 3).filter(lambda values: max(values) > 1e-300))
def test_shares_sum_to_one_and_keep_their_order(values: tuple[float, float, float]) -> None:
    shares = normalise_weights(dict(zip(BUCKETS, values, strict=True)), 0)
    assert list(shares) == list(BUCKETS)
    assert math.fsum(shares.values()) == pytest.approx(1, abs=2e-9)
    assert all(0 <= share <= 1 + 1e-9 for share in shares.values())
    for one, first in zip(shares.values(), values, strict=True):
        for other, second in zip(shares.values(), values, strict=True):
            assert one <= other or first >= second


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (None, "returned None"),
        ([0.7, 0.2, 0.1], "returned [0.7, 0.2, 0.1]"),
        ({}, "leaves out easy, medium, hard"),
        ({"easy": 1.0}, "leaves out medium, hard"),
        ({"easy": 1.0, "medium": 0, "hard": 0, "expert": 1}, "names expert"),
        ({"Easy": 1.0, "medium": 0, "hard": 0}, "names Easy, which is no bucket and leaves out easy"),
        ({"easy": -0.1, "medium": 1, "hard": 0}, "easy the weight -0.1"),
        ({"easy": math.nan, "medium": 1, "hard": 0}, "easy the weight nan"),
        ({"easy": 1, "medium": math.inf, "hard": 0}, "medium the weight inf"),
        ({"easy": 10**400, "medium": 0, "hard": 0}, "easy the weight 1000"),
        ({"easy": 1, "medium": 0, "hard": "0.5"}, "hard the weight '0.5'"),
        ({"easy": True, "medium": 0, "hard": 0}, "easy the weight True"),
        ({"easy": 0, "medium": 0.0, "hard": 0}, "every bucket the weight 0"),
    ],
)
def test_unusable_weights_name_the_step_and_the_function(weights: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        normalise_weights(weights, 137, "my_schedule")
    assert words in str(error.value)
    assert "my_schedule at step 137" in str(error.value)
    assert "\n" not in str(error.value)


def test_one_mapping_serves_all_domains_or_each_has_its_own() -> None:
    shared, own = GUIDE[0], {"b": GUIDE[1], "a": {"easy": 2, "medium": 1, "hard": 1}}
    assert domain_weights(shared, ["a", "b"], 0) == {"a": shared, "b": shared}
    found = domain_weights(own, ["a", "b"], 0)
    assert list(found) == ["a", "b"]
    assert found == {"a": {"easy": 0.5, "medium": 0.25, "hard": 0.25}, "b": GUIDE[1]}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"a": GUIDE[0]}, "leaves out b"),
        ({"a": GUIDE[0], "b": GUIDE[0], "chess": GUIDE[0]}, "names chess"),
        ({"a": GUIDE[0], "b": {"easy": 1}}, "for b at step 4 leaves out medium, hard"),
        ({}, "leaves out easy"),
    ],
)
def test_weights_by_domain_are_checked_too(weights: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        domain_weights(weights, ["a", "b"], 4)
    assert words in str(error.value)
