"""A lost domain is named at the evaluation that shows it; noise is not."""

from __future__ import annotations

import random

from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.curriculum.collapse import CollapseGuard


def outcome(step: int, count: int = 24, **successes: int) -> EvaluationOutcome:
    return EvaluationOutcome(step, {domain: {"easy": (number, count)} for domain, number in successes.items()})


def test_a_domain_that_is_lost_while_the_average_rises_is_named_at_once() -> None:
    guard = CollapseGuard()
    assert guard.check(outcome(0, ferry=16, spanner=2, grippers=2)) == []
    (change,) = guard.check(outcome(25, ferry=0, spanner=22, grippers=20))
    assert change.collapsed and change.domain == "ferry" and guard.collapsed == ["ferry"]
    assert str(change) == (
        "ferry COLLAPSED: held-out success 0% (0/24, 0% to 22%) at step 25, its best was 67% (16/24, 41% to 85%) at step 0"
    )
    assert guard.check(outcome(50, ferry=1, spanner=22, grippers=20)) == []  # named once
    (back,) = guard.check(outcome(75, ferry=15, spanner=22, grippers=20))
    assert not back.collapsed and "ferry recovered" in str(back) and guard.collapsed == []


def test_a_slow_slide_is_measured_against_the_best_not_the_last() -> None:
    guard = CollapseGuard()
    named = [bool(guard.check(outcome(step, ferry=24 - 2 * step))) for step in range(12)]
    assert named.count(True) == 1 and named.index(True) == 6  # 100% -> 50%


def test_noise_alone_is_rarely_named() -> None:
    rng = random.Random(0)
    false_alarms = 0
    for _ in range(200):
        guard = CollapseGuard()
        rate = rng.random()
        false_alarms += any(guard.check(outcome(step, ferry=sum(rng.random() < rate for _ in range(24)))) for step in range(20))
    assert false_alarms <= 6  # of 200 runs with twenty evaluations each


def test_a_domain_without_problems_is_passed_over_and_the_state_goes_on() -> None:
    guard = CollapseGuard()
    guard.check(EvaluationOutcome(0, {"ferry": {"easy": (20, 24)}, "spanner": {"easy": (0, 0)}}))
    again = CollapseGuard()
    again.load_state_dict(guard.state_dict())
    assert again.best_step("ferry") == 0
    assert [change.domain for change in again.check(outcome(3, ferry=2))] == ["ferry"]
