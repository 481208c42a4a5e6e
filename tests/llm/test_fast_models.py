"""FastLanguageModel and its kernels on a CPU, without a GPU's half precision and compiled code: a GRPO step by the main path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.llm.conftest import MARKS
from tests.unit.conftest import write_data_root, write_tiny_planner

pytestmark = MARKS
WORKER = Path(__file__).resolve().parents[1] / "fast_model_on_cpu.py"
SETTINGS = {
    "batch_size": 2,
    "num_generations": 3,
    "max_steps": 1,
    "max_completion_length": 8,
    "lora_rank": 4,
    "load_in_4bit": False,
    "loss_type": "dapo",
    "max_grad_norm": 1e9,
    "beta": 0.0,
    "logging_steps": 1,
    "save_steps": 1,
    "eval_samples": 0,
    "eval_every_n_steps": 0,
    "use_wandb": False,
}
# Answers of a random model differ by processor, and a step whose groups have equal rewards has no gradient to compare.
REWARD = "def by_place(completions, **columns):\n    return [float(place % 3) for place in range(len(completions))]\n"


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Qwen3"])
def test_a_step_has_the_gradient_that_plain_transformers_gives(family: str, tmp_path: Path) -> None:
    import torch

    model, step_file = write_tiny_planner(tmp_path / "model", family=family), tmp_path / "step.pt"
    data = write_data_root(tmp_path / "data", domains=("ferry",))
    (tmp_path / "reward.py").write_text(REWARD)
    folders = {"base_model": str(model), "data_root": str(data), "test_data": str(data)}
    settings = {**SETTINGS, **folders, "reward": [f"{tmp_path / 'reward.py'}:by_place"]}
    (tmp_path / "settings.json").write_text(json.dumps(settings | {"output_dir": str(tmp_path / "run")}))
    done = subprocess.run(
        [sys.executable, str(WORKER), str(tmp_path / "settings.json"), str(step_file)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "run" / "model" / "adapter_model.safetensors").is_file()
    step = torch.load(step_file)
    expected = plain_gradient(model, step["inputs"], step["adapters"])
    assert set(expected) == set(step["gradient"])
    ours, theirs = (torch.cat([found[name].flatten() for name in sorted(found)]) for found in (step["gradient"], expected))
    assert theirs.norm() > 1e-3
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-3


def plain_gradient(folder: Path, inputs: dict[str, Any], adapters: dict[str, Any]) -> dict[str, Any]:
    """Of `dapo` on the first use of completions, by transformers and PEFT: -mean over tokens of advantage times log p."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from grpo_project.configs.training import TrainingConfig
    from grpo_project.models.loading import LORA_TARGETS

    lora = LoraConfig(r=4, lora_alpha=32, target_modules=list(LORA_TARGETS), task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), lora)
    assert set(adapters) == {name for name, value in model.named_parameters() if value.requires_grad}
    model.load_state_dict(adapters, strict=False)
    answers, answered = inputs["completion_ids"], inputs["completion_mask"]
    ids, mask = torch.cat([inputs["prompt_ids"], answers], 1), torch.cat([inputs["prompt_mask"], answered], 1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits[:, -answers.shape[1] - 1 : -1]
    logits = logits / TrainingConfig.temperature
    chosen = torch.log_softmax(logits, -1).gather(-1, answers[..., None])[..., 0]
    loss = -(inputs["advantages"][:, None] * chosen * answered).sum() / answered.sum()
    loss.backward()
    return {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
