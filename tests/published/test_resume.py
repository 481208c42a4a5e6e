"""Runs that were continued wrongly, or overwritten, by programs of this kind (trials.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from planners import scheduled_planner

from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.errors import ConfigError, RunExists
from grpo_project.runs import checkpoint, run_folder
from grpo_project.runs.identity import RunIdentity

FILES = {"model.safetensors": b"weights", "optimizer.pt": b"moments", "trainer_state.json": b"{}"}


def save(run: Path, step: int) -> Path:
    folder = checkpoint.begin(run, step)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return checkpoint.commit(run, step)


@pytest.mark.parametrize("missing", FILES)
def test_a_last_checkpoint_that_is_not_whole_is_passed_over(
    tmp_path: Path, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = save(tmp_path, 10), save(tmp_path, 20)
    (bad / missing).unlink()
    assert run_folder.find_checkpoint("auto", str(tmp_path)) == good
    assert f"{missing} is missing" in caplog.text


def test_the_oldest_by_step_goes_whatever_names_and_times_say(tmp_path: Path) -> None:
    for age, step in enumerate((9, 100, 900, 1000, 10000)):
        folder = save(tmp_path, step)
        os.utime(folder, (10**9 - age, 10**9 - age))  # as a network drive may have it: the newest looks the oldest
    assert [path.name for path in checkpoint.rotate(tmp_path, 2)] == ["checkpoint-9", "checkpoint-100", "checkpoint-900"]
    assert checkpoint.newest_good(tmp_path) == tmp_path / "checkpoint-10000"


def test_a_folder_is_one_runs_and_never_shared_or_begun_anew(tmp_path: Path) -> None:
    first = run_folder.create(tmp_path / "run")
    with pytest.raises(RunExists, match="already holds a run"):
        run_folder.create(tmp_path / "run")  # in the same second, by another process
    with run_folder.hold(first), pytest.raises(RunExists, match="in use by process"):
        run_folder.hold(run_folder.reopen(tmp_path / "run"))
    save(tmp_path / "run", 1000)
    with pytest.raises(RunExists, match="a checkpoint at step 1000. Go on with it by --resume_from_checkpoint auto"):
        run_folder.refuse_used_folder(tmp_path / "run")  # step 100 of a new run would be its oldest, and go first


def weights(step: int, max_steps: int) -> Mapping[str, float]:
    return {"easy": 0.5, "medium": 0.3, "hard": 0.2}


def planner(seed: int = 3) -> BatchPlanner:
    buckets = {"easy": list(range(5)), "medium": list(range(5, 8)), "hard": [8, 9]}
    shifted = {name: [row + 10 for row in rows] for name, rows in buckets.items()}
    return scheduled_planner(
        seed=seed, bucket_rows={"ferry": buckets, "spanner": shifted}, batch_size=4, weights=weights, max_steps=99
    )


def test_a_continued_run_takes_up_the_data_where_it_was_in_any_pass_over_it() -> None:
    whole = planner()
    batches = [whole.plan(number).row_indices for number in range(60)]  # 240 rows of 20: the 12th pass over them
    for begun in (1, 7, 31, 59):  # each in a new process, which has seen nothing
        again = planner()
        assert [again.plan(number).row_indices for number in range(begun, 60)] == batches[begun:]
    assert batches != [planner(seed=4).plan(number).row_indices for number in range(60)]


CHANGES = {
    "data": ("another", "the training data"),
    "world_size": (16, r"the number of processes \(world size\) changed \(8 -> 16\)"),
    "model": ("another", "the base model"),
    "reward": ("another", "the reward"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_would_make_it_another_run_is_refused_by_name(tmp_path: Path, name: str) -> None:
    before = {"data": "d", "world_size": 8, "model": "m", "reward": "r"}
    folder = tmp_path / "checkpoint-4"
    folder.mkdir()
    (folder / "run_state.json").write_text(json.dumps(RunIdentity({}, before).state_dict()))
    RunIdentity({}, before).refuse_changes(folder)
    value, told = CHANGES[name]
    with pytest.raises(ConfigError, match=f"{told}.*: restore it, or start a new run"):
        RunIdentity({}, before | {name: value}).refuse_changes(folder)


def test_a_checkpoint_of_another_version_says_so(tmp_path: Path) -> None:
    (tmp_path / "run_state.json").write_text('{"format": 2, "settings": {}, "fingerprints": {}}')
    with pytest.raises(ConfigError, match="was written by another version of this suite .*: go on with the version that began"):
        checkpoint.read_run_state(tmp_path)
