"""Frontier: where it aims once it has seen who solves what, what it keeps of the rest, and that its draws stay exact."""

from __future__ import annotations

import json
import math
import random
from collections import Counter

import pytest

from grpo_project.curriculum.base import Decision, GroupOutcome
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.curriculum.frontier import FrontierCurriculum, LevelRows, levels_of, parse_target_pass_rates
from grpo_project.errors import ConfigError

# 10 rows a score; scores 10, 20, ..., 90: three to a bucket.
SCORES = [10.0 * (1 + row // 10) for row in range(90)] * 2
BUCKETS = ("easy", "medium", "hard")
ROWS = {
    domain: {name: list(range(first + 30 * place, first + 30 * (place + 1))) for place, name in enumerate(BUCKETS)}
    for domain, first in (("ferry", 0), ("spanner", 90))
}
LEVELS: LevelRows = levels_of(ROWS, SCORES)


def solves(score: float, ability: float, slope: float = 0.15) -> float:
    return 1 / (1 + math.exp(slope * (score - ability)))


def taught(ability: float, rounds: int = 20, **options: object) -> FrontierCurriculum:
    """Told the outcomes of a model that solves half of what has score `ability`, on rows drawn evenly."""
    curriculum = FrontierCurriculum(LEVELS, **options)  # type: ignore[arg-type]
    rng = random.Random(ability)
    for _ in range(rounds):
        groups = []
        for row in rng.sample(range(180), 16):
            passed = sum(rng.random() < solves(SCORES[row], ability) for _ in range(8))
            domain = "ferry" if row < 90 else "spanner"
            groups.append(GroupOutcome(domain, "easy", row, 0.5, passed, 8))
        curriculum.observe_groups(groups)
    return curriculum


def share_by_score(curriculum: FrontierCurriculum, domain: str = "ferry") -> dict[float, float]:
    return {float(level): share for own in curriculum.weights(0, 1)[domain].values() for level, share in own.items()}


def test_levels_are_the_scores_of_a_bucket_in_order() -> None:
    assert list(LEVELS["ferry"]["medium"]) == ["40", "50", "60"]
    assert LEVELS["ferry"]["medium"]["40"] == list(range(30, 40))


@pytest.mark.parametrize("ability", [25.0, 50.0, 75.0])
def test_it_aims_at_what_is_solved_about_half_the_time(ability: float) -> None:
    curriculum = taught(ability)
    rates = curriculum.pass_rates("ferry")
    assert list(rates.values()) == sorted(rates.values(), reverse=True)
    for level, rate in rates.items():
        assert rate == pytest.approx(solves(float(level), ability), abs=0.12)
    shares = share_by_score(curriculum)
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-4)
    near = math.fsum(share for score, share in shares.items() if abs(score - ability) <= 15)
    assert near > 0.5
    assert abs(curriculum.metrics()["curriculum/frontier_score"]["ferry"] - ability) <= 10


def test_a_share_is_kept_for_what_is_known_and_for_what_is_far() -> None:
    curriculum = taught(50.0)
    rates, shares = curriculum.pass_rates("ferry"), share_by_score(curriculum)
    known = [float(level) for level, rate in rates.items() if rate >= 0.75]
    far = [float(level) for level, rate in rates.items() if rate <= 0.25]
    assert math.fsum(shares[score] for score in known) >= 0.15 and math.fsum(shares[score] for score in far) >= 0.1
    assert min(shares.values()) > 0.01


def test_before_anything_is_seen_the_middle_is_taken_for_half() -> None:
    shares = share_by_score(FrontierCurriculum(LEVELS))
    assert max(shares, key=lambda score: shares[score]) == 50.0


def test_another_target_moves_it_to_easier_problems_in_that_domain_alone() -> None:
    half, mostly = taught(50.0), taught(50.0, target_pass_rates={"ferry": 0.8})

    def mean(curriculum: FrontierCurriculum, domain: str) -> float:
        return math.fsum(score * share for score, share in share_by_score(curriculum, domain).items())

    assert mean(mostly, "ferry") < mean(half, "ferry") - 4
    assert mean(mostly, "spanner") == mean(half, "spanner")


def test_it_follows_a_model_that_gets_better() -> None:
    curriculum = taught(30.0)
    before = curriculum.metrics()["curriculum/frontier_score"]["ferry"]
    rng = random.Random(1)
    for _ in range(40):
        rows = rng.sample(range(90), 8)
        passed = [sum(rng.random() < solves(SCORES[row], 70.0) for _ in range(8)) for row in rows]
        curriculum.observe_groups(
            [GroupOutcome("ferry", "easy", row, 0.5, own, 8) for row, own in zip(rows, passed, strict=True)]
        )
    assert before <= 40 and curriculum.metrics()["curriculum/frontier_score"]["ferry"] >= 60


@pytest.mark.parametrize("passed", [0, 8])
def test_a_model_that_solves_all_or_nothing_is_no_trouble(passed: int) -> None:
    curriculum = FrontierCurriculum(LEVELS)
    for _ in range(200):
        curriculum.observe_groups([GroupOutcome("ferry", "easy", row, 0.0, passed, 8) for row in range(0, 90, 3)])
    shares = share_by_score(curriculum)
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-4)
    assert max(shares, key=lambda score: shares[score]) == (90.0 if passed else 10.0)


