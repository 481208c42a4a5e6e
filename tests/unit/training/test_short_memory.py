"""A GPU's memory that runs out in the middle of a run, or while the model is loaded, ends in one line that helps."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

CUDA_SAYS = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.60 GiB.\nSee the documentation."


@pytest.fixture
def script() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "script" / "train_grpo_unsloth_stl_v2.py"
    spec = importlib.util.spec_from_file_location("train_grpo_script", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def flags(data_root: Path, tiny_planner: Path, tmp_path: Path) -> list[str]:
    text = (
        f"--base_model {tiny_planner} --data_root {data_root} --output_dir {tmp_path / 'run'} --batch_size 4 --num_generations 2 "
        "--max_steps 3 --max_completion_length 8 --save_steps 1 --eval_samples 0 --no_wandb --beta 0"
    )
    return text.split()


def _one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr().err
    (line,) = [line for line in captured.splitlines() if "ran out" in line]
    assert "Traceback" not in captured
    return line


@pytest.mark.slow
def test_in_a_step_it_ends_in_advice_and_names_the_checkpoint(
    script: ModuleType, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import trl

    step = trl.GRPOTrainer.training_step

    def failing(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if self.state.global_step == 2:
            raise torch.OutOfMemoryError(CUDA_SAYS)
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(trl.GRPOTrainer, "training_step", failing)
    assert script.main(flags) == 2
    line = _one_line(capsys)
    assert "Tried to allocate 2.00 GiB" in line and "See the documentation" not in line
    assert "What lowers it, each by itself: --" in line and "--max_prompt_length 1024 saves " in line
    assert "checkpoint-2 holds step 2: go on with --use_gradient_checkpointing by " in line
    assert "--resume_from_checkpoint auto" in line and f"--base_model {tmp_path / 'run' / 'checkpoint-2'}" in line

    monkeypatch.setattr(trl.GRPOTrainer, "training_step", step)
    again = ["--output_dir", str(tmp_path / "run"), "--resume_from_checkpoint", "auto", "--use_gradient_checkpointing"]
    assert script.main(again) == 0  # what was advised works
    assert (tmp_path / "run" / "model" / "config.json").is_file()


def test_while_loading_it_ends_in_advice_too(
    script: ModuleType, flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from grpo_project.models import loading as backend

    def failing(*arguments: Any, **keywords: Any) -> Any:
        raise torch.OutOfMemoryError(CUDA_SAYS)

    monkeypatch.setattr(backend, "_load_with_transformers", failing)
    assert script.main(flags) == 2
    line = _one_line(capsys)
    assert "What lowers it" in line and "No checkpoint had been written" in line


def test_another_runtime_error_is_not_taken_for_it(script: ModuleType, flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from grpo_project.training import run

    def failing(*arguments: Any) -> Any:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(run, "gather_inputs", failing)
    with pytest.raises(RuntimeError, match="shapes differ"):
        script.main(flags)
