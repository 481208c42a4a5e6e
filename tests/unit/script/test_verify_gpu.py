"""verify_gpu.py as far as a CPU goes: it refuses without CUDA, and its tasks and checks work on a real small run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def script(repository: Path) -> Any:
    spec = importlib.util.spec_from_file_location("verify_gpu", repository / "script" / "verify_gpu.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_without_cuda_it_says_so_in_one_line(repository: Path) -> None:
    done = subprocess.run([sys.executable, "script/verify_gpu.py"], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == "" and len(done.stderr.strip().splitlines()) == 1
    assert "no CUDA device" in done.stderr


@pytest.mark.slow
def test_a_run_is_measured_resumed_and_compared(script: Any, tiny_planner: Path, data_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = script.SETTINGS | {
        "base_model": str(tiny_planner), "backend": "transformers", "output_dir": str(run), "data_root": str(data_root),
        "lora_rank": 0, "max_completion_length": 12, "max_prompt_length": 400,
    }  # fmt: skip
    deadline = time.monotonic() + 1200  # on a machine that does other work as well
    outcome = script.in_own_process("train", settings, tmp_path, deadline)
    checks = script.checks_of_run("transformers", outcome, run)
    assert [check.held for check in checks] == [True, True, None, None, None, None], checks
    assert "estimated" in checks[-2].name and float(checks[-2].found.split()[0]) > 0
    assert float(checks[-1].found) > 0
    before = script.read_metrics(run)
    (run / "model").rename(tmp_path / "model-before")
    again = script.in_own_process("train", {"resume_from_checkpoint": str(run / "checkpoint-3")}, tmp_path, deadline)
    assert script.check_of_resume(again, before, run).held is True
    changed = json.loads(json.dumps(before))
    changed[4]["completion_length_mean"] += 1
    check = script.check_of_resume(again, changed, run)
    assert check.held is False and "completion_length_mean at step 5" in check.found


def test_a_task_that_fails_or_comes_too_late_is_named(script: Any, tmp_path: Path) -> None:
    assert "time was up" in script.in_own_process("train", {}, tmp_path, time.monotonic())
    why = script.in_own_process("train", {"base_model": str(tmp_path / "nowhere")}, tmp_path, time.monotonic() + 100)
    assert isinstance(why, str) and "nowhere" in why
    assert "|   NO |" in script.table(script.checks_of_run("unsloth", why, tmp_path))