def test_one_level_is_drawn_whole() -> None:
    curriculum = FrontierCurriculum({"ferry": {"easy": {"5": [0, 1]}, "medium": {}, "hard": {}}})
    curriculum.observe_groups([GroupOutcome("ferry", "easy", 0, 0.0, 8, 8)])
    assert curriculum.weights(0, 1) == {"ferry": {"easy": {"5": pytest.approx(1)}}}


def planned(engine: CurriculumEngine) -> BatchPlanner:
    return BatchPlanner(7, ROWS, 16, engine.decide, 100, levels=LEVELS)


def test_batches_are_drawn_by_level_with_exact_quotas_and_resume_to_the_same() -> None:
    def play(engine: CurriculumEngine, planner: BatchPlanner, steps: range) -> list[tuple[int, ...]]:
        found = []
        for step in steps:
            plan = planner.plan(step)
            assert Counter(plan.domains) == {"ferry": 8, "spanner": 8}
            slots = list(zip(plan.row_indices, plan.domains, plan.buckets, strict=True))
            assert all(row in ROWS[domain][bucket] for row, domain, bucket in slots)
            rng = random.Random(step)
            groups = [
                GroupOutcome(domain, bucket, row, 0.5, sum(rng.random() < solves(SCORES[row], 20.0) for _ in range(8)), 8)
                for row, domain, bucket in slots
            ]
            engine.observe_groups(step, groups)
            found.append(plan.row_indices)
        return found

    quotas = {"ferry": 8, "spanner": 8}
    whole = CurriculumEngine(FrontierCurriculum(LEVELS), quotas, 100)
    rows = play(whole, planned(whole), range(60))
    late = Counter(SCORES[row] for drawn in rows[30:] for row in drawn)
    assert late[10.0] + late[20.0] + late[30.0] > 0.6 * late.total()
    first = CurriculumEngine(FrontierCurriculum(LEVELS), quotas, 100)
    assert play(first, planned(first), range(25)) == rows[:25]
    second = CurriculumEngine(FrontierCurriculum(LEVELS), quotas, 100)
    # Sorted keys: what a file does to a mapping's order must not move a draw.
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), sort_keys=True)))
    assert play(second, planned(second), range(25, 60)) == rows[25:]


def test_levels_whose_rows_are_used_up_leave_the_draw_to_the_bucket() -> None:
    decision = Decision(
        {"ferry": {"easy": 1.0, "medium": 0.0, "hard": 0.0}}, {"ferry": 4}, levels={"ferry": {"easy": {"10": 1.0}}}
    )
    rows = {"ferry": {"easy": [0, 1, 2, 3]}}
    planner = BatchPlanner(1, rows, 4, lambda generation: decision, 5, levels=levels_of(rows, [10.0, 10.0, 20.0, 30.0]))
    assert sorted(planner.plan(0).row_indices) == [0, 1, 2, 3]
    assert sorted(planner.plan(0).row_indices[:2]) == [0, 1]


def test_a_target_is_a_rate_for_all_or_for_one_domain() -> None:
    assert parse_target_pass_rates((), ("ferry",)) == {}
    assert parse_target_pass_rates(("0.4", "ferry=0.6"), ("ferry", "spanner")) == {"ferry": 0.6, "spanner": 0.4}
    for wrong in (("1",), ("0",), ("half",), ("ferry=",), ("=0.5",), ("0.4", "0.5"), ("ferry=0.4", "ferry=0.4"), ("nan",)):
        with pytest.raises(ConfigError, match="--target_pass_rate"):
            parse_target_pass_rates(wrong, ("ferry",))
    with pytest.raises(ConfigError, match="names elevator; the domains of this run are ferry, spanner"):
        FrontierCurriculum(LEVELS, {"elevator": 0.5})


@pytest.mark.parametrize("options", [{"known_share": 0.6, "far_share": 0.4}, {"half_life": 0}, {"sharpness": math.nan}])
def test_what_cannot_work_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        FrontierCurriculum(LEVELS, **options)  # type: ignore[arg-type]


def test_a_state_of_other_problems_is_refused() -> None:
    state = FrontierCurriculum(LEVELS).state_dict()
    other = FrontierCurriculum({"ferry": {"easy": {"10": [0]}}, "spanner": {"easy": {"10": [1]}}})
    with pytest.raises(ConfigError, match="other domains or difficulties"):
        other.load_state_dict(state)
