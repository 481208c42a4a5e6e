"""Stages advance on evidence, do not flicker, go back after a collapse, and survive on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.curriculum.manager import DEFAULT_STAGES, FixedCurriculumManager, Stage, setup_fixed_curriculum_manager
from grpo_project.errors import ConfigError


def outcome(step: int, rate: float, count: int = 200) -> EvaluationOutcome:
    return EvaluationOutcome(step, {domain: {"easy": (round(rate * count), count)} for domain in ("ferry", "spanner")})


def test_it_begins_at_foundation_and_advances_when_success_is_sure_to_lie_above_the_threshold() -> None:
    manager = setup_fixed_curriculum_manager()
    assert manager.stage.name == "foundation" and manager.weights(0, 100)["hard"] == 0.0
    manager.observe_evaluation(outcome(0, 0.9))
    assert manager.stage.name == "foundation"  # one lucky evaluation is not enough
    manager.observe_evaluation(outcome(25, 0.9))
    assert manager.stage.name == "intermediate"
    assert (
        manager.history == [{"step": 25, "from": "foundation", "to": "intermediate", "why": manager.history[0]["why"]}]
        and "above 50%" in manager.history[0]["why"]
    )
    assert manager.latest_performance == 0.9 and manager.evaluation_count == 2


def test_a_rate_just_above_the_threshold_is_no_evidence_with_few_problems() -> None:
    few, many = FixedCurriculumManager(), FixedCurriculumManager()
    for step in range(5):
        few.observe_evaluation(outcome(step, 0.55, 20))
        many.observe_evaluation(outcome(step, 0.55, 2000))
    assert few.stage.name == "foundation" and many.stage.name == "intermediate"


def test_every_stage_asks_for_its_own_evidence_until_the_last() -> None:
    manager = FixedCurriculumManager()
    names = []
    for step in range(20):
        manager.observe_evaluation(outcome(step, 0.95, 1000))
        names.append(manager.stage.name)
    assert names[:8] == ["foundation"] + ["intermediate"] * 2 + ["advanced"] * 2 + ["mastery"] * 3
    assert names[-1] == "mastery"


def test_it_falls_back_only_well_below_the_threshold_it_passed() -> None:
    manager = FixedCurriculumManager()
    for step in range(2):
        manager.observe_evaluation(outcome(step, 0.6, 2000))
    assert manager.stage.name == "intermediate"
    for step in range(2, 12):
        manager.observe_evaluation(outcome(step, 0.47, 2000))
    assert manager.stage.name == "intermediate"  # within the hysteresis
    for step in range(12, 14):
        manager.observe_evaluation(outcome(step, 0.4, 2000))
    assert manager.stage.name == "foundation"


def test_a_collapse_takes_one_stage_back_at_once() -> None:
    manager = FixedCurriculumManager()
    manager.observe_collapse("ferry")
    assert manager.place == 0
    for step in range(2):
        manager.observe_evaluation(outcome(step, 0.9))
    manager.observe_collapse("ferry")
    assert manager.stage.name == "foundation" and manager.history[-1]["why"] == "ferry collapsed"


def test_the_state_goes_on_in_memory_and_on_disk(tmp_path: Path) -> None:
    file = tmp_path / "curriculum_state.json"
    manager = setup_fixed_curriculum_manager(state_file=file)
    manager.observe_evaluation(outcome(0, 0.9))
    manager.save_state()
    again = setup_fixed_curriculum_manager(state_file=file)
    for one in (manager, again):
        one.observe_evaluation(outcome(25, 0.9))
        assert one.stage.name == "intermediate"
    assert again.state_dict() == manager.state_dict() == json.loads(json.dumps(manager.state_dict()))


@pytest.mark.parametrize("text", ["{", "[]", '{"curriculum": "adaptive", "state": {}}', '{"curriculum": "stage", "state": {}}'])
def test_a_broken_or_foreign_state_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "curriculum_state.json"
    file.write_text(text)
    with pytest.raises(ConfigError):
        setup_fixed_curriculum_manager(state_file=file)


def test_a_failed_load_changes_nothing() -> None:
    manager = FixedCurriculumManager()
    manager.observe_evaluation(outcome(0, 0.9))
    before = manager.state_dict()
    with pytest.raises(ConfigError, match="does not fit the stages foundation, intermediate, advanced, mastery"):
        manager.load_state_dict({**before, "evaluation_count": 7, "recent": [["x", 1]]})
    assert manager.state_dict() == before


@pytest.mark.parametrize(
    ("stages", "how", "words"),
    [
        ([Stage("a", {"easy": 1, "medium": 0, "hard": 0}, 0.5)], {}, "the last has none"),
        ([Stage("a", {"easy": 1}, None)], {}, "leaves out medium, hard"),
        ([*DEFAULT_STAGES, DEFAULT_STAGES[0]], {}, "two stages have the same name"),
        ([DEFAULT_STAGES[1], DEFAULT_STAGES[0], DEFAULT_STAGES[3]], {}, "thresholds must rise"),
        (DEFAULT_STAGES, {"hysteresis": 1.0}, "hysteresis must lie in"),
    ],
)
def test_stages_that_cannot_work_are_refused(stages: Any, how: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FixedCurriculumManager(stages, **how)
