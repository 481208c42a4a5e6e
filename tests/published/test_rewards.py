"""Rewards that were wrong, or were gamed, in programs of this kind (trials.md)."""

from __future__ import annotations

import math
import pickle
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from grpo_project.common.statistics import pass_at_k
from grpo_project.configs.batches import batch_shape
from grpo_project.configs.reward import REWARD_MODES, RewardConfig
from grpo_project.configs.training import TrainingConfig
from grpo_project.data.rows import read_rows
from grpo_project.errors import ConfigError, RewardError
from grpo_project.pddl import extract_plan, validate_text
from grpo_project.pddl.lenient import read_answer
from grpo_project.rewards import NamedReward, make_reward_function, score
from grpo_project.rewards.verl import compute_score

TABLE = read_rows("data/test", ["ferry", "spanner"])
PLAN = str(TABLE.rows[0].response)
TASK = TABLE.task(0)


def reward_of(text: str, mode: str, reading: str = "strict") -> float:
    return float(score(validate_text(TASK, read_answer(TASK, text, reading)), RewardConfig(mode=mode)).total)


@pytest.mark.parametrize("returned", [[1.0], [1.0] * 3, [], 1.0, {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}])
def test_a_reward_function_gives_one_number_for_each_completion_or_ends_the_run(returned: Any) -> None:
    reward = make_reward_function(TABLE, [NamedReward("mine", 1.0, lambda **given: returned)])
    with pytest.raises(RewardError, match="the reward function mine returned .* for 4 completions|4 completions; return"):
        reward(prompts=["p"] * 4, completions=[PLAN] * 4, row_index=[0] * 4)


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, "0.5", [1.0]])
def test_a_reward_that_is_no_number_is_never_left_out_of_a_mean(bad: Any) -> None:
    reward = make_reward_function(TABLE, [NamedReward("mine", 1.0, lambda **given: [1.0, bad, 1.0])])
    with pytest.raises(RewardError, match=r"for completion 1 \(from 0\) of 3; return a finite number"):
        reward(prompts=["p"] * 3, completions=[PLAN] * 3, row_index=[0] * 3)


NOTHING = (
    "",
    " \n",
    "<answer></answer>",
    "<think></think>",
    "<think>x</think>GOLD",
    "```pddl\n```",
    "; a plan\n",
    "()",
    "<plan></plan>",
)


@pytest.mark.parametrize("reading", ["strict", "lenient"])
@pytest.mark.parametrize("mode", REWARD_MODES)
def test_the_form_of_an_answer_without_a_plan_in_it_earns_nothing(mode: str, reading: str) -> None:
    failed = reward_of(PLAN.splitlines()[0], mode, reading)  # one good step that leads nowhere
    assert all(reward_of(text, mode, reading) <= min(failed, 0.0) for text in NOTHING)


@pytest.mark.parametrize("mode", REWARD_MODES)
def test_a_list_of_guesses_earns_no_more_than_its_last(mode: str) -> None:
    wrong = "".join(reversed(PLAN.splitlines(keepends=True)))
    both = f"<answer>\n{PLAN}</answer>\n<answer>\n{wrong}</answer>"
    assert reward_of(both, mode) < 0  # two answers are none
    assert reward_of(both, mode, "lenient") == reward_of(wrong, mode) < reward_of(PLAN, mode)


@pytest.mark.parametrize("reading", ["strict", "lenient"])
@pytest.mark.parametrize("mode", REWARD_MODES)
def test_a_plan_inside_of_reasoning_is_no_answer(mode: str, reading: str) -> None:
    assert extract_plan(f"<think>\n{PLAN}").cut_off
    for text in (f"<think>\n{PLAN}", f"<think>\n{PLAN}</think>\n", f"<think>\n{PLAN}</think>\nI give up."):
        assert reward_of(text, mode, reading) < 0
    wrong = PLAN.splitlines()[0]
    assert reward_of(f"<think>\n{PLAN}</think>\n{wrong}", mode, reading) == reward_of(wrong, mode, reading) < 0


