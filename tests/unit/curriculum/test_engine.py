"""Decisions lag behind what is known by a fixed number of generation batches, are made once, and survive a resume at any
point."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from grpo_project.curriculum.adaptive import AdaptiveCurriculum
from grpo_project.curriculum.base import Decision, EvaluationOutcome, GroupOutcome
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.curriculum.collapse import Change
from grpo_project.curriculum.engine import CurriculumEngine, easier
from grpo_project.curriculum.manager import FixedCurriculumManager, Stage
from grpo_project.curriculum.schedules import Schedule
from grpo_project.errors import ConfigError

DOMAINS = ("ferry", "spanner")
ROWS = {
    domain: {bucket: list(range(30 * (3 * d + b), 30 * (3 * d + b) + 30)) for b, bucket in enumerate(("easy", "medium", "hard"))}
    for d, domain in enumerate(DOMAINS)
}
QUOTAS = {"ferry": 4, "spanner": 4}
STEPS = 14


def stage() -> FixedCurriculumManager:
    weights = [{"easy": 3 - place, "medium": place, "hard": 1} for place in range(3)]
    return FixedCurriculumManager([Stage(f"s{n}", own, n / 10 if n < 2 else None, 1) for n, own in enumerate(weights)])


def make(kind: str = "adaptive", **how: Any) -> CurriculumEngine:
    curriculum: Any = AdaptiveCurriculum(ROWS) if kind == "adaptive" else stage()
    if kind == "step":
        curriculum = Schedule("step", lambda step, max_steps: {"easy": 1, "medium": step, "hard": 0})
    return CurriculumEngine(curriculum, QUOTAS, STEPS, **how)


def play(
    engine: CurriculumEngine, first: int, last: int, ahead: int = 1, per_generation_batch: int = 1, loaded: bool = False
) -> list[Decision]:
    """Trains generation batches first..last-1 as a loader would ask for them that runs `ahead` generation batches ahead;
    outcomes are functions of the decision, so that any difference would grow."""
    if loaded:  # a resumed loader iterates from the beginning
        for generation in range(first):
            engine.decide(generation)
    decisions = []
    for generation in range(first, last):
        for asked in range(generation, generation + 1 + ahead):
            engine.decide(asked)
        decision = engine.decide(generation)
        decisions.append(decision)
        groups = []
        for domain in DOMAINS:
            rng = random.Random(f"{generation} {domain} {decision.weights[domain]} {sorted(decision.skipped)}")
            for _ in range(decision.quotas[domain]):
                bucket = rng.choices(list(ROWS[domain]), list(decision.weights[domain].values()))[0]
                reward_std = rng.choice([0.0, rng.random()])
                groups.append(GroupOutcome(domain, bucket, rng.choice(ROWS[domain][bucket]), reward_std, rng.randrange(9), 8))
        engine.observe_groups(generation, groups)
        for step in range(generation * per_generation_batch + 1, (generation + 1) * per_generation_batch + 1):
            if step % 2 == 0:
                fell = 2 if 6 <= step < 10 else 20
                engine.observe_evaluation(outcome(step, ferry=fell, spanner=16))
    return decisions


def outcome(step: int, **successes: int) -> EvaluationOutcome:
    return EvaluationOutcome(step, {domain: {"easy": (number, 24)} for domain, number in successes.items()})


KINDS = [
    ("adaptive", {}, 1),
    ("adaptive", {"skip_generations": 3, "reweight": True}, 1),
    ("step", {"adaptive_quotas": True, "reweight": True}, 1),
    ("adaptive", {"adaptive_quotas": True, "batches_per_generation": 2}, 1),
    ("stage", {}, 1),
    ("stage", {"reweight": True, "optimizer_steps_per_generation": 2}, 2),
    ("step", {"reweight": True}, 1),
    ("step", {"skip_generations": 2}, 1),
]


@pytest.mark.parametrize(("kind", "how", "per_generation_batch"), KINDS)
def test_how_far_the_loader_runs_ahead_changes_nothing(kind: str, how: dict[str, Any], per_generation_batch: int) -> None:
    generations = STEPS // per_generation_batch
    assert play(make(kind, **how), 0, generations, 0, per_generation_batch) == play(
        make(kind, **how), 0, generations, 1, per_generation_batch
    )


@pytest.mark.parametrize(("kind", "how", "per_generation_batch"), KINDS)
def test_a_run_that_goes_on_from_any_generation_batch_decides_as_the_uninterrupted_one(
    kind: str, how: dict[str, Any], per_generation_batch: int
) -> None:
    generations = STEPS // per_generation_batch
    whole_engine = make(kind, **how)
    whole = play(whole_engine, 0, generations, 1, per_generation_batch)
    assert len({json.dumps([d.weights, d.quotas, sorted(d.skipped)]) for d in whole}) > 2  # it did decide something
    for stopped in range(1, generations):
        before = make(kind, **how)
        assert play(before, 0, stopped, 1, per_generation_batch) == whole[:stopped]
        after = make(kind, **how)
        after.load_state_dict(json.loads(json.dumps(before.state_dict())))
        assert play(after, stopped, generations, 1, per_generation_batch, loaded=True) == whole[stopped:]
        assert after.state_dict() == whole_engine.state_dict()


def test_what_was_learned_in_a_generation_batch_reaches_the_generation_batch_after_the_next() -> None:
    engine = make("stage")
    engine.observe_evaluation(outcome(0, ferry=20, spanner=20))
    asked = []
    for generation in range(4):
        asked.append(engine.decide(generation).weights["ferry"])
        engine.observe_groups(generation, [])
    assert asked[0] != asked[1] == asked[2]
    engine.observe_evaluation(outcome(4, ferry=20, spanner=20))
    assert engine.decide(4).weights["ferry"] == asked[1]
    engine.observe_groups(4, [])
    assert engine.decide(5).weights["ferry"] != asked[1]


def test_what_is_not_known_yet_cannot_be_asked_for() -> None:
    engine = make()
    engine.decide(1)
    with pytest.raises(RuntimeError, match="generation batch 2 was asked for before the outcome of generation batch 0"):
        engine.decide(2)
    with pytest.raises(ValueError, match="the outcome of generation batch 1 came after that of generation batch -1"):
        engine.observe_groups(1, [])


def test_a_schedule_needs_no_journal_and_can_be_asked_in_any_order() -> None:
    engine = make("step")
    assert not engine.feedback
    assert [engine.weights_at(step)["medium"] for step in (12, 0, 3)] == [12 / 13, 0, 0.75]
    assert engine.state_dict()["journal"] == []
    engine.load_state_dict(json.loads(json.dumps(engine.state_dict())))


def test_a_collapsed_domain_gets_more_and_easier_prompts_until_it_is_back() -> None:
    engine = make("step", reweight=True)
    engine.observe_evaluation(outcome(0, ferry=20, spanner=10))
    found: list[Change] = []
    decisions = []
    for generation in range(8):
        decisions.append(engine.decide(generation))
        engine.observe_groups(generation, [])
        found += engine.observe_evaluation(outcome(generation + 1, ferry=1 if 1 <= generation + 1 <= 3 else 20, spanner=12))
    assert [(change.domain, change.collapsed) for change in found] == [("ferry", True), ("ferry", False)]
    quotas = [decision.quotas["ferry"] for decision in decisions]
    assert quotas == [4, 4, 5, 5, 5, 4, 4, 4]
    assert all(sum(decision.quotas.values()) == 8 for decision in decisions)
    assert decisions[3].weights["ferry"] == easier(decisions[3].weights["spanner"])
    assert easier({"easy": 0.2, "medium": 0.4, "hard": 0.4}) == pytest.approx({"easy": 0.6, "medium": 0.2, "hard": 0.2})


def test_a_problem_without_variance_pauses_for_as_long_as_asked() -> None:
    engine = make("step", skip_generations=2)
    skipped = []
    for generation in range(7):
        skipped.append(sorted(engine.decide(generation).skipped))
        reward_stds = {0: (5, 0.0), 1: (6, 0.4), 2: (7, 0.0)}
        groups = [GroupOutcome("ferry", "easy", *reward_stds[generation], 8, 8)] if generation in reward_stds else []
        engine.observe_groups(generation, groups)
    assert skipped == [[], [], [5], [5], [7], [7], []]


def test_the_planner_draws_by_the_decision_with_exact_quotas_and_passes_over_skipped_rows() -> None:
    engine = make("step", reweight=True, skip_generations=3)
    planner = BatchPlanner(0, ROWS, 8, engine.decide, STEPS)
    engine.observe_evaluation(outcome(0, ferry=20, spanner=20))
    drawn = []
    for generation in range(6):
        plan = planner.plan(generation)
        drawn.append(plan)
        assert plan == planner.plan(generation)
        decision = engine.decide(generation)
        assert {name: plan.domains.count(name) for name in DOMAINS} == decision.quotas
        assert not set(plan.row_indices) & decision.skipped
        engine.observe_groups(
            generation,
            [GroupOutcome(d, b, r, 0.0, 0, 8) for d, b, r in zip(plan.domains, plan.buckets, plan.row_indices, strict=True)],
        )
        engine.observe_evaluation(outcome(generation + 1, ferry=0, spanner=20))
    assert drawn[-1].domains.count("ferry") == 5
    assert engine.decide(5).skipped


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "has format 99"),
        ({"curriculum": "stage"}, "of --curriculum stage, this run has adaptive"),
        ({"journal": [[0, {}, {"chess": 8}]]}, "other domains"),
        ({"guard": {}}, "damaged: KeyError"),
        ({"waiting": [[1]]}, "damaged: IndexError"),
        ({"evaluations": 3}, "damaged: TypeError"),
        ({"decided": 10**15}, "damaged: ValueError: more than 1,000,000 decisions"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    engine = make()
    play(engine, 0, 3)
    with pytest.raises(ConfigError, match=words):
        make().load_state_dict({**engine.state_dict(), **change})
