"""Every batch holds its exact quota, depends on nothing but its number, and follows the weights."""

from __future__ import annotations

import logging
import pickle
import random
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planners import scheduled_planner

from grpo_project.curriculum.batch_plan import BatchPlanner, nearest_buckets
from grpo_project.curriculum.quotas import domain_quotas
from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import ConfigError

FOUR = ("blocksworld", "ferry", "grippers", "spanner")
EARLY = {"easy": 0.7, "medium": 0.25, "hard": 0.05}
LATE = {"easy": 0.2, "medium": 0.4, "hard": 0.4}

Pools = dict[str, dict[str, list[int]]]


def schedule(step: int, max_steps: int) -> Mapping[str, float]:
    return EARLY if step < max_steps // 2 else LATE


def pools(sizes: Mapping[str, tuple[int, int, int]]) -> Pools:
    """Rows numbered through: {"ferry": (2, 1, 0)} -> {"ferry": {"easy": [0, 1], "medium": [2], "hard": []}}."""
    filled: Pools = {}
    number = 0
    for domain, counts in sizes.items():
        filled[domain] = {}
        for bucket, count in zip(BUCKETS, counts, strict=True):
            filled[domain][bucket] = list(range(number, number + count))
            number += count
    return filled


def planner(sizes: Mapping[str, tuple[int, int, int]] | None = None, **changes: Any) -> BatchPlanner:
    given: dict[str, Any] = {
        "seed": 0,
        "bucket_rows": pools(sizes or dict.fromkeys(FOUR, (40, 40, 20))),
        "batch_size": 8,
        "weights": schedule,
        "max_steps": 100,
    }
    return scheduled_planner(**given | changes)


def homes(bucket_rows: Pools) -> dict[int, tuple[str, str]]:
    return {
        index: (domain, bucket)
        for domain, buckets in bucket_rows.items()
        for bucket, members in buckets.items()
        for index in members
    }


sizes_of_a_domain = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)).filter(any)
weight = st.sampled_from([0.0, 0.05, 0.25, 0.7, 1.0])
weights = st.fixed_dictionaries(dict.fromkeys(BUCKETS, weight)).filter(lambda given: any(given.values()))


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(sizes_of_a_domain, min_size=1, max_size=6),
    quota=st.integers(1, 5),
    own=weights,
    seed=st.integers(),
    batch=st.integers(0, 10**9),
)
def test_quotas_are_exact_and_rows_are_where_the_plan_says(
    sizes: list[tuple[int, int, int]], quota: int, own: dict[str, float], seed: int, batch: int
) -> None:
    names = [f"d{number}" for number in range(len(sizes))]
    bucket_rows = pools(dict(zip(names, sizes, strict=True)))
    size = quota * len(names)
    plan = scheduled_planner(seed, bucket_rows, size, lambda step, max_steps: own, 10).plan(batch)
    assert len(plan.row_indices) == len(plan.domains) == len(plan.buckets) == size
    assert list(plan.domains) == names * quota
    home = homes(bucket_rows)
    assert [home[index] for index in plan.row_indices] == list(zip(plan.domains, plan.buckets, strict=True))
    for name, counts in zip(names, sizes, strict=True):
        rows = [index for index, domain in zip(plan.row_indices, plan.domains, strict=True) if domain == name]
        assert len(rows) == quota
        assert len(set(rows)) == min(quota, sum(counts))  # no row twice while the domain has another


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 5), order=st.permutations(range(12)), data=st.data())
def test_a_plan_depends_on_nothing_but_its_number(seed: int, order: list[int], data: st.DataObject) -> None:
    sizes = data.draw(st.fixed_dictionaries(dict.fromkeys(FOUR, sizes_of_a_domain)))
    straight = [planner(sizes, seed=seed).plan(batch) for batch in range(12)]
    one = planner(sizes, seed=seed)
    assert {batch: one.plan(batch) for batch in order} == dict(enumerate(straight))
    assert list(one.plans(12)) == straight


def test_planning_leaves_the_global_generator_alone() -> None:
    random.seed(3)
    before = random.getstate()
    planner().plan(5)
    assert random.getstate() == before


def test_the_order_in_which_rows_came_does_not_matter() -> None:
    bucket_rows = pools(dict.fromkeys(FOUR, (10, 10, 5)))
    turned = {domain: {name: members[::-1] for name, members in own.items()} for domain, own in bucket_rows.items()}
    assert list(planner(bucket_rows=turned).plans(9)) == list(planner(bucket_rows=bucket_rows).plans(9))


