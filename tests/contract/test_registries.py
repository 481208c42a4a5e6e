"""What every reward and every curriculum of the registries keeps, whatever it is; one that is added is checked by these."""

from __future__ import annotations

import json
import math
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from grpo_project.configs.reward import REWARD_MODES
from grpo_project.curriculum.base import Curriculum, EvaluationOutcome, GroupOutcome
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.curriculum.frontier import levels_of
from grpo_project.curriculum.registry import CURRICULA, CurriculumInputs, make_curriculum
from grpo_project.curriculum.weights import domain_weights, split_levels
from grpo_project.data.difficulty import BUCKETS
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.rewards import REWARDS, ScoredCompletion, make_reward_function, parse_rewards

DATA = Path(__file__).resolve().parents[2] / "data" / "test"

# -- rewards ----------------------------------------------------------------------------------------------------------------


@cache
def table() -> RowTable:
    return read_rows(DATA)


@cache
def answers() -> tuple[list[int], list[str]]:
    """(row indices, texts): for ten problems of each domain the reference plan and what can be made of it."""
    indices, texts = [], []
    for domain in table().domains:
        for index in table().indices_of(domain)[:10]:
            plan = (table().rows[index].response or "").strip().splitlines()
            half = len(plan) // 2
            made = [plan, plan[:half], plan[:-1], plan[half:], plan[::-1], plan[:half] + plan, plan * 2, [], ["I cannot plan."]]
            indices += [index] * len(made)
            texts += ["\n".join(lines) for lines in made]
    return indices, texts


def scored(name: str) -> list[ScoredCompletion]:
    """All answers under one reward, each verified anew."""
    seen: list[ScoredCompletion] = []
    indices, texts = answers()
    totals = make_reward_function(read_rows(DATA), parse_rewards([name]), seen.extend)(None, texts, row_index=indices)
    assert totals == [item.total for item in seen]
    return seen


def test_the_registry_holds_every_mode() -> None:
    assert list(REWARDS) == list(REWARD_MODES)
    assert {name: config.mode for name, config in REWARDS.items()} == {name: name for name in REWARDS}


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_lies_in_minus_1_to_1_and_pays_every_success_more_than_any_failure(name: str) -> None:
    found = scored(name)
    succeeded = [item.total for item in found if item.success]
    failed = [item.total for item in found if not item.success]
    assert len(succeeded) >= 40 and len(failed) >= 200
    assert all(-1 <= value <= 1 for value in succeeded + failed)
    assert min(succeeded) > max(failed)
    assert {item.verdict.verdict_class for item in found} >= {"success_plans", "precondition_violation", "goal_not_satisfied"}


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_is_the_same_every_time(name: str) -> None:
    assert scored(name) == scored(name)


# -- curricula --------------------------------------------------------------------------------------------------------------

DOMAINS = ("ferry", "spanner")
BUCKET_ROWS = {"ferry": {"easy": [0, 1, 2], "medium": [3, 4], "hard": [5]}, "spanner": {"easy": [6], "medium": [7], "hard": [8]}}
STEPS = 30


def course(step: int, max_steps: int) -> dict[str, float]:
    return {"easy": max_steps - step, "medium": max_steps / 2, "hard": step}


def made(name: str) -> Curriculum:
    return make_curriculum(name, CurriculumInputs(BUCKET_ROWS, course, levels_of(BUCKET_ROWS, [float(row) for row in range(9)])))


def groups(rng: random.Random) -> list[GroupOutcome]:
    """Those of a generation batch; easy ones tell more, so that what learns has something to learn."""
    found = []
    for domain in DOMAINS:
        for place, bucket in enumerate(BUCKETS):
            std = 0.0 if rng.random() < 0.3 * place else rng.uniform(0.3, 0.9)
            found.append(GroupOutcome(domain, bucket, BUCKET_ROWS[domain][bucket][0], std, rng.randrange(9), 8))
    return found


def evaluation(rng: random.Random, step: int) -> EvaluationOutcome:
    """Success rises from a third to nearly all."""
    solved = min(16 + step + rng.randrange(3), 48)
    return EvaluationOutcome(step, {domain: {bucket: (solved // 3, 16) for bucket in BUCKETS} for domain in DOMAINS})


def tell(curriculum: Curriculum, step: int) -> None:
    rng = random.Random(f"registries/{step}")
    curriculum.observe_groups(groups(rng))
    if step % 3 == 0:
        curriculum.observe_evaluation(evaluation(rng, step))
    if step == STEPS // 2:
        curriculum.observe_collapse("ferry")


def weights(curriculum: Curriculum, step: int) -> dict[str, dict[str, float]]:
    by_bucket, levels = split_levels(curriculum.weights(step, STEPS), step, curriculum.name)
    assert all(math.fsum(own.values()) == pytest.approx(1) for buckets in levels.values() for own in buckets.values())
    return domain_weights(by_bucket, DOMAINS, step, curriculum.name)


@pytest.mark.parametrize("name", CURRICULA)
def test_weights_sum_to_1_at_every_step_whatever_happened(name: str) -> None:
    curriculum = made(name)
    engine = CurriculumEngine(curriculum, {"ferry": 2, "spanner": 2}, STEPS)
    for step in range(STEPS):
        decision = engine.decide(step)
        assert set(decision.weights) == set(DOMAINS)
        for own in decision.weights.values():
            assert set(own) == set(BUCKETS) and math.fsum(own.values()) == pytest.approx(1) and min(own.values()) >= 0
        rng = random.Random(f"registries/{step}")
        engine.observe_groups(step, groups(rng))
        engine.observe_evaluation(evaluation(rng, step + 1))


@pytest.mark.parametrize("name", CURRICULA)
def test_a_curriculum_goes_on_from_its_state_as_if_it_had_never_stopped(name: str) -> None:
    for stop in (0, 1, 10, STEPS // 2 + 1):
        whole, resumed = made(name), made(name)
        for step in range(stop):
            tell(whole, step)
        kept = json.dumps(whole.state_dict())
        resumed.load_state_dict(json.loads(kept))
        assert json.dumps(resumed.state_dict()) == kept
        for step in range(stop, STEPS):
            assert resumed.weights(step, STEPS) == whole.weights(step, STEPS)
            assert resumed.metrics() == whole.metrics()
            tell(whole, step)
            tell(resumed, step)
        assert resumed.state_dict() == whole.state_dict()


@pytest.mark.parametrize("name", CURRICULA)
def test_asking_changes_nothing_and_what_was_saved_stays_as_it_was(name: str) -> None:
    curriculum = made(name)
    for step in range(5):
        tell(curriculum, step)
    state = curriculum.state_dict()
    kept = json.dumps(state)
    assert [weights(curriculum, step) for step in (3, 0, 3)][::2] == [weights(curriculum, 3)] * 2
    for step in range(5, STEPS):
        tell(curriculum, step)
    assert json.dumps(state) == kept


@pytest.mark.parametrize("what", ["groups", "evaluations"])
@pytest.mark.parametrize("name", CURRICULA)
def test_a_curriculum_learns_from_what_it_says_it_learns_from_and_from_nothing_else(name: str, what: str) -> None:
    told, fresh = made(name), made(name)
    says: Any = getattr(told, f"uses_{what}")
    for step in range(STEPS):
        rng = random.Random(f"registries/{step}")
        if what == "groups":
            told.observe_groups(groups(rng))
        else:
            told.observe_evaluation(evaluation(rng, step))
    assert (weights(told, 7) != weights(fresh, 7)) == says
