"""TRL's colocate mode on a CPU: a run draws its completions by a real vLLM, which takes the new weights before each step."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.served import ROOT

pytestmark = pytest.mark.vllm

PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
STEPS = 3


def test_vllm_draws_with_the_weights_that_the_step_before_left(tmp_path: Path) -> None:
    """Both find the same log-probabilities of every token, also after steps large enough to be seen in them. Our own loop for a
    CPU has none, so that TRL could not compare."""
    if not PYTHON.exists():
        pytest.skip("needs .venv-vllm: make test-vllm")
    model = "--base_model data/models/tiny-planner --data_root data/four_domain --backend transformers --use_vllm"
    length = f"--max_steps {STEPS} --save_steps {STEPS} --max_prompt_length 512 --max_completion_length 64"
    size = "--batch_size 4 --num_generations 4 --eval_samples 0 --report_to none --logging_steps 1"
    rate = "--learning_rate 1e-2 --warmup_steps 0 --lr_scheduler constant"
    run = tmp_path / "run"
    words = [str(PYTHON), "tests/colocate_on_cpu.py", *f"{model} {length} {size} {rate}".split(), "--output_dir", str(run)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    log = json.loads((run / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())["log_history"]
    apart = [record["sampling/sampling_logp_difference/max"] for record in log]
    assert len(apart) == STEPS and all(0 < largest < 1e-3 for largest in apart), apart
