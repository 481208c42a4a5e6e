"""What the frameworks share: problems, verdicts, rewards and rollouts of several plans."""

import re
from dataclasses import replace

import pytest

from grpo_project.configs.reward import RewardConfig
from grpo_project.data.rows import read_rows
from grpo_project.errors import ConfigError, DataError, PddlError
from grpo_project.evaluation.conversation import words_on_failure
from grpo_project.evaluation.evaluate import evaluate
from grpo_project.rewards import make_reward_function

TABLE = read_rows("data/test", ["ferry", "spanner"])


@pytest.fixture
def core():
    from pddl_planning import core

    return core


@pytest.fixture
def problems(core):
    return core.load_problems("data/test", "ferry,spanner")


def test_verdicts_and_rewards_are_those_of_evaluation_and_training(problems):
    reward = make_reward_function(TABLE, RewardConfig(mode="sparse"))
    indices = range(0, len(TABLE), 40)
    assert [problem.problem_pddl for problem in problems] == [row.problem_text for row in TABLE.rows]
    for answer_of in (lambda row: row.response, lambda row: row.response.splitlines()[0], lambda row: "", lambda row: "(fly a)"):
        answers = [answer_of(TABLE.rows[index]) for index in indices]
        expected = evaluate(TABLE, indices, lambda rows, answers=answers: answers).problems
        for index, answer, verdict in zip(indices, answers, expected, strict=True):
            assert problems[index].verdict(answer).verdict_class == verdict.verdict_class
            assert [problems[index].reward(answer, "sparse")] == reward(prompts=[""], completions=[answer], row_index=[index])
            assert problems[index].words(answer) == words_on_failure(TABLE.task(index), answer, "state", "strict", "full")


def test_the_last_plan_of_a_rollout_counts_and_none_after_its_end(core, problems):
    problem = problems[0]
    rollout = core.Rollout(problem, core.RolloutSettings(repair_turns=1, repair_detail="failed"))
    assert (rollout.reward, rollout.done) == (-1.0, False)
    assert rollout.submit("(fly a)").startswith("The plan fails.\n\nWrite the whole plan again")
    assert rollout.submit(problem.reference_plan) == "The plan solves the problem."
    assert (rollout.reward, rollout.done, rollout.solved, rollout.plans) == (1.0, True, True, 2)
    assert "decided before" in rollout.submit("(fly a)")
    assert (rollout.reward, rollout.plans) == (1.0, 2)
    failed = core.Rollout(problem)
    failed.submit("(fly a)")
    failed.submit(problem.reference_plan)
    assert (failed.reward, failed.done, failed.solved) == (-1.0, True, False)


def test_what_cannot_be_is_said_before_a_model_is_asked(core, problems):
    for settings, message in (
        ({"repair_turns": -1}, "repair_turns must be at least 0, got -1"),
        ({"repair_detail": "all"}, "repair_detail must be one of failed, step, state, got 'all'"),
        ({"reward": "kind"}, "reward.mode must be one of"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            core.RolloutSettings(**settings)
    for index in (-1, len(problems)):
        with pytest.raises(DataError, match=f"there is no problem {index}: the data root has {len(problems)}"):
            core.problem_at(problems, index)
    with pytest.raises(PddlError):
        core.Rollout(replace(problems[0], problem_pddl="(define (problem"))
    with pytest.raises(ConfigError, match="prompt style must be one of"):
        core.load_problems("data/test", "ferry", prompt_style="short")


def test_a_planner_that_reads_domains_is_asked_in_symbols_and_verified_in_them(core):
    problem = core.load_problems("data/test", "ferry", prompt_style="schemas")[0]
    assert " ?pred" in problem.prompt and "sail" not in problem.prompt + problem.domain_pddl + problem.problem_pddl
    assert problem.verdict(problem.reference_plan).success
