"""More of what teaches something now, and nothing starved."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo_project.curriculum.adaptive import AdaptiveCurriculum
from grpo_project.curriculum.base import GroupOutcome
from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import ConfigError

ROWS = {
    "ferry": {"easy": range(40), "medium": range(40, 80), "hard": range(80, 100)},
    "spanner": {"easy": range(100, 180), "medium": range(180, 200), "hard": []},
}


def group(domain: str, bucket: str, reward_std: float) -> GroupOutcome:
    return GroupOutcome(domain, bucket, 0, reward_std, 0, 8)


def test_it_begins_as_the_control() -> None:
    weights = AdaptiveCurriculum(ROWS).weights(0, 10)
    assert weights["ferry"] == pytest.approx({"easy": 0.4, "medium": 0.4, "hard": 0.2})
    assert weights["spanner"] == pytest.approx({"easy": 0.8, "medium": 0.2, "hard": 0.0})


def test_it_prefers_what_has_variance_and_turns_when_that_changes() -> None:
    curriculum = AdaptiveCurriculum(ROWS)
    for _ in range(20):
        curriculum.observe_groups([group("ferry", "easy", 0.0), group("ferry", "medium", 0.9), group("ferry", "hard", 0.05)] * 2)
    early = curriculum.weights(0, 1)
    assert early["ferry"]["medium"] > 0.8
    assert early["spanner"] == pytest.approx(
        {"easy": 0.8, "medium": 0.2, "hard": 0.0}
    )  # another domain's variance counts for nothing
    for _ in range(40):
        curriculum.observe_groups([group("ferry", "easy", 0.0), group("ferry", "medium", 0.0), group("ferry", "hard", 0.9)] * 2)
    late = curriculum.weights(0, 1)
    assert late["ferry"]["hard"] > late["ferry"]["medium"] and late["ferry"]["hard"] > 0.6


def test_what_was_not_drawn_for_long_is_tried_again() -> None:
    curriculum = AdaptiveCurriculum(ROWS, half_life=2)
    for _ in range(10):
        curriculum.observe_groups([group("ferry", "easy", 0.5), group("ferry", "hard", 0.0)] * 4)
    down = curriculum.weights(0, 1)["ferry"]["hard"]
    for _ in range(20):
        curriculum.observe_groups([group("ferry", "easy", 0.5)] * 4)
    assert curriculum.weights(0, 1)["ferry"]["hard"] > 2 * down


observed = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["ferry", "spanner"]), st.sampled_from(BUCKETS), st.sampled_from([0.0, 1e-9, 0.3, 1.0])),
        max_size=6,
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(generations=observed, exploration=st.sampled_from([0.05, 0.2, 1.0]))
def test_no_bucket_with_rows_falls_below_its_exploration_share(
    generations: list[list[tuple[str, str, float]]], exploration: float
) -> None:
    curriculum = AdaptiveCurriculum(ROWS, exploration=exploration)
    for generation in generations:
        curriculum.observe_groups([group(*cell) for cell in generation])
    for domain, weights in curriculum.weights(0, 1).items():
        total = sum(map(len, ROWS[domain].values()))
        assert math.fsum(weights.values()) == pytest.approx(1, abs=1e-5)
        for name in BUCKETS:
            assert weights[name] >= exploration * len(ROWS[domain][name]) / total - 1e-6
            assert not math.isnan(weights[name])


def test_its_state_is_exact_plain_data() -> None:
    first, second = AdaptiveCurriculum(ROWS), AdaptiveCurriculum(ROWS)
    for reward_std in (0.1, 0.7, 1 / 3):
        first.observe_groups([group("ferry", "easy", reward_std)])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for one in (first, second):
        one.observe_groups([group("ferry", "hard", 0.2)])
    assert first.state_dict() == second.state_dict() and first.weights(0, 1) == second.weights(0, 1)
    with pytest.raises(ConfigError, match="other domains"):
        AdaptiveCurriculum({"ferry": ROWS["ferry"]}).load_state_dict(first.state_dict())


def test_after_a_collapse_a_domain_is_learned_anew() -> None:
    curriculum = AdaptiveCurriculum(ROWS)
    curriculum.observe_groups([group("ferry", "easy", 0.0), group("ferry", "hard", 1.0)] * 9)
    curriculum.observe_collapse("ferry")
    assert curriculum.weights(0, 1)["ferry"] == pytest.approx({"easy": 0.4, "medium": 0.4, "hard": 0.2})


@pytest.mark.parametrize(
    "how", [{"exploration": 0}, {"exploration": 1.1}, {"sharpness": -1}, {"half_life": 0}, {"prior_groups": 0}]
)
def test_settings_that_cannot_be_are_refused(how: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        AdaptiveCurriculum(ROWS, **how)
