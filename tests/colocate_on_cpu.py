"""The training script with its own flags, drawing completions by TRL's colocate mode on a CPU. Run by the Python of .venv-vllm:

    python tests/colocate_on_cpu.py --use_vllm --backend transformers ...

Three things are not as on a GPU. The run's own check, which wants CUDA, is left out. vLLM's layers for the CPU pack their weights
and throw the parameters away, so that none can be loaded anew (`'Parameter' object has no attribute 'weight_loader'`): oneDNN,
which packs them, is turned off, and the layers multiply with the parameters themselves. And vLLM, which would make bfloat16 of a
float32 model, computes in float32, so that it must find the log-probabilities of the trainer.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str]) -> int:
    sys.path[:0] = [str(ROOT), str(ROOT / "script")]
    from train_grpo_unsloth_stl_v2 import main as train
    from trl.generation import vllm_generation
    from vllm import _custom_ops

    from grpo_project.training import run

    _custom_ops._supports_onednn = False
    vllm_generation.LLM = functools.partial(vllm_generation.LLM, dtype="float32", enforce_eager=True)  # compiling takes minutes
    run.check_vllm = lambda config, plan: None
    return train(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
