"""Quotas that move are whole numbers, sum to the batch, keep every domain, and go where groups differ."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.curriculum.adaptive_quotas import AdaptiveQuotas
from grpo_project.curriculum.base import GroupOutcome
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.curriculum.schedules import uniform
from grpo_project.errors import ConfigError

NAMES = ("blocksworld", "ferry", "grippers", "spanner")


def groups(reward_stds: dict[str, float], each: int = 4) -> list[GroupOutcome]:
    return [
        GroupOutcome(name, "easy", place, reward_std, 4, 8) for name, reward_std in reward_stds.items() for place in range(each)
    ]


def test_before_anything_was_seen_the_quotas_are_those_given() -> None:
    for given_quotas in ({"a": 4, "b": 4}, {"a": 6, "b": 3, "c": 1}, {"a": 1, "b": 1}):
        assert AdaptiveQuotas(given_quotas).quotas() == given_quotas


def test_prompts_go_where_groups_differ_and_come_back_when_they_no_longer_do() -> None:
    moving = AdaptiveQuotas(dict.fromkeys(NAMES, 4))
    seen = {"blocksworld": 0.3, "ferry": 0.4, "grippers": 0.1, "spanner": 0.0}
    for _ in range(20):
        moving.observe(groups(seen))
    # Floors of 2. 45 groups count after fading, and 4 guessed ones of 0.4: reward stds 0.308, 0.400, 0.124, 0.033; the 8 others
    # by their squares: 2.80, 4.71, 0.46, 0.03, the largest remainders up.
    assert moving.quotas() == {"blocksworld": 5, "ferry": 7, "grippers": 2, "spanner": 2}
    for _ in range(40):
        moving.observe(groups({"blocksworld": 0.4, "ferry": 0.05, "grippers": 0.0, "spanner": 0.0}))
    late = moving.quotas()
    assert late["blocksworld"] >= 8 and late["ferry"] <= 3 and min(late.values()) >= 2


def test_where_no_group_ever_differed_the_quotas_are_those_given() -> None:
    moving = AdaptiveQuotas(dict.fromkeys(NAMES, 4))
    moving.observe(groups(dict.fromkeys(NAMES, 0.0)))
    assert moving.quotas() == dict.fromkeys(NAMES, 4)


def test_a_domain_that_was_forgotten_is_taken_for_as_good_as_the_best() -> None:
    moving = AdaptiveQuotas({"a": 8, "b": 8})
    moving.observe(groups({"a": 0.5, "b": 0.0}, 40))
    assert moving.quotas()["b"] < 6
    moving.forget("b")
    assert moving.quotas() == {"a": 8, "b": 8}


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), max_size=12), max_size=8),
)
def test_always_whole_at_least_half_and_the_same_sum_and_a_saved_state_goes_on(
    sizes: list[int], generations: list[list[tuple[int, float]]]
) -> None:
    names = [f"d{place}" for place in range(len(sizes))]
    quotas = dict(zip(names, sizes, strict=True))
    moving = AdaptiveQuotas(quotas)
    for generation in generations:
        outcomes = [GroupOutcome(names[place % len(names)], "easy", 0, reward_std, 1, 8) for place, reward_std in generation]
        moving.observe(outcomes)
        found = moving.quotas()
        assert list(found) == names and sum(found.values()) == sum(sizes)
        assert all(isinstance(quota, int) and quota >= max(1, quotas[name] / 2) for name, quota in found.items())
        other = AdaptiveQuotas(quotas)
        other.load_state_dict(json.loads(json.dumps(moving.state_dict())))
        assert other.quotas() == found


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ({"kept": 0.0}, {"kept": 1.5}, {"sharpness": -1.0}, {"half_life": 0.0}, {"prior_groups": 0.0}):
        with pytest.raises(ConfigError, match="adaptive quotas need kept"):
            AdaptiveQuotas({"a": 2}, **wrong)
    with pytest.raises(ConfigError, match="of other domains"):
        AdaptiveQuotas({"a": 2}).load_state_dict({"b": [0.0, 0.0]})


@pytest.mark.parametrize("batches", [1, 2])
def test_batches_hold_the_moving_quotas_and_no_row_comes_twice_before_all_came_once(batches: int) -> None:
    rows = {name: {"easy": list(range(100 * d, 100 * d + 90)), "medium": [], "hard": []} for d, name in enumerate(("a", "b"))}
    engine = CurriculumEngine(uniform(rows), {"a": 4, "b": 4}, 40, adaptive_quotas=True, batches_per_generation=batches)
    planner = BatchPlanner(1, rows, 8, engine.decide, 40, batches_per_generation=batches)
    seen: list[int] = []
    quotas = []
    for generation in range(8):
        decision = engine.decide(generation)
        quotas.append(tuple(decision.quotas.values()))
        outcomes = []
        for batch in range(generation * batches, (generation + 1) * batches):
            plan = planner.plan(batch)
            assert {name: plan.domains.count(name) for name in rows} == decision.quotas
            seen += plan.row_indices
            # Now the one, now the other teaches, so the quotas go up and down.
            teaches = "a" if generation % 4 < 2 else "b"
            outcomes += [
                GroupOutcome(domain, "easy", row, 0.5 if domain == teaches else 0.0, 1, 8)
                for domain, row in zip(plan.domains, plan.row_indices, strict=True)
            ]
        engine.observe_groups(generation, outcomes)
    assert len(set(quotas)) > 2 and (4, 4) in quotas
    for domain in (0, 1):
        own = [row for row in seen if row // 100 == domain]
        assert len(own) <= 90 and len(set(own)) == len(own)
