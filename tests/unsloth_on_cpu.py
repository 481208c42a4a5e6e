"""The GRPOTrainer that Unsloth really writes, on a CPU. Only the model is transformers and PEFT: Unsloth's kernels want a GPU.

    python tests/unsloth_on_cpu.py settings.json 3    (a run of its own, killed as it takes its third step)

UNSLOTH_ALLOW_CPU=1 lets `import unsloth` pass without a GPU, but then it leaves TRL as it is. So the variable is taken away again
and its rewriting called by hand. It compiles what it writes, which takes minutes and changes nothing here: that is turned off.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Replace = Callable[[Any, str, Any], None]
QUIET = {"UNSLOTH_COMPILE_DISABLE": "1", "TORCHDYNAMO_DISABLE": "1", "UNSLOTH_DISABLE_STATISTICS": "1"}


def rewrite_trl() -> None:
    """From here on trl.GRPOTrainer is UnslothGRPOTrainer, as on a GPU. What it writes goes into a temporary folder."""
    os.environ |= {**QUIET, "UNSLOTH_COMPILE_LOCATION": tempfile.mkdtemp(prefix="unsloth-"), "UNSLOTH_ALLOW_CPU": "1"}
    import unsloth  # noqa: F401 - before trl and transformers
    from unsloth.models.llama import FastLlamaModel
    from unsloth.models.rl import PatchFastRL

    del os.environ["UNSLOTH_ALLOW_CPU"]
    PatchFastRL(FastLanguageModel=FastLlamaModel)


def with_modes(model: Any) -> Any:
    """The model with what Unsloth's own loading puts on it and its trainer calls."""
    from unsloth.models.llama import FastLlamaModel

    model.for_training = functools.partial(FastLlamaModel.for_training, model, use_gradient_checkpointing=False)
    model.for_inference = functools.partial(FastLlamaModel.for_inference, model)
    model._unsloth_user_float32 = True  # as where float32 was asked for: else its trainer computes in float16
    return model


def take_unsloth(replace: Replace) -> None:
    """models/loading.py chooses Unsloth, by `replace(module, name, value)`."""
    from grpo_project.models import loading

    def load(path: str, plan: loading.LoadPlan, asked: loading.LoadOptions) -> Any:
        model = loading._load_with_transformers(path, plan, asked)
        from transformers import AutoTokenizer

        return with_modes(model), AutoTokenizer.from_pretrained(path)

    replace(loading, "choose_backend", lambda asked="auto", small=False: ("unsloth", "cpu", "a test asks for it"))
    replace(loading, "_load_with_unsloth", load)


def kill_at(step: int) -> None:
    """This process dies as the optimizer is about to take its `step`-th step."""
    from torch.optim import AdamW

    inner, calls = AdamW.step, iter(range(1, 10**6))

    def counted(*arguments: Any, **how: Any) -> Any:
        if next(calls) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*arguments, **how)

    AdamW.step = counted  # type: ignore[method-assign]


def main(settings_file: str, self_kill_at_step: str) -> int:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    rewrite_trl()
    import torch

    torch.set_num_threads(1)  # as tests/llm/conftest.py: sums over several threads end in other last digits
    from varied_verdicts import schedule, vary_verdicts

    from grpo_project.training.launch import resolve_settings
    from grpo_project.training.run import train

    take_unsloth(setattr)
    vary_verdicts(setattr, lambda rows, texts, rewards: None)
    kill_at(int(self_kill_at_step))
    return train(resolve_settings(json.loads(Path(settings_file).read_text())), schedule)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
