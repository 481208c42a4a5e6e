"""What the curriculum is told, what the guard does about it, and held-out evaluations that happen once and are real."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from grpo_project.callbacks.collapse import CollapseActions
from grpo_project.callbacks.curriculum_feedback import CurriculumFeedback
from grpo_project.callbacks.enhanced_inference_callback import EnhancedInferenceCallback
from grpo_project.curriculum.base import EvaluationOutcome, GroupOutcome
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.curriculum.schedules import Schedule
from grpo_project.evaluation import EvaluationResult, ProblemResult


def outcome(step: int, ferry: int) -> EvaluationOutcome:
    return EvaluationOutcome(step, {"ferry": {"easy": (ferry, 24)}, "spanner": {"easy": (10, 20), "hard": (0, 4)}})


class _Recorder(Schedule):
    """A schedule that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("step", lambda step, max_steps: {"easy": 1, "medium": 1, "hard": 1})
        self.uses_groups = True
        self.seen: list[GroupOutcome] = []

    def observe_groups(self, groups: Any) -> None:
        self.seen += groups


@dataclass
class _Made:
    feedback: CurriculumFeedback
    collapse: CollapseActions
    engine: CurriculumEngine
    said: list[str]
    curriculum: _Recorder


def _feedback(on_collapse: str = "warn", **how: Any) -> _Made:
    said: list[str] = []
    curriculum = _Recorder()
    engine = CurriculumEngine(curriculum, {"ferry": 2, "spanner": 2}, 10)
    collapse = CollapseActions(on_collapse, say=said.append, **how)
    domains, buckets = {0: "ferry", 1: "spanner"}, {0: "easy", 1: "hard"}
    feedback = CurriculumFeedback(engine, domains, buckets, 2, 0, collapse, said.append)
    return _Made(feedback, collapse, engine, said, curriculum)


def _control() -> Any:
    return SimpleNamespace(should_training_stop=False, should_save=False, should_log=False)


def _record(made: _Made) -> dict[str, Any]:
    record: dict[str, Any] = {"step": 6}
    made.feedback.record_due(record)
    return record


def _scored(row: int, *rewards: float) -> list[Any]:
    return [
        SimpleNamespace(
            row_index=row,
            text="(wait)",
            total=reward,
            success=reward == 1,
            rewards={"dense": reward},
            verdict=SimpleNamespace(verdict_class="goal_not_satisfied", steps_total=1),
        )
        for reward in rewards
    ]


def test_a_group_is_told_by_domain_bucket_reward_std_and_successes() -> None:
    made = _feedback()
    for step in range(1, 4):
        scored = [*_scored(0, 1.0, -1.0), *_scored(1, -0.3, -0.3)] if step == 1 else _scored(0, 0.1, 0.1)
        made.feedback.completions_scored(step, scored)
    made.engine.decide(2)
    assert made.curriculum.seen == [GroupOutcome("ferry", "easy", 0, 1.0, 1, 2), GroupOutcome("spanner", "hard", 1, 0.0, 0, 2)]


def test_the_figures_of_an_evaluation_stand_in_one_record_with_their_counts_and_intervals() -> None:
    made = _feedback()
    made.feedback.evaluation_done(outcome(4, 12), _control())
    record = _record(made)
    assert record["eval_avg_test_pass_rate"] == pytest.approx((12 / 24 + 10 / 24) / 2)
    assert record["inference/step"] == record["_trainer_step"] == record["eval_step"] == 4
    assert record["eval_pass_rate_by_domain"] == {"ferry": 0.5, "spanner": pytest.approx(10 / 24)}
    assert record["eval_pass_rate_by_difficulty"] == {"easy": 0.5, "hard": 0.0}
    assert record["curriculum/evaluation_count"] == 1
    assert record["curriculum/latest_performance"] == record["eval_avg_test_pass_rate"]
    low, high = record["eval_avg_test_pass_rate_interval"]["low"], record["eval_avg_test_pass_rate_interval"]["high"]
    assert low < record["eval_avg_test_pass_rate"] < high
    assert made.said == ["Held-out success at step 4: 45.8% (33% to 60%); ferry 50%, spanner 42%"]
    assert "eval_avg_test_pass_rate" not in _record(made)


