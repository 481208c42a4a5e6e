"""Runs of their own on Unsloth's trainer: adapters, a killed run, evaluation, and the same figures as on TRL's trainer."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from varied_verdicts import schedule, vary_verdicts

from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError
from grpo_project.training import launch
from grpo_project.training.run import train
from tests.llm.conftest import MARKS
from tests.llm.test_losses import trls_own

pytestmark = MARKS
TESTS = Path(__file__).resolve().parents[1]
NO_TWO_RUNS_SHARE = ("seconds_per_step", "tokens_seen")


@pytest.fixture
def settings(data_root: Path, tiny_planner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Four steps with LoRA adapters, two batches a step in micro-batches."""
    vary_verdicts(monkeypatch.setattr, lambda rows, texts, rewards: None)
    return {
        "base_model": str(tiny_planner),
        "data_root": str(data_root),
        "output_dir": str(tmp_path / "run"),
        "batch_size": 4,
        "num_generations": 4,
        "gradient_accumulation_steps": 2,
        "micro_batch_size": 2,
        "max_steps": 4,
        "max_completion_length": 12,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_steps": 1,
        "eval_samples": 0,
        "eval_every_n_steps": 0,
        "report_to": ("none",),
        "lora_rank": 8,
    }


def records(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in NO_TWO_RUNS_SHARE} for line in lines]


def seconds(folder: Path) -> list[dict[str, float]]:
    """By part of a step, of every logged step."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["seconds_per_step"] for line in lines if line.get("seconds_per_step")]


def adapters(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def test_a_killed_run_goes_on_to_the_same_figures_and_adapters(
    settings: dict[str, Any], test_data_root: Path, tmp_path: Path
) -> None:
    import torch

    settings |= {"eval_samples": 2, "test_data": str(test_data_root), "eval_every_n_steps": 2, "max_eval_samples": 2}
    settings |= {"curriculum": "adaptive", "seed": 7}
    assert train(TrainingConfig(**{**settings, "output_dir": str(tmp_path / "straight")}), schedule) == 0
    straight = records(tmp_path / "straight")
    assert [line["step"] for line in straight] == [0, 1, 2, 3, 4]
    assert [line["step"] for line in straight if "eval_avg_test_pass_rate" in line] == [0, 2, 4]
    assert all({"entropy", "zero_entropy_answers"} <= set(line) for line in straight[1:])

    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-W", "ignore", str(TESTS / "unsloth_on_cpu.py"), str(file), "3"]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    run = Path(settings["output_dir"])
    assert (run / "checkpoint-2").is_dir() and not (run / "checkpoint-3").exists() and not (run / "model").exists()
    assert train(launch.resolve_settings({"output_dir": str(run), "resume_from_checkpoint": "auto"}), schedule) == 0
    assert records(run) == straight
    ours, theirs = adapters(run / "model"), adapters(tmp_path / "straight" / "model")
    assert set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert any(bool(value.abs().max() > 0) for name, value in theirs.items() if "lora_B" in name)  # they begin at zero
    for when in ("before", "after"):
        assert (run / f"evaluation_{when}.json").is_file()


@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_both_trainers_record_the_same_figures(settings: dict[str, Any], tmp_path: Path, beta: float) -> None:
    settings |= {"beta": beta, "max_steps": 3}
    assert train(TrainingConfig(**settings), schedule) == 0
    with pytest.MonkeyPatch.context() as plain:
        import trl

        from grpo_project.models import loading

        config_class, trainer_class = trls_own()
        plain.setattr(trl, "GRPOConfig", config_class)
        plain.setattr(trl, "GRPOTrainer", trainer_class)
        plain.setattr(loading, "choose_backend", lambda asked="auto", small=False: ("transformers", "cpu", "a test asks for it"))
        assert train(TrainingConfig(**{**settings, "output_dir": str(tmp_path / "plain")}), schedule) == 0
    assert all(0 < step["entropy"] < step["total"] for step in seconds(tmp_path / "run"))
    assert not any("entropy" in step for step in seconds(tmp_path / "plain"))
    for ours, theirs in zip(records(tmp_path / "run"), records(tmp_path / "plain"), strict=True):
        assert set(ours) == set(theirs)
        assert ("kl" in ours) == (beta > 0)
        assert 0 < ours["entropy"] < 10 and 0 <= ours["zero_entropy_answers"] <= 1


def test_the_first_steps_show_the_entropy_of_their_answers(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert train(TrainingConfig(**{**settings, "diagnose_steps": 2, "max_steps": 2}), schedule) == 0
    shown = capsys.readouterr().out
    assert len(re.findall(r"entropy=\d\.\d{3}  # nats", shown)) == 4 and "entropy=not" not in shown


def test_a_precision_that_unsloth_would_choose_is_refused(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither bf16 nor fp16, and without the mark of a model that was loaded in float32, its trainer takes one of them."""
    from grpo_project.models import loading

    marked = loading._load_with_unsloth

    def unmarked(*how: Any) -> Any:
        model, tokenizer = marked(*how)
        model._unsloth_user_float32 = False
        return model, tokenizer

    monkeypatch.setattr(loading, "_load_with_unsloth", unmarked)
    with pytest.raises(ConfigError, match=r"unsloth changed what was asked for: (bf16|fp16) from False to True\. .*--backend"):
        train(TrainingConfig(**settings), schedule)
