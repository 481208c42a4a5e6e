"""The comparison in parts: what is done stays, what was stopped goes on, here or on another machine."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "script" / "compare_curricula.py"
    spec = importlib.util.spec_from_file_location("compare_curricula", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_runs_are_ordered_so_that_what_is_done_is_paired(script: ModuleType) -> None:
    names = [part.name for part in script.parts_of(script.parse(["--seeds", "1", "2", "--curricula", "uniform", "a/b.py:own"]))]
    assert names == ["uniform-seed1", "a_b_py_own-seed1", "uniform-seed2", "a_b_py_own-seed2"]
    assert len(script.parts_of(script.parse([]))) == 20


def test_other_settings_do_not_mix_with_runs_that_are_there(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out"), "--only", "nothing"]
    assert script.main(out) == 2 and "--only nothing: no such run" in capsys.readouterr().err
    options = script.parse(["--out", str(tmp_path), "--", "--max_steps", "3"])
    script.fix_settings(options)
    assert script.main(["--out", str(tmp_path), "--report", "--", "--max_steps", "4"]) == 2
    assert "was begun with shared ['--max_steps', '3'], now it is ['--max_steps', '4']" in capsys.readouterr().err
    assert script.main(["--out", str(tmp_path), "--report", "--", "--max_steps", "3"]) == 0
    assert "0 of 20 runs are done; left: uniform-seed1, " in capsys.readouterr().out


def test_a_run_without_a_checkpoint_is_set_aside_and_begun_anew(script: ModuleType, tmp_path: Path) -> None:
    options = script.parse(["--out", str(tmp_path), "--", "--max_steps", "3"])
    part = script.parts_of(options)[0]
    part.folder.mkdir()
    (part.folder / "resolved_config.json").write_text("{}")
    command = script.command_of(part, options)
    assert command[-4:] == ["--max_steps", "3", "--curriculum", "uniform"] and "--resume_from_checkpoint" not in command
    assert (tmp_path / "uniform-seed1.stopped-1" / "resolved_config.json").exists() and not part.folder.exists()


def test_a_run_that_another_process_is_at_is_left_to_it(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the other one is killed, and its training, which inherited the log, goes on for a while."""
    folder, log = tmp_path / "uniform-seed1", tmp_path / "uniform-seed1.log"
    folder.mkdir()
    (folder / "resolved_config.json").write_text("{}")
    with open(log, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        training = subprocess.Popen(["sleep", "60"], stdout=file)
    try:
        assert script.main(["--out", str(tmp_path), "--only", "uniform-seed1"]) == 3
        assert "uniform-seed1: another process is at it\n" in capsys.readouterr().out
    finally:
        training.kill()
        training.wait()
    assert folder.exists() and not list(tmp_path.glob("*.stopped-*"))


def test_an_arm_may_have_settings_of_its_own(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arms = ["--out", str(tmp_path), "--curricula", "uniform", "adaptive,adaptive_quotas,max_steps=2"]
    options = script.parse(arms)
    part = script.parts_of(options)[1]
    assert part.name == "adaptive_adaptive_quotas_max_steps_2-seed1"
    words = " ".join(script.command_of(part, options))
    assert words.endswith("--curriculum adaptive --adaptive_quotas --max_steps 2")
    for wrong in ("adaptive,=3", "adaptive,lr=", ",lr=3", "adaptive,a b"):
        assert script.main(["--out", str(tmp_path), "--curricula", "uniform", wrong]) == 2
        assert f"--curricula {wrong}: write NAME, or NAME,setting=value,switch" in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_in_parts_ends_in_evidence(
    script: ModuleType,
    data_root: Path,
    test_data_root: Path,
    tiny_planner: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evidence = tmp_path / "docs" / "evidence.json"
    shared = {
        "base_model": tiny_planner,
        "data_root": data_root,
        "test_data": test_data_root,
        "batch_size": 4,
        "num_generations": 2,
        "max_steps": 4,
        "max_completion_length": 4,
        "beta": 0,
    }
    command: list[Any] = ["--out", tmp_path / "out", "--evidence", evidence, "--curricula", "uniform", "adaptive", "--seeds", "1"]
    command += ["--eval_every", "2", "--eval_problems", "2", "--final_problems", "2"]
    tail = ["--", *(text for name, value in shared.items() for text in (f"--{name}", value))]

    def call(*more: str) -> int:
        return int(script.main([str(word) for word in [*command, *more, *tail]]))

    assert call("--budget_minutes", "0") == 3
    assert "0 of 2 runs are done" in capsys.readouterr().out
    assert call("--only", "adaptive") == 3
    shown = capsys.readouterr().out
    assert "adaptive-seed1: begins" in shown and "1 of 2 runs are done; left: uniform-seed1" in shown
    assert "No run of uniform, the control, is finished yet" in shown and not evidence.exists()
    options = script.parse([str(word) for word in [*command, *tail]])
    (part,) = [part for part in script.parts_of(options) if part.curriculum == "uniform"]
    assert script.run_part(part, options, None)
    evaluation = part.folder / "evaluation_after.json"
    problems = json.loads(evaluation.read_text())["problems"]
    evaluation.unlink()  # as when it was stopped in the last evaluation
    assert script.run_part(part, options, None)
    assert json.loads(evaluation.read_text())["problems"] == problems
    evaluation.unlink()  # as when it was stopped after its first checkpoint
    for name in ("checkpoint-4", "model"):
        (part.folder / name).rename(tmp_path / name)
    assert call() == 0
    assert json.loads(evaluation.read_text())["problems"] == problems
    shown = capsys.readouterr().out
    assert "uniform-seed1: goes on" in shown and "2 of 2 runs are done" in shown
    written = json.loads(evidence.read_text())
    assert written["seeds"] == [1] and written["completions_per_run"] == 4 * 4 * 2
    assert [point["completions"] for point in written["curricula"]["adaptive"]["over_time"]] == [0, 16, 32]
    assert written["made_with"]["settings"]["batch_size"] == 4
    assert "| adaptive" in evidence.with_suffix(".md").read_text()
    # On another machine, where the folders are not: what the evidence holds is done, and kept beside what is new.
    command[1] = tmp_path / "elsewhere"
    command[command.index("--seeds") + 1 :][:1] = ["1"]
    assert call() == 0 and "2 of 2 runs are done" in capsys.readouterr().out
    command += ["--seeds", "1", "2"]
    assert call("--only", "uniform-seed2") == 3
    assert "3 of 4 runs are done; left: adaptive-seed2" in capsys.readouterr().out
    again = json.loads(evidence.read_text())
    assert again["seeds"] == [1, 2] and [one for one in again["runs"] if one["seed"] == 1] == written["runs"]
    tail[tail.index("--max_steps") + 1] = "5"
    command[1] = tmp_path / "others"
    assert call() == 2 and f"{evidence} was begun with shared" in capsys.readouterr().err
