"""What the curriculum is told, what the guard does about it, and held-out evaluations that happen once and are real."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from grpo_project.callbacks.collector import CompletionCollector
from grpo_project.callbacks.curriculum import CurriculumFeedback
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


def _feedback(on_collapse: str = "warn", **how: Any) -> tuple[CurriculumFeedback, list[str], _Recorder]:
    said: list[str] = []
    curriculum = _Recorder()
    engine = CurriculumEngine(curriculum, {"ferry": 2, "spanner": 2}, 10)
    collector = CompletionCollector({0: "ferry", 1: "spanner"}, {0: "easy", 1: "hard"})
    domains, buckets = {0: "ferry", 1: "spanner"}, {0: "easy", 1: "hard"}
    return CurriculumFeedback(engine, collector, domains, buckets, 2, on_collapse, said.append, **how), said, curriculum


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


def test_a_group_is_told_by_domain_bucket_spread_and_successes() -> None:
    feedback, _, curriculum = _feedback()
    state = SimpleNamespace(global_step=0)
    for step in range(1, 4):
        if step == 1:
            feedback.add(_scored(0, 1.0, -1.0))
            feedback.add(_scored(1, -0.3, -0.3))
        else:
            feedback.add(_scored(0, 0.1, 0.1))
        state.global_step = step
        feedback.on_step_end(None, state, None)
    feedback.engine.decide(2)
    assert curriculum.seen == [GroupOutcome("ferry", "easy", 0, 1.0, 1, 2), GroupOutcome("spanner", "hard", 1, 0.0, 0, 2)]


def test_a_further_step_on_the_same_completions_is_no_news() -> None:
    feedback, _, curriculum = _feedback()
    feedback.engine._steps_per_generation = feedback.engine._steps_per_generation * 2
    for step in (1, 2, 3, 4):
        if step % 2:
            feedback.add(_scored(0, 1.0, -1.0))
        feedback.on_step_end(None, SimpleNamespace(global_step=step), None)
    feedback.engine.decide(3)
    assert len(curriculum.seen) == 2


def test_the_figures_of_an_evaluation_stand_in_one_record_with_their_counts_and_intervals() -> None:
    feedback, said, _ = _feedback()
    feedback.evaluated(outcome(4, 12), None)
    record = feedback.extra()
    assert record["eval_avg_test_pass_rate"] == pytest.approx((12 / 24 + 10 / 24) / 2)
    assert record["inference/step"] == record["_trainer_step"] == record["eval_step"] == 4
    assert record["eval_pass_rate_by_domain"] == {"ferry": 0.5, "spanner": pytest.approx(10 / 24)}
    assert record["eval_pass_rate_by_difficulty"] == {"easy": 0.5, "hard": 0.0}
    assert record["curriculum/evaluation_count"] == 1
    assert record["curriculum/latest_performance"] == record["eval_avg_test_pass_rate"]
    low, high = record["eval_avg_test_pass_rate_interval"]["low"], record["eval_avg_test_pass_rate_interval"]["high"]
    assert low < record["eval_avg_test_pass_rate"] < high
    assert said == ["Held-out success at step 4: 45.8% (33% to 60%); ferry 50%, spanner 42%"]
    assert "eval_avg_test_pass_rate" not in feedback.extra()


def _collapse(on_collapse: str, **how: Any) -> tuple[CurriculumFeedback, list[str], Any]:
    feedback, said, _ = _feedback(on_collapse, **how)
    control = SimpleNamespace(should_training_stop=False, should_save=False)
    feedback.evaluated(outcome(0, 24), control)
    feedback.evaluated(outcome(5, 23), control)
    feedback.evaluated(outcome(6, 3), control)
    return feedback, said, control


def test_stop_asks_the_trainer_to_save_where_that_is_exact() -> None:
    for may_save in (True, False):
        feedback, _, control = _collapse("stop", may_save=lambda step, may=may_save: may)
        assert control.should_training_stop and control.should_save is may_save
        assert feedback.stopped_by is not None and "ferry COLLAPSED" in feedback.stopped_by
    assert not _collapse("warn")[2].should_training_stop


def test_rollback_takes_the_last_healthy_weights_and_its_history_is_kept() -> None:
    kept: list[int] = []
    restored: list[int] = []
    feedback, said, _ = _collapse("rollback", keep=kept.append, restore=restored.append)
    assert kept == [0, 5] and restored == [5] and feedback.rollbacks == [(6, 5)]
    assert said[-1] == "Step 6: back to the weights of step 5, and more and easier prompts for ferry"
    assert feedback.extra()["curriculum/rollbacks"] == 1
    again, _, _ = _feedback("rollback")
    again.load_state_dict(feedback.state_dict())
    assert again.state_dict() == feedback.state_dict()


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
