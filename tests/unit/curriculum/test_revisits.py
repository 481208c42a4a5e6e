"""Problems that taught something come again, within the quotas, and never twice at a time."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.curriculum.base import Decision, GroupOutcome
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.curriculum.revisits import HALF_LIFE, Revisits
from grpo_project.curriculum.schedules import uniform
from grpo_project.errors import ConfigError

ROWS: dict[str, dict[str, list[int]]] = {
    "ferry": {"easy": list(range(20)), "medium": [], "hard": list(range(20, 40))},
    "spanner": {"easy": [], "medium": list(range(40, 80)), "hard": []},
}
HOME = {row: (domain, bucket) for domain, own in ROWS.items() for bucket, rows in own.items() for row in rows}


def group(row: int, spread: float) -> GroupOutcome:
    return GroupOutcome(*HOME[row], row, spread, 4 if spread else 8, 8)


def test_only_what_had_variance_last_comes_again_and_at_most_its_share() -> None:
    pool = Revisits(0.5, seed=1)
    pool.observe(0, [group(0, 0.5), group(1, 0.0), group(2, 0.4), group(41, 0.5), group(42, 0.3), group(43, 0.2)])
    pool.observe(1, [group(2, 0.0)])
    chosen = pool.choose(3, {"ferry": 4, "spanner": 4}, batches=1)
    assert chosen["ferry"] == [0]
    assert len(chosen["spanner"]) == 2 and set(chosen["spanner"]) < {41, 42, 43}
    left = pool.metrics()["curriculum/revisit_pool"]
    assert left == {"ferry": 0, "spanner": 1}


def test_what_is_under_way_is_not_chosen_again_until_its_outcome_is_known() -> None:
    pool = Revisits(0.5, seed=1)
    pool.observe(0, [group(0, 0.5)])
    assert pool.choose(2, {"ferry": 2}, 1) == {"ferry": [0]}
    assert pool.choose(3, {"ferry": 2}, 1) == {}
    pool.observe(2, [group(0, 0.5)])
    assert pool.choose(4, {"ferry": 2}, 1) == {"ferry": [0]}


def test_more_variance_and_fresher_knowledge_come_sooner() -> None:
    def first(groups: list[tuple[int, GroupOutcome]]) -> Counter[int]:
        seen: Counter[int] = Counter()
        for seed in range(600):
            pool = Revisits(0.5, seed)
            for chunk, one in groups:
                pool.observe(chunk, [one])
            seen[pool.choose(int(HALF_LIFE) + 1, {"ferry": 2}, 1)["ferry"][0]] += 1
        return seen

    by_spread = first([(0, group(0, 0.2)), (0, group(1, 0.4))])  # 1 to 4
    assert 430 < by_spread[1] < 530
    by_age = first([(0, group(0, 0.4)), (int(HALF_LIFE), group(1, 0.4))])  # 1 to 2
    assert 350 < by_age[1] < 450


def test_off_it_keeps_nothing() -> None:
    pool = Revisits(0.0, seed=1)
    pool.observe(0, [group(0, 0.5)])
    assert pool.choose(2, {"ferry": 4}, 1) == {} and pool.state_dict() == {} and pool.metrics() == {}
    for share in (-0.1, 1.0, 2):
        with pytest.raises(ConfigError, match="revisit_share must be at least 0 and below 1"):
            Revisits(share, 0)


@given(st.lists(st.tuples(st.integers(0, 79), st.sampled_from([0.0, 0.2, 0.5])), max_size=60), st.integers(0, 9))
def test_the_order_within_a_chunk_and_a_saved_state_change_nothing(outcomes: list[tuple[int, float]], seed: int) -> None:
    last = dict(outcomes)
    one, other = Revisits(0.5, seed), Revisits(0.5, seed)
    one.observe(0, [group(row, spread) for row, spread in last.items()])
    other.observe(0, [group(row, last[row]) for row in sorted(last)])
    third = Revisits(0.5, seed)
    third.load_state_dict(json.loads(json.dumps(one.state_dict())))
    quotas = {"ferry": 5, "spanner": 3}
    chosen = one.choose(2, quotas, 2)
    assert chosen == other.choose(2, quotas, 2) == third.choose(2, quotas, 2)
    for domain, rows in chosen.items():
        assert len(rows) == len(set(rows)) <= 2 * {"ferry": 3, "spanner": 2}[domain]
        assert all(last[row] > 0 and HOME[row][0] == domain for row in rows)
        assert not set(rows) & {row for row, _, _ in one.state_dict()[domain]}


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_in_a_batch_revisits_stand_within_the_quota_and_no_row_twice(batches: int) -> None:
    chosen = {"ferry": (0, 25, 3, 30, 5, 6)[: 2 * batches], "spanner": (44,)}
    weights = {domain: {"easy": 1.0, "medium": 1.0, "hard": 1.0} for domain in ROWS}
    decision = Decision(weights, {"ferry": 4, "spanner": 4}, revisited=chosen)
    planner = BatchPlanner(3, ROWS, 8, None, 50, batches_per_chunk=batches, decide=lambda chunk: decision)
    seen: list[int] = []
    for batch in range(batches):
        plan = planner.plan(batch)
        assert Counter(plan.domains) == {"ferry": 4, "spanner": 4}
        assert len(set(plan.row_indices)) == 8
        assert all(
            HOME[row] == (domain, bucket)
            for row, domain, bucket in zip(plan.row_indices, plan.domains, plan.buckets, strict=True)
        )
        seen += plan.row_indices
    assert set(chosen["ferry"]) | set(chosen["spanner"]) <= set(seen)


def test_the_engine_draws_again_what_taught_and_tells_the_curriculum_of_fresh_groups_only() -> None:
    class Spy:
        name, uses_groups, uses_evaluations = "spy", True, False

        def __init__(self) -> None:
            self.inner = uniform(ROWS)
            self.seen: list[int] = []

        def observe_groups(self, groups: list[GroupOutcome]) -> None:
            self.seen += [one.row_index for one in groups]

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    spy = Spy()
    engine = CurriculumEngine(spy, {"ferry": 4, "spanner": 4}, 20, revisit_share=0.5, seed=7)  # type: ignore[arg-type]
    planner = BatchPlanner(7, ROWS, 8, None, 20, decide=engine.decide)
    revisited: list[set[int]] = []
    teaches = set(range(0, 80, 2))
    for chunk in range(12):
        plan = planner.plan(chunk)
        again = {row for rows in engine.decide(chunk).revisited.values() for row in rows}
        assert again <= set(plan.row_indices) and again <= teaches
        revisited.append(again)
        engine.observe_groups(chunk, [group(row, 0.5 if row in teaches else 0.0) for row in plan.row_indices])
    assert not revisited[0] and not revisited[1], "nothing is known before the outcome of chunk 0"
    assert all(len(again) == 4 for again in revisited[4:]), "half of each quota, once the pool is filled"
    assert not any(one & after for one, after in zip(revisited, revisited[1:], strict=False)), "under way, so not again"
    fresh = [set(planner.plan(chunk).row_indices) - revisited[chunk] for chunk in range(10)]
    assert spy.seen == [row for chunk in range(10) for row in planner.plan(chunk).row_indices if row in fresh[chunk]]