def test_completions_in_any_order_are_scored_on_their_own_problems() -> None:
    indices = [0, 1, 2, TABLE.indices_of("spanner")[0]] * 3
    random.Random(1).shuffle(indices)
    answers = [str(TABLE.rows[index].response) for index in indices]
    reward = make_reward_function(TABLE, RewardConfig())
    assert reward(prompts=[""] * 12, completions=answers, row_index=indices) == [1.0] * 12
    moved = reward(prompts=[""] * 12, completions=answers[1:] + answers[:1], row_index=indices)
    assert [total == 1.0 for total in moved] == [
        here == there for here, there in zip(indices, indices[1:] + indices[:1], strict=True)
    ]
    with pytest.raises(ValueError, match="12 completions came with 11 row indices"):
        reward(prompts=[""] * 12, completions=answers, row_index=indices[1:])


def test_the_reward_for_verl_can_be_sent_to_its_worker_processes() -> None:
    assert pickle.loads(pickle.dumps(compute_score)) is compute_score
    row = TABLE.rows[0]
    found = compute_score(row.scenario, PLAN, row.problem_text, {"index": 0, "domain_pddl": None})  # parquet fills in nulls
    assert found["score"] == 1.0 and pickle.loads(pickle.dumps(found)) == found


def test_worker_threads_in_any_folder_get_the_rewards_of_the_main_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frameworks score in threads, where no alarm may be set, and in folders of their own."""
    asked = [(row.scenario, answer, row.problem_text) for row in TABLE.rows[:12] for answer in (PLAN, str(row.response), "", "(")]
    with monkeypatch.context() as elsewhere, ThreadPoolExecutor(8) as pool:
        elsewhere.chdir(tmp_path)
        found = list(pool.map(lambda one: compute_score(*one), asked))
    assert found == [compute_score(*one) for one in asked]
    assert {one["score"] for one in found} >= {-1.0, 1.0}


BLOCKS = {
    "a tag that never ends": "<tool_call>\n(sail l0 l1)\n</tool_call>\n" * 4000 + "<tool_call>\n(sail l0",
    "reasoning that never ends": "<think>\n(sail l0 l1)\n</think>\n" * 4000 + "<think>",
    "a fence that never ends": "```pddl\n(sail l0 l1)\n```\n" * 4000 + "```pddl\n(sail",
    "numbered steps": "".join(f"{number}. sail(l0, l1), " for number in range(8000)) + "8001. sail(l0",
    "the same words": "Let me think again. " * 8000,
}


@pytest.mark.parametrize("reading", ["strict", "lenient"])
@pytest.mark.parametrize("name", BLOCKS)
def test_an_answer_that_repeats_itself_until_it_is_cut_off_costs_no_time(name: str, reading: str) -> None:
    began = time.process_time()
    assert reward_of(BLOCKS[name], "dense", reading) < 0.5
    assert time.process_time() - began < 3  # 0.1 s; anything that tries all ways to match would take for ever


def test_no_chance_is_made_up_for_more_answers_than_were_drawn() -> None:
    assert [pass_at_k(10, solved, 10) for solved in (0, 1, 10)] == [0.0, 1.0, 1.0]
    for samples, solved in ((2, 0), (1, 1), (9, 3)):
        with pytest.raises(ValueError, match=rf"k must lie in 1\.\.{samples}"):
            pass_at_k(samples, solved, 10)


@pytest.mark.parametrize(("prompts", "generations", "processes"), [(1, 8, 1), (3, 7, 3), (7, 8, 7), (8, 8, 4)])
def test_groups_are_whole_for_any_number_of_prompts_generations_and_processes(
    prompts: int, generations: int, processes: int
) -> None:
    shape = batch_shape(TrainingConfig(batch_size=prompts, num_generations=generations), "cuda", processes)
    assert shape.completions_per_micro_batch % generations == 0
    assert shape.completions_per_micro_batch * shape.micro_batches * processes == prompts * generations


def test_a_batch_that_cannot_be_shared_out_is_refused_with_the_number_that_can() -> None:
    with pytest.raises(ConfigError, match="8 prompts per step .* among 3 processes in micro-batches of 1: .* a multiple of 3"):
        batch_shape(TrainingConfig(batch_size=8, num_generations=8), "cuda", 3)
    with pytest.raises(ConfigError, match="--num_generations must be at least 2, got 1"):
        TrainingConfig(num_generations=1)
