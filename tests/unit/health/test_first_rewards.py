"""First rewards that are all equal are explained from the run's own answers; where one differs, nothing is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpo_project.evaluation.reasons import REASONS
from grpo_project.health.first_rewards import NAME, FirstRewards
from grpo_project.pddl import Task, compile_task, parse_domain, parse_problem, validate_text
from grpo_project.rewards import ScoredCompletion

LAMPS = Path(__file__).resolve().parents[3] / "tests" / "golden" / "lamps"
PLAN = "(switch-on a)\n(switch-on b)\n"


@pytest.fixture(scope="module")
def task() -> Task:
    domain = parse_domain((LAMPS / "domain.pddl").read_text(), "domain")
    return compile_task(domain, parse_problem((LAMPS / "problem.pddl").read_text(), domain, "problem"))


def run(task: Task, steps: list[list[tuple[str, float]]]) -> tuple[list[str], list[dict[str, Any]]]:
    """(what was said, the alarms in the records), with a record after each step."""
    said: list[str] = []
    return said, _tell(task, FirstRewards(3, said.append), steps, 0)


def _tell(task: Task, observer: FirstRewards, steps: list[list[tuple[str, float]]], after: int) -> list[dict[str, Any]]:
    alarms = []
    for number, step in enumerate(steps, after + 1):
        scored = [ScoredCompletion(0, text, validate_text(task, text), total, {"dense": total}) for text, total in step]
        observer.completions_scored(number - 1, scored)
        observer.step_ended(number, None)  # type: ignore[arg-type]
        record: dict[str, Any] = {"step": number, "loss": 0.0}
        observer.record_due(record)
        alarms += record.get("alarms", [])
    return alarms


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"Sure! Here it is:\n{PLAN}", "prose"),
        ("(switch-on a)\n(switch-", "cut_off"),
        ("<think>Let me see", "thinking"),
        ("(turn-on a)\n(turn-on b)", "unknown_action"),
    ],
)
def test_the_reason_is_that_of_most_answers(task: Task, text: str, reason: str) -> None:
    said, alarms = run(task, [[(text, -1.0)] * 3 + [("Hm.", -1.0)]] * 5)
    assert len(said) == len(alarms) == 1
    assert alarms[0]["step"] == 3 and alarms[0]["name"] == NAME
    detail = alarms[0]["detail"]
    assert "All 12 rewards up to step 3 are -1" in detail and "in 9 of them" in detail
    assert REASONS[reason].label in detail and REASONS[reason].advice in detail and repr(text)[1:10] in detail
    assert detail in said[0]


def test_one_reward_that_differs_is_enough(task: Task) -> None:
    assert run(task, [[("Hm.", -1.0)] * 4, [("Hm.", -1.0)] * 3 + [(PLAN, 1.0)], [("Hm.", -1.0)] * 4] * 2) == ([], [])
    assert run(task, [[("Hm.", -1.0)] * 4] * 2) == ([], [])  # too early


def test_a_continued_run_says_what_one_that_never_stopped_says(task: Task) -> None:
    step = [("Hm.", -1.0)] * 4
    said, alarms = run(task, [step] * 5)
    for stop in (1, 2):
        before, after = FirstRewards(3), FirstRewards(3, said.append)
        _tell(task, before, [step] * stop, 0)
        after.load_state_dict(json.loads(json.dumps(before.state_dict())))
        assert _tell(task, after, [step] * (5 - stop), stop) == alarms
    assert said == [said[0]] * 3


def test_a_run_that_only_succeeds(task: Task) -> None:
    said, _ = run(task, [[(PLAN, 1.0)] * 4] * 3)
    assert "Every plan succeeds: train on harder problems." in said[0]
