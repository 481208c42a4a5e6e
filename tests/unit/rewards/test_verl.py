"""The verl integration by verl's documented calling convention: keyword arguments by name; a dict with `score` comes back."""

import inspect

import pytest

from grpo_project.configs.reward import RewardConfig
from grpo_project.data.rows import read_rows
from grpo_project.domains import get_domain
from grpo_project.errors import ConfigError, DataError, PddlSyntaxError
from grpo_project.prompting import render_plan
from grpo_project.rewards import make_reward_function
from grpo_project.rewards.verl import compute_score, verl_rows

TABLE = read_rows("data/test", ["ferry", "spanner"])
ROWS = list(verl_rows(TABLE, "test"))


def as_verl_calls(row, answer, **reward_kwargs):
    """What verl's reward managers hand over for one response; they add to extra_info."""
    extra_info = {**row["extra_info"], "num_turns": 1, "rollout_reward_scores": {}}
    return compute_score(
        data_source=row["data_source"],
        solution_str=answer,
        ground_truth=row["reward_model"]["ground_truth"],
        extra_info=extra_info,
        **reward_kwargs,
    )


def answers(index):
    """A reference plan, its first step, its first two steps, nothing, and prose."""
    plan = TABLE.rows[index].response
    lines = plan.strip().splitlines()
    return [plan, lines[0], "\n".join(lines[:2]), "", "I would rather not."]


def test_the_documented_parameters_come_first_and_in_order():
    names = list(inspect.signature(compute_score).parameters)
    assert names[:4] == ["data_source", "solution_str", "ground_truth", "extra_info"]
    assert inspect.signature(compute_score).parameters["extra_info"].default is None


@pytest.mark.parametrize("mode", ["dense", "sparse", "banded"])
def test_verl_and_trl_see_the_same_reward(mode):
    for_trl = make_reward_function(TABLE, RewardConfig(mode=mode))
    seen = set()
    for index in range(0, len(ROWS), 40):
        for answer in answers(index):
            result = as_verl_calls(ROWS[index], answer, mode=mode)
            assert [result["score"]] == for_trl(prompts=[""], completions=[answer], row_index=[index])
            seen.add(result["score"])
    assert {-1.0, 1.0} <= seen
    assert all(isinstance(value, float) for value in result.values())  # verl averages what comes beside the score


def test_a_reference_plan_is_a_success_and_nothing_is_none():
    for index in range(0, len(ROWS), 25):
        right, *wrong = answers(index)
        assert as_verl_calls(ROWS[index], right)["acc"] == 1.0
        assert as_verl_calls(ROWS[index], wrong[-1])["acc"] == 0.0


def test_rows_have_the_columns_verl_reads():
    assert len(ROWS) == len(TABLE) >= 50
    for row, source in zip(ROWS, TABLE.rows, strict=True):
        assert row["prompt"] == [{"role": "user", "content": source.prompt}]
        assert row["reward_model"]["style"] == "rule"
    assert {row["data_source"] for row in ROWS} == {"ferry", "spanner"}


def test_the_shipped_domain_stands_in_for_a_missing_text():
    assert TABLE.rows[0].scenario == "ferry"
    problem, plan = ROWS[0]["reward_model"]["ground_truth"], TABLE.rows[0].response
    assert compute_score("ferry", plan, problem)["acc"] == 1.0
    other = get_domain("ferry").domain_pddl.replace("sail", "drift")
    assert compute_score("ferry", plan, problem, {"domain_pddl": other})["acc"] == 0.0


def test_faults_are_raised_not_scored():
    problem = ROWS[0]["reward_model"]["ground_truth"]
    plan = render_plan((("sail", "l0", "l1"),))
    with pytest.raises(DataError, match="gsm8k"):
        compute_score("gsm8k", plan, problem)
    with pytest.raises(PddlSyntaxError):
        compute_score("ferry", plan, "(define (problem")
    with pytest.raises(ConfigError):
        compute_score("ferry", plan, problem, mode="generous")
    with pytest.raises(ConfigError, match="knows no 'moode': the reward is chosen by `mode`"):  # a misspelt reward_kwargs entry
        compute_score("ferry", plan, problem, moode="sparse")


def test_what_verl_adds_is_taken_and_named_once(caplog):
    added = {"reward_router_address": "host:1", "reward_model_tokenizer": object(), "sandbox_fusion_url": None}
    for _ in range(2):
        assert as_verl_calls(ROWS[0], TABLE.rows[0].response, **added)["acc"] == 1.0
    assert sum("'sandbox_fusion_url'" in record.getMessage() for record in caplog.records) == 1


def test_content_in_parts_is_read_without_its_thinking():
    parts = [{"type": "thinking", "thinking": "(no)"}, {"type": "text", "text": TABLE.rows[0].response}]
    reward = make_reward_function(TABLE, RewardConfig())
    assert reward(prompts=[""], completions=[[{"role": "assistant", "content": parts}]], row_index=[0]) == [1.0]
    assert as_verl_calls(ROWS[0], parts)["acc"] == 1.0
    with pytest.raises(TypeError, match="must be a text or a list of parts, got int"):
        as_verl_calls(ROWS[0], 7)
    with pytest.raises(TypeError, match="must be a text or a list of parts, got int"):
        reward(prompts=[""], completions=[[{"role": "assistant", "content": 7}]], row_index=[0])
