"""What needs CUDA: 4-bit models loaded, trained for a step or two, saved, continued, merged. `pytest -m gpu`; a few minutes.

A random Llama large enough to be treated as a real model; a third of its answers count as success, so that there is a gradient.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

CUDA = torch.cuda.is_available()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="needs CUDA")]
ROOT = Path(__file__).resolve().parents[2]
HAVE_UNSLOTH = importlib.util.find_spec("unsloth") is not None
UNSLOTH = pytest.param("unsloth", marks=pytest.mark.skipif(not HAVE_UNSLOTH, reason="needs unsloth"))
BACKENDS = [UNSLOTH, "transformers"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.6 B random parameters in bfloat16: above the size that is trained without adapters."""
    spec = importlib.util.spec_from_file_location("verify_gpu", ROOT / "script" / "verify_gpu.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Path(module.make_model(tmp_path_factory.mktemp("model") / "random-llama", module.LARGE))


def _settings(model: Path, folder: Path, backend: str) -> dict[str, Any]:
    return {
        "base_model": str(model),
        "data_root": str(ROOT / "data" / "four_domain"),
        "output_dir": str(folder),
        "backend": backend,
        "batch_size": 4,
        "num_generations": 4,
        "max_steps": 2,
        "save_steps": 1,
        "logging_steps": 1,
        "max_completion_length": 32,
        "max_prompt_length": 1024,
        "eval_samples": 0,
        "eval_every_n_steps": 0,
        "use_wandb": False,
        "curriculum": "uniform",
        "use_gradient_checkpointing": True,
    }


def _run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RANK": "0"}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=900, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stdout


def _train(settings: dict[str, Any], folder: Path, name: str) -> str:
    file = folder / f"{name}.json"
    file.write_text(json.dumps(settings))
    return _run([str(ROOT / "tests" / "varied_verdicts.py"), str(file), str(folder / f"{name}-")], folder)


def _adapters(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_4_bit_model_takes_steps_is_saved_and_goes_on(model: Path, tmp_path: Path, backend: str) -> None:
    run = tmp_path / "run"
    shown = _train(_settings(model, run, backend), tmp_path, "whole")
    assert f"Backend: {backend}" in shown and "Memory of one GPU, estimated" in shown and "weights, 4 bit" in shown
    first = _adapters(run / "model")
    assert any(bool(value.abs().max() > 0) for name, value in first.items() if "lora_B" in name)  # they begin at zero
    rows = json.loads((tmp_path / "whole-0.json").read_text())
    (run / "model").rename(run / "model-before")
    _train({"resume_from_checkpoint": str(run / "checkpoint-1")}, tmp_path, "again")
    assert json.loads((tmp_path / "again-0.json").read_text()) == rows[1:]
    again = _adapters(run / "model")
    assert set(again) == set(first)
    # Kernels may add in another order from run to run, so not bit for bit; an optimizer that began anew would differ by more.
    for name, value in first.items():
        torch.testing.assert_close(again[name], value, rtol=0.1, atol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_training_script_trains_with_one_command(model: Path, tmp_path: Path, backend: str) -> None:
    flags = (
        "--max_steps 1 --batch_size 4 --num_generations 4 --max_completion_length 32 --max_prompt_length 1024 --eval_samples 1"
    )
    script = str(ROOT / "script" / "train_grpo_unsloth_stl_v2.py")
    shown = _run(
        [
            script,
            "--base_model",
            str(model),
            "--data_root",
            str(ROOT / "data" / "four_domain"),
            "--backend",
            backend,
            "--no_wandb",
        ]
        + ["--test_data", str(ROOT / "data" / "test"), "--output_dir", str(tmp_path / "run"), *flags.split()],
        tmp_path,
    )
    assert f"Trained model: {tmp_path / 'run' / 'model'}" in shown
    assert (tmp_path / "run" / "model" / "adapter_config.json").is_file()


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_adapter_is_merged_into_16_bit(model: Path, tmp_path: Path, backend: str) -> None:
    _train({**_settings(model, tmp_path / "run", backend), "max_steps": 1}, tmp_path, "whole")
    adapter, merged = str(tmp_path / "run" / "model"), tmp_path / "merged"
    script = str(ROOT / "script" / "export_model.py")
    _run([script, "--model", adapter, "--merged", str(merged), "--backend", backend], tmp_path)
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.bfloat16).to("cuda")
    with torch.inference_mode():
        logits = whole(torch.arange(5, 25, device="cuda")[None]).logits
    assert bool(torch.isfinite(logits).all())


def test_memory_that_runs_out_here_is_known_as_such() -> None:
    from grpo_project.models.forecast import out_of_memory

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8, device="cuda")
    assert out_of_memory(caught.value)
