"""SFT on the SFTTrainer that Unsloth writes: adapters learn, and a warm start that was killed goes on to the same ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from grpo_project.sft.config import resolve_settings
from grpo_project.sft.run import train_sft
from tests.llm.conftest import MARKS
from tests.llm.test_runs import adapters

pytestmark = MARKS
PROMPT = "ferry l0 l1 l2 l3 c0 +at c0 l{0} +at-ferry l{0} !at c0 l{1}"
PLAN = "(board c0 l{0})\n(sail l{0} l{1})\n(debark c0 l{1})\n"


def test_a_killed_warm_start_goes_on_to_the_same_adapters(tiny_planner: Path, tmp_path: Path) -> None:
    import torch
    import trl

    assert trl.SFTTrainer.__name__ == "UnslothSFTTrainer"
    (tmp_path / "data").mkdir()
    meta = {"scenario": "ferry", "problem_file": "ferry-l4-c1-s1.pddl", "prompt_style": "compact"}
    pairs = [(start, goal) for start in range(4) for goal in range(4) if start != goal]
    rows = [{"prompt": PROMPT.format(*pair), "response": PLAN.format(*pair), "meta": meta} for pair in pairs]
    (tmp_path / "data" / "ferry.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {
        "base_model": str(tiny_planner),
        "data_roots": [str(tmp_path / "data")],
        "lora_rank": 4,
        "optimizer": "adamw",
        "learning_rate": 1e-2,
        "batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_steps": 5,
        "save_steps": 2,
        "logging_steps": 1,
        "warmup_steps": 0,
    }
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert train_sft(resolve_settings({**given, "output_dir": str(straight)})) == 0
    losses = json.loads((straight / "model" / "training_record.json").read_text())["losses"]
    assert [point["step"] for point in losses] == [1, 2, 3, 4, 5] and losses[-1]["loss"] < losses[0]["loss"]
    shutil.copytree(straight, killed, ignore=shutil.ignore_patterns("checkpoint-5", "model"))
    assert train_sft(resolve_settings({"output_dir": str(killed), "resume_from_checkpoint": "auto"})) == 0
    assert json.loads((killed / "model" / "training_record.json").read_text())["resumed_at_step"] == 4
    ours, theirs = adapters(killed / "model"), adapters(straight / "model")
    assert set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert any(bool(value.abs().max() > 0) for name, value in theirs.items() if "lora_B" in name)  # they begin at zero