def test_seeds_batches_and_domains_have_streams_of_their_own() -> None:
    one = planner(batch_size=40)
    by_seed = {tuple(planner(seed=seed, batch_size=40).plan(0).row_indices) for seed in range(20)}
    by_batch = {one.plan(batch).row_indices for batch in range(20)}
    assert len(by_seed) == len(by_batch) == 20
    places = {tuple(index % 100 for index in one.plan(0).row_indices[start::4]) for start in range(4)}
    assert len(places) == 4
    buckets = {one.plan(0).buckets[start::4] for start in range(4)}
    assert len(buckets) == 4
    # Seed 0 batch 1 must not be seed 1 batch 0.
    assert planner(seed=0, batch_size=40).plan(1).row_indices != planner(seed=1, batch_size=40).plan(0).row_indices


@pytest.mark.parametrize("weights", [EARLY, LATE, {"easy": 0.0, "medium": 0.0, "hard": 1.0}])
def test_buckets_are_drawn_in_proportion_to_their_weights(weights: dict[str, float]) -> None:
    one = planner(weights=lambda step, max_steps: weights, batch_size=16)
    drawn = Counter(pair for plan in one.plans(1000) for pair in zip(plan.domains, plan.buckets, strict=True))
    for domain in FOUR:
        for bucket, share in weights.items():
            # 4000 draws per domain: a standard deviation is at most 0.8 points.
            assert drawn[domain, bucket] / 4000 == pytest.approx(share, abs=0.03)
            if share in (0, 1):
                assert drawn[domain, bucket] == 4000 * share


def test_domains_may_have_weights_of_their_own() -> None:
    own = {name: {"easy": 0, "medium": 0, "hard": 1} if name == "ferry" else {"easy": 1, "medium": 0, "hard": 0} for name in FOUR}
    plan = planner(weights=lambda step, max_steps: own).plan(0)
    assert set(zip(plan.domains, plan.buckets, strict=True)) == {(name, "hard" if name == "ferry" else "easy") for name in FOUR}
    assert plan.weights == {"easy": 0.75, "medium": 0.0, "hard": 0.25}
    assert plan.domain_weights["ferry"]["hard"] == 1


def test_rows_are_covered_evenly() -> None:
    always_easy = planner(weights=lambda step, max_steps: {"easy": 1, "medium": 0, "hard": 0})
    rows = always_easy._pools["ferry"]["easy"]
    seen = Counter(index for plan in always_easy.plans(100) for index in plan.row_indices)  # 200 draws over 40 rows
    assert {seen[index] for index in rows} == {5}
    mixed = Counter(index for plan in planner(weights=lambda *_: LATE).plans(3000) for index in plan.row_indices)
    counts = [mixed[index] for index in rows]  # 30 on average
    assert sum(counts) / len(counts) == pytest.approx(30, rel=0.1)
    assert min(counts) > 12
    assert max(counts) < 50


def test_an_empty_bucket_gives_way_to_the_nearest_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    sizes = dict.fromkeys(FOUR, (40, 40, 20)) | {"spanner": (40, 40, 0), "ferry": (0, 0, 20)}
    one = planner(sizes, weights=lambda step, max_steps: LATE)
    with caplog.at_level(logging.WARNING):
        plans = list(one.plans(100))
    drawn = Counter(pair for plan in plans for pair in zip(plan.domains, plan.buckets, strict=True))
    assert drawn["ferry", "hard"] == 200
    assert drawn["spanner", "medium"] == pytest.approx(160, abs=25)  # its own 40% and the 40% of hard
    assert sorted(caplog.messages) == [
        "ferry has no easy rows; hard ones stand in",
        "ferry has no medium rows; hard ones stand in",
        "spanner has no hard rows; medium ones stand in",
    ]


def test_nearest_buckets_prefer_the_easier_one() -> None:
    assert [nearest_buckets(name) for name in BUCKETS] == [
        ("easy", "medium", "hard"),
        ("medium", "easy", "hard"),
        ("hard", "medium", "easy"),
    ]


def test_a_used_up_bucket_borrows_before_it_repeats() -> None:
    plan = planner({"ferry": (5, 0, 1)}, batch_size=4, weights=lambda *_: {"easy": 0, "medium": 0, "hard": 1}).plan(0)
    assert Counter(plan.buckets) == {"hard": 1, "easy": 3}
    assert len(set(plan.row_indices)) == 4