def _collapsed(on_collapse: str, **how: Any) -> tuple[_Made, Any]:
    made, control = _feedback(on_collapse, **how), _control()
    for step, ferry in ((0, 24), (5, 23), (6, 3)):
        made.feedback.evaluation_done(outcome(step, ferry), control)
    return made, control


def test_stop_asks_the_trainer_to_save_where_that_is_exact() -> None:
    for may_save in (True, False):
        made, control = _collapsed("stop", may_save=lambda step, may=may_save: may)
        assert control.should_training_stop and control.should_save is may_save
        assert made.collapse.stopped_by is not None and "ferry COLLAPSED" in made.collapse.stopped_by
    assert not _collapsed("warn")[1].should_training_stop


def test_rollback_takes_the_last_healthy_weights_and_its_history_is_kept() -> None:
    kept: list[int] = []
    restored: list[int] = []
    weights: Any = SimpleNamespace(keep=kept.append, restore=restored.append)
    made, _ = _collapsed("rollback", weights=weights)
    assert kept == [0, 5] and restored == [5] and made.collapse.rollbacks == [(6, 5)]
    assert made.said[-1] == "Step 6: back to the weights of step 5, and more and easier prompts for ferry"
    assert _record(made)["curriculum/rollbacks"] == 1
    again = _feedback("rollback").collapse
    again.load_state_dict(json.loads(json.dumps(made.collapse.state_dict())))
    assert again.state_dict() == made.collapse.state_dict() == {"kept_step": 5, "rollbacks": [[6, 5]]}


def _result(successes: int, count: int = 4) -> EvaluationResult:
    verdicts = ["success_plans"] * successes + ["goal_not_satisfied"] * (count - successes)
    return EvaluationResult(tuple(ProblemResult("ferry", "f", "easy", False, v, 1.0, None, "") for v in verdicts), 0.1)  # type: ignore[arg-type]


def test_it_evaluates_before_the_first_step_and_every_n_and_never_twice() -> None:
    results = iter([_result(1), _result(3), _result(2)])
    heard: list[int] = []
    callback = EnhancedInferenceCallback(
        eval_every_n_steps=2,
        max_samples=8,
        evaluate=lambda model, tokenizer: next(results),
        listener=lambda o, c: heard.append(o.step),
    )
    assert callback.get_evaluation_summary() == {"evaluation_count": 0, "eval_every_n_steps": 2}
    state, control = SimpleNamespace(global_step=0), SimpleNamespace(should_log=False)
    callback.on_train_begin(None, state, control)
    assert not control.should_log
    for step in (1, 2, 3, 4):
        state.global_step = step
        for _ in range(2):
            callback.on_step_end(None, state, control)
    callback.on_train_begin(None, state, control)
    assert heard == [0, 2, 4] and control.should_log
    assert callback.get_evaluation_summary() == {
        "evaluation_count": 3,
        "eval_every_n_steps": 2,
        "latest_performance": 0.5,
        "latest_step": 4,
        "best_performance": 0.75,
        "best_step": 2,
        "history": [(0, 0.25), (2, 0.75), (4, 0.5)],
    }


@pytest.mark.parametrize("how", [{"eval_every_n_steps": 0}, {"max_samples": 0}])
def test_counts_below_one_are_refused(how: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        EnhancedInferenceCallback(**how)


@pytest.mark.slow
def test_without_anything_given_it_generates_problems_and_really_asks_the_model(tiny_planner: Any) -> None:
    import torch

    from grpo_project.models.loading import load_policy

    policy = load_policy(str(tiny_planner))
    callback = EnhancedInferenceCallback(eval_every_n_steps=1, max_samples=2, domains=("ferry", "spanner"), max_new_tokens=4)
    before = torch.get_rng_state()
    policy.model.train()
    control = SimpleNamespace(should_log=False)
    callback.on_step_end(None, SimpleNamespace(global_step=1), control, model=policy.model, processing_class=policy.tokenizer)
    assert torch.equal(before, torch.get_rng_state()) and policy.model.training
    assert {domain: callback.outcomes[0].domain_counts(domain) for domain in ("ferry", "spanner")} == {
        "ferry": (0, 2),
        "spanner": (0, 2),
    }
