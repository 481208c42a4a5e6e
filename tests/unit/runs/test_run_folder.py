"""A run folder is claimed once, its checkpoints are told whole from torn, and nothing in it is overwritten."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from grpo_project.common.files import append_json_line
from grpo_project.errors import ConfigError, RunExists
from grpo_project.runs import run_folder
from grpo_project.runs.checkpoint import begin, commit
from grpo_project.runs.run_folder import RunFolder


def _checkpoint(run: Path, step: int, leave_out: str = "") -> Path:
    folder = begin(run, step)
    for name in ("trainer_state.json", "optimizer.pt", "scheduler.pt"):
        (folder / name).write_text("x")
    folder = commit(run, step)
    if leave_out:
        (folder / leave_out).unlink()
    return folder


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    folder = run_folder.create(tmp_path / "a" / "b")
    assert (folder.path / run_folder.RESOLVED_CONFIG).exists()
    with pytest.raises(RunExists, match="already holds a run. Choose another --output_dir"):
        run_folder.create(tmp_path / "a" / "b")
    _checkpoint(folder.path, 20)
    with pytest.raises(RunExists, match="a checkpoint at step 20. Go on with it by --resume_from_checkpoint auto"):
        run_folder.create(folder.path)


def test_an_empty_folder_may_be_used_and_a_foreign_one_may_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run_folder.create(tmp_path / "empty")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("x")
    with pytest.raises(RunExists, match="is not empty and not a run of ours"):
        run_folder.create(tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]
    with pytest.raises(ConfigError, match="is a file: choose a folder"):
        run_folder.create(tmp_path / "thesis" / "chapter1.tex")
    with pytest.raises(ConfigError, match="cannot be written"):
        run_folder.create(tmp_path / "thesis" / "chapter1.tex" / "below")
    with pytest.raises(ConfigError, match="cannot be a folder: File name too long"):
        run_folder.create(tmp_path / ("a" * 300))


def test_a_folder_that_refuses_is_told_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder.os, "access", lambda folder, how: folder != tmp_path)
    for path in (tmp_path, tmp_path / "new" / "run"):
        with pytest.raises(ConfigError, match=f"cannot be written to: {tmp_path} is read-only, or not this user's"):
            run_folder.refuse_used_folder(path)
    (tmp_path / "mine").mkdir()
    run_folder.refuse_used_folder(tmp_path / "mine" / "run")


def test_torn_checkpoints_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _checkpoint(tmp_path, 9)
    _checkpoint(tmp_path, 10)
    _checkpoint(tmp_path, 20, leave_out="optimizer.pt")
    (tmp_path / "checkpoint-best").mkdir()
    assert [step for step, _ in run_folder.checkpoints(tmp_path)] == [9, 10]
    found = run_folder.find_checkpoint("auto", str(tmp_path))
    assert found is not None and found.name == "checkpoint-10"
    assert "passed over, and left as it is: checkpoint-20: optimizer.pt is missing" in caplog.text
    with pytest.raises(ConfigError, match="checkpoint-20 is no checkpoint.*optimizer.pt is missing.*newest good.*checkpoint-10"):
        run_folder.find_checkpoint(str(tmp_path / "checkpoint-20"), None)
    with pytest.raises(ConfigError, match="newest good one is --resume_from_checkpoint .*checkpoint-10"):
        run_folder.find_checkpoint(str(tmp_path), None)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="auto needs --output_dir"):
        run_folder.find_checkpoint("auto", None)
    assert run_folder.find_checkpoint("auto", str(tmp_path)) is None
    _checkpoint(tmp_path, 20, leave_out="optimizer.pt")
    with pytest.raises(ConfigError, match="no checkpoint in .* is good .checkpoint-20: optimizer.pt is missing"):
        run_folder.find_checkpoint("auto", str(tmp_path))
    with pytest.raises(ConfigError, match="no such folder"):
        run_folder.find_checkpoint(str(tmp_path / "none"), None)
    with pytest.raises(ConfigError, match="holds no run to go on with"):
        run_folder.reopen(tmp_path)


def test_a_run_that_died_before_its_first_checkpoint_may_begin_again(tmp_path: Path) -> None:
    assert not run_folder.may_begin_again(tmp_path)
    folder = run_folder.create(tmp_path)
    assert run_folder.may_begin_again(tmp_path)
    _checkpoint(folder.path, 5, leave_out="optimizer.pt")
    assert not run_folder.may_begin_again(tmp_path)


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    folder = run_folder.create(tmp_path)
    held = run_folder.hold(folder)
    with pytest.raises(RunExists, match=f"in use by process {os.getpid()}"):
        run_folder.hold(folder)
    held.close()
    run_folder.hold(folder).close()


def test_lines_beyond_the_checkpoint_are_set_aside_and_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert run_folder.drop_metrics_after(folder, 2) == 0
    lines = [json.dumps({"step": step}) for step in (1, 2, 3, 4)]
    folder.metrics.write_text("\n".join(lines) + '\n{"step": 5, "rew')
    assert run_folder.drop_metrics_after(folder, 2) == 3
    assert folder.metrics.read_text().splitlines() == lines[:2]
    assert (tmp_path / "metrics.superseded.jsonl").read_text().splitlines() == [*lines[2:], '{"step": 5, "rew']
    assert run_folder.drop_metrics_after(folder, 2) == 0


def test_a_line_ends_where_its_file_says_and_not_inside_its_text(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 2, 3):
        append_json_line(folder.metrics, {"step": step, "text": "one\u2028two\x85three\x1efour"})
    first, second, third = folder.metrics.read_bytes().splitlines(keepends=True)
    folder.metrics.write_bytes(first + b"[7]\n" + second + third)
    assert run_folder.drop_metrics_after(folder, 2) == 2
    assert folder.metrics.read_bytes() == first + second
    assert (tmp_path / "metrics.superseded.jsonl").read_bytes() == b"[7]\n" + third


def test_the_environment_names_versions_and_survives_a_folder_without_history(tmp_path: Path, repository: Path) -> None:
    described = run_folder.describe_environment(tmp_path)
    assert described["packages"]["numpy"]
    assert described["commit"] is None
    assert set(run_folder.describe_environment(repository)) == set(described)