def test_each_batch_follows_the_weights_of_its_own_step() -> None:
    asked: list[tuple[int, int]] = []

    def record(step: int, max_steps: int) -> Mapping[str, float]:
        asked.append((step, max_steps))
        return schedule(step, max_steps)

    one = planner(weights=record)
    assert [one.plan(batch).weights for batch in (0, 49, 50, 99)] == [EARLY, EARLY, LATE, LATE]
    assert asked == [(0, 100), (49, 100), (50, 100), (99, 100)]
    assert one.plan(500).step == 99  # planned ahead of the end


@pytest.mark.parametrize(
    ("steps_per_batch", "batches_per_generation", "expected"),
    [
        (1, 1, [0, 1, 2, 3, 4, 5, 6, 7]),
        (2, 1, [0, 2, 4, 6, 8, 10, 12, 14]),
        (1 / 2, 1, [0, 0, 1, 1, 2, 2, 3, 3]),
        (1 / 3, 3, [0, 0, 0, 1, 1, 1, 2, 2]),
        (Fraction(3, 2), 2, [0, 0, 3, 3, 6, 6, 9, 9]),
        (2 / 2, 2, [0, 0, 2, 2, 4, 4, 6, 6]),
    ],
)
def test_steps_of_batches(steps_per_batch: float, batches_per_generation: int, expected: list[int]) -> None:
    one = planner(steps_per_batch=steps_per_batch, batches_per_generation=batches_per_generation)
    assert [one.step_of(batch) for batch in range(8)] == expected


def test_a_step_of_many_batches_ends_exactly_where_it_should() -> None:
    for batches in range(1, 200):
        one = planner(steps_per_batch=1 / batches)
        assert [one.step_of(batches - 1), one.step_of(batches), one.step_of(2 * batches)] == [0, 1, 2]


def test_the_guides_table_of_batch_sizes() -> None:
    assert [domain_quotas(size, FOUR) for size in (8, 12, 16)] == [dict.fromkeys(FOUR, quota) for quota in (2, 3, 4)]
    with pytest.raises(ConfigError) as error:
        planner(batch_size=10)
    assert str(error.value) == (
        "--batch_size 10 is not divisible by the 4 domains (blocksworld, ferry, grippers, spanner); "
        "sizes that work: 4, 8, 12, 16, ..., nearest to yours: 8 or 12"
    )


@given(count=st.integers(1, 9), size=st.integers(-5, 100))
def test_a_batch_size_comes_out_even_or_is_refused_with_ones_that_do(count: int, size: int) -> None:
    names = [f"d{number}" for number in range(count)]
    if size > 0 and size % count == 0:
        assert domain_quotas(size, names) == dict.fromkeys(names, size // count)
        return
    with pytest.raises(ConfigError) as error:
        domain_quotas(size, names)
    for proposed in str(error.value).rpartition(": ")[2].split(" or "):
        assert min(domain_quotas(int(proposed), names).values()) >= 1
        assert abs(int(proposed) - size) < count or size < count


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bucket_rows": {}}, "no domain"),
        ({"bucket_rows": {"ferry": {"easy": [], "hard": []}}}, "ferry has no rows"),
        ({"bucket_rows": {"ferry": {"easy": [1], "expert": [2]}}}, "ferry has rows in expert"),
        ({"bucket_rows": {"ferry": {"easy": [1], "hard": [1]}}}, "row 1 stands twice, in ferry easy and in ferry hard"),
        ({"bucket_rows": {"ferry": {"easy": [-1]}}}, "negative row index"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"batch_size": True}, "whole number"),
        ({"batch_size": 8.0}, "whole number"),
        ({"max_steps": 0}, "max_steps"),
        ({"steps_per_batch": 0}, "steps_per_batch"),
        ({"steps_per_batch": float("nan")}, "steps_per_batch"),
        ({"batches_per_generation": 0}, "batches_per_generation"),
    ],
)
def test_planners_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        planner(**changes)


def test_bad_weights_and_batches_are_refused_when_planned() -> None:
    with pytest.raises(ConfigError, match="get_curriculum_weights at step 7 leaves out hard"):
        planner(weights=lambda *_: {"easy": 1, "medium": 1}).plan(7)
    with pytest.raises(ConfigError, match="names chess, which is no domain"):
        planner(weights=lambda *_: {**dict.fromkeys(FOUR, EARLY), "chess": EARLY}).plan(0)
    for batch in (-1, True, 1.0):
        with pytest.raises(ValueError, match="count from 0"):
            planner().plan(batch)


def test_plans_are_plain_data() -> None:
    plan = planner().plan(3)
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert (plan.batch, plan.step) == (3, 3)
