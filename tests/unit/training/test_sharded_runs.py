"""FSDP and ZeRO on two gloo processes: the training of whole models, a checkpoint that continues, a model that is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from grpo_project.common import ranks  # noqa: E402
from grpo_project.models import loading as backend  # noqa: E402
from tests.accelerate_files import FILES, variables_of  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[3]
TESTS = REPOSITORY / "tests"
DEEPSPEED = Path(sys.prefix) / "deepspeed"  # where script/setup_environment.sh puts it
SHARDED = {file.stem: file for file in FILES if file.stem != "ddp"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"WORLD_SIZE": "2"}, False),
        ({"WORLD_SIZE": "1", "ACCELERATE_USE_FSDP": "true"}, False),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}, True),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, False),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, True),
    ],
)
def test_sharding_is_known_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
) -> None:
    for name in ("WORLD_SIZE", "ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_DEEPSPEED_ZERO_STAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks.shards_parameters() is expected


def test_a_model_that_will_be_sharded_is_placed_by_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "local_rank", lambda: 3)
    assert backend.device_map("cpu") is None
    assert backend.device_map("cuda") == {"": 3}
    monkeypatch.setattr(ranks, "shards_parameters", lambda: True)
    assert backend.device_map("cuda") is None


@pytest.fixture
def settings(data_root: Path, test_data_root: Path, tiny_planner: Path) -> dict[str, Any]:
    return {
        "base_model": str(tiny_planner),
        "data_root": str(data_root),
        "test_data": str(test_data_root),
        "batch_size": 8,
        "num_generations": 4,
        "max_steps": 2,
        "max_completion_length": 12,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_steps": 1,
        "eval_samples": 1,
        "eval_every_n_steps": 1,
        "max_eval_samples": 1,
        "use_wandb": False,
        "beta": 0.0,
    }


def _run(settings: dict[str, Any], folder: Path, name: str, how: str) -> None:
    """`how`: whole, or a key of SHARDED."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    worker = [] if how == "whole" else [str(TESTS / "sharding_worker.py")]
    variables = {} if how == "whole" else variables_of(SHARDED[how]) | {"DS_ACCELERATOR": "cpu"}
    path = f"{REPOSITORY}{os.pathsep}{DEEPSPEED}" if how.startswith("zero") else str(REPOSITORY)
    done = subprocess.run(
        [*command, *worker, str(TESTS / "varied_verdicts.py"), str(file), str(folder / f"{name}-")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **variables, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("how", SHARDED)
def test_a_sharded_run_trains_saves_and_goes_on_as_a_whole_one(
    settings: dict[str, Any], tmp_path: Path, tiny_planner: Path, how: str, rank: int
) -> None:
    if how != "fsdp" and not DEEPSPEED.is_dir():
        pytest.skip("needs deepspeed, which script/setup_environment.sh brings where no GPU is")
    settings["lora_rank"] = rank
    file = "adapter_model.safetensors" if rank else "model.safetensors"
    found = {}
    for name in ("whole", how):
        _run({**settings, "output_dir": str(tmp_path / name)}, tmp_path, name, name)
        found[name] = load_file(tmp_path / name / "model" / file)
    whole, sharded_weights = found["whole"], found[how]
    assert set(whole) == set(sharded_weights)
    if not rank:
        before = load_file(tiny_planner / file)
        assert any(not torch.equal(before[key], whole[key]) for key in whole)
    for key, value in whole.items():
        assert sharded_weights[key].shape == value.shape
        torch.testing.assert_close(sharded_weights[key], value, rtol=1e-3, atol=1e-4)
    run = tmp_path / how
    assert list((run / "checkpoint-1").glob("*fsdp*" if how == "fsdp" else "global_step1/*zero*"))  # it was this that trained
    for process in (0, 1):  # the same problems in the same processes
        assert (tmp_path / f"whole-{process}.json").read_text() == (tmp_path / f"{how}-{process}.json").read_text()
    assert (run / "evaluation_after.json").is_file()
    assert backend.load_policy(str(run / "model")).prompt_style == "compact"
    if rank:
        return

    (run / "model").rename(run / "model-before")
    _run({"resume_from_checkpoint": str(run / "checkpoint-1")}, tmp_path, "again", how)
    again = load_file(run / "model" / file)
    assert all(torch.equal(again[key], sharded_weights[key]) for key in again)
