"""The reward under verl itself: its data set, its reward worker and manager, over answers of the shipped planner."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grpo_project.configs.reward import RewardConfig
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.rewards import make_reward_function
from grpo_project.rewards.verl import verl_rows
from tests.environments.conftest import PLANNER, marks
from tests.served import ROOT

pytestmark = [*marks("verl"), pytest.mark.filterwarnings("ignore")]  # theirs

PROBLEMS, TOKENS = 24, 128


def asked_table() -> RowTable:
    """Ferry and spanner problems in the prompt that the planner reads."""
    table = read_rows(ROOT / "data" / "test", ["ferry", "spanner"])
    rows = [replace(row, prompt=row_prompt(row, "compact_by_name")) for row in (*table.rows[:12], *table.rows[200:212])]
    return RowTable(table.origin, table.domains, rows, (), table.fingerprint)


def verl_config(mode: str) -> Any:
    """verl's own defaults, with our reward as docs/integrations.md sets it."""
    import verl
    from hydra import compose, initialize_config_dir

    wanted = [
        f"actor_rollout_ref.model.path={ROOT / PLANNER}",
        "reward.num_workers=1",
        "reward.custom_reward_function.path=pkg://grpo_project.rewards.verl",
        "reward.custom_reward_function.name=compute_score",
        f"+reward.custom_reward_function.reward_kwargs.mode={mode}",
    ]
    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        return compose("ppo_trainer", wanted)


def rollout_batch(table: RowTable, config: Any, tokenizer: Any, folder: Path) -> Any:
    """A batch as verl's trainer holds it after a greedy rollout: rows by way of parquet, prompts padded left, answers right.

    transformers generates: verl 0.9.1 generates by servers that need a GPU, and its HFRollout cannot be constructed.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from verl import DataProto
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
    from verl.utils.torch_functional import get_response_mask

    Dataset.from_list(list(verl_rows(table, "test"))).to_parquet(folder / "test.parquet")
    rows = RLHFDataset(str(folder / "test.parquet"), tokenizer, config.data)
    batch = DataProto.from_single_dict(collate_fn([rows[index] for index in range(len(rows))]))
    chats = [list(chat) for chat in batch.non_tensor_batch["raw_prompt"]]
    asked = tokenizer.apply_chat_template(chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True)
    model = AutoModelForCausalLM.from_pretrained(ROOT / PLANNER, dtype=torch.float32)
    model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    whole = model.generate(**asked, max_new_tokens=TOKENS, do_sample=False)
    answers = whole[:, asked["input_ids"].shape[1] :]
    written = get_response_mask(answers, tokenizer.eos_token_id, asked["attention_mask"].dtype)
    batch.batch["prompts"], batch.batch["responses"] = asked["input_ids"], answers
    batch.batch["attention_mask"] = torch.cat([asked["attention_mask"], written], 1)
    return batch


def test_verls_reward_worker_gives_a_rollouts_answers_the_rewards_of_training(tmp_path: Path) -> None:
    from verl.experimental.reward_loop import RewardLoopWorker
    from verl.trainer.ppo.reward import resolve_reward_manager_cls
    from verl.utils import hf_tokenizer

    table, config, tokenizer = asked_table(), verl_config("banded"), hf_tokenizer(str(ROOT / PLANNER))
    batch = rollout_batch(table, config, tokenizer, tmp_path)

    async def scored() -> list[dict[str, Any]]:
        return await RewardLoopWorker(config).compute_score_batch(batch)  # what verl runs in processes of Ray's

    scores = asyncio.run(scored())
    rewards = resolve_reward_manager_cls(config).assemble_rm_scores(batch, [one["reward_score"] for one in scores])
    texts = tokenizer.batch_decode(batch.batch["responses"], skip_special_tokens=True)
    expected = make_reward_function(table, RewardConfig(mode="banded"))(
        prompts=texts, completions=texts, row_index=list(range(PROBLEMS))
    )
    assert rewards.sum(1).tolist() == pytest.approx(expected)
    assert [one["reward_extra_info"]["score"] for one in scores] == pytest.approx(expected)
    solved = sum(one["reward_extra_info"]["acc"] for one in scores)
    assert 0 < solved < PROBLEMS and solved == expected.count(1.0)
    # verl puts the reward on the last token of the answer.
    lengths = batch.batch["attention_mask"][:, batch.batch["prompts"].shape[1] :].sum(1)
    assert (rewards.abs().argmax(1) == lengths - 1).all()
