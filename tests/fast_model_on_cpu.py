"""A run of the main path with a model that FastLanguageModel loads, on a CPU: Triton's interpreter works out Unsloth's kernels.

    TRITON_INTERPRET=1 python tests/fast_model_on_cpu.py settings.json step.pt

What its first step learned from, and the gradient, go to step.pt. A process of its own: loading a model patches transformers.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.unsloth_on_cpu import Replace, rewrite_trl  # noqa: E402


def stand_in_for_cuda(replace: Replace) -> None:
    """What FastLanguageModel asks of CUDA and its rotary cache, which is counted by GPU, answered for a CPU."""
    import torch
    from unsloth.models.llama import _PerDeviceRopeCache as RopeCache

    answers = {
        "DEVICE_TYPE_TORCH": "cpu",
        "DEVICE_COUNT": 1,
        "get_current_device": lambda: "cpu",
        "get_device_stats": lambda: ("", "", 0.0),
    }
    for module in [module for name, module in sys.modules.items() if name.startswith("unsloth")]:
        for name in set(answers) & set(vars(module)):
            replace(module, name, answers[name])
    replace(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    replace(torch.cuda, "current_device", lambda: 0)

    def build(self: Any, device_index: int) -> None:
        size = self.current_rope_size
        self._set_cos_sin_cache(self._rope_cache_rows(), torch.device("cpu", 0), self._rope_cache_dtype)
        self.current_rope_size = size
        self._rope_cache_versions[0] = self._rope_cache_version

    ensure = RopeCache._ensure_rope_cache
    replace(RopeCache, "_build_rope_cache", build)
    replace(RopeCache, "_ensure_rope_cache", lambda self, device_index: ensure(self, 0))


def load_in_float32(replace: Replace) -> None:
    """models/loading.py takes Unsloth, and asks it for float32: half precision is for GPUs."""
    import torch
    from unsloth import FastLanguageModel

    from grpo_project.models import loading

    load, loader = FastLanguageModel.from_pretrained, loading._load_with_unsloth
    replace(FastLanguageModel, "from_pretrained", lambda **how: load(**{**how, "dtype": torch.float32}))
    replace(
        loading, "_load_with_unsloth", lambda path, plan, asked: loader(path, dataclasses.replace(plan, autocast="bf16"), asked)
    )
    replace(loading, "choose_backend", lambda asked="auto", small=False: ("unsloth", "cpu", "a test asks for it"))


def record_first_step(file: str) -> None:
    """Saves the completions of the first step, the adapters before it and the gradient of its loss."""
    import torch
    import trl

    step, inner = trl.GRPOTrainer.training_step, trl.GRPOTrainer._prepare_inputs
    seen: dict[str, Any] = {}

    def prepare(self: Any, batch: Any) -> Any:
        inputs = inner(self, batch)
        seen.setdefault("inputs", {name: value.clone() for name, value in inputs.items() if isinstance(value, torch.Tensor)})
        return inputs

    def training_step(self: Any, model: Any, *arguments: Any, **how: Any) -> Any:
        first = "adapters" not in seen
        trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        if first:
            seen["adapters"] = {name: value.detach().clone() for name, value in trained.items()}
        loss = step(self, model, *arguments, **how)
        if first:
            seen["gradient"] = {name: value.grad.clone() for name, value in trained.items()}
            torch.save(seen, file)
        return loss

    trl.GRPOTrainer._prepare_inputs, trl.GRPOTrainer.training_step = prepare, training_step


def main(settings_file: str, step_file: str) -> int:
    rewrite_trl()
    import torch

    torch.set_num_threads(1)
    from varied_verdicts import schedule

    from grpo_project.configs.training import TrainingConfig
    from grpo_project.training.run import train

    stand_in_for_cuda(setattr)
    load_in_float32(setattr)
    record_first_step(step_file)
    return train(TrainingConfig(**json.loads(Path(settings_file).read_text())), schedule)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
