"""A checkpoint is whole or absent; what was damaged is recognised by name, passed over and kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from grpo_project.errors import ConfigError
from grpo_project.runs import checkpoint
from grpo_project.runs.checkpoint import MANIFEST, Found

FILES = {"model.safetensors": b"weights" * 100, "optimizer.pt": b"moments" * 100, "state/rng.pth": b"r"}


def write(run: Path, step: int) -> Path:
    folder = checkpoint.begin(run, step)
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return checkpoint.commit(run, step)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: (folder / "optimizer.pt").unlink(), "optimizer.pt is missing"),
    "truncated": (lambda folder: os.truncate(folder / "optimizer.pt", 10), "optimizer.pt is cut off (10 of 700 bytes)"),
    "size": (lambda folder: (folder / "optimizer.pt").write_bytes(b"x" * 999), "optimizer.pt has 999 bytes instead of 700"),
    "changed": (lambda folder: flip(folder / "model.safetensors"), "model.safetensors was changed after it was written"),
    "unfinished": (lambda folder: (folder / MANIFEST).unlink(), "it was never finished"),
    "unreadable": (lambda folder: os.truncate(folder / MANIFEST, 30), "manifest.json cannot be read"),
    "step": (lambda folder: None, "named for step 20, but was written at step 10"),
}


def test_a_whole_checkpoint_has_no_faults(tmp_path: Path) -> None:
    folder = write(tmp_path, 10)
    assert checkpoint.faults(folder) == ()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
    assert set(json.loads((folder / MANIFEST).read_text())["files"]) == set(FILES)


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_named_and_the_one_before_is_taken(tmp_path: Path, kind: str) -> None:
    damage, text = DAMAGES[kind]
    write(tmp_path, 10)
    if kind == "step":
        (tmp_path / "checkpoint-10").rename(tmp_path / "checkpoint-20")
        write(tmp_path, 10)
    else:
        damage(write(tmp_path, 20))
    (bad,) = [found for found in checkpoint.survey(tmp_path) if not found.good]
    assert [fault.kind for fault in bad.faults] == [kind]
    assert text in str(bad)
    assert checkpoint.newest_good(tmp_path) == tmp_path / "checkpoint-10"
    assert (tmp_path / "checkpoint-20").is_dir()


def test_rotation_never_takes_the_last_good_one_nor_a_damaged_one(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        write(tmp_path, step)
    flip(tmp_path / "checkpoint-4" / "optimizer.pt")
    assert checkpoint.rotate(tmp_path, 1) == []  # the newest looks whole, but is not
    os.truncate(tmp_path / "checkpoint-4" / "optimizer.pt", 1)
    assert [path.name for path in checkpoint.rotate(tmp_path, 1)] == ["checkpoint-1", "checkpoint-2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-3", "checkpoint-4"]
    assert checkpoint.rotate(tmp_path, 0) == []


def test_a_checkpoint_of_the_same_step_is_kept_aside(tmp_path: Path) -> None:
    flip(write(tmp_path, 5) / "optimizer.pt")
    write(tmp_path, 5)
    write(tmp_path, 5)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-5", "superseded-checkpoint-5-1", "superseded-checkpoint-5-2"]
    assert checkpoint.survey(tmp_path) == [Found(5, tmp_path / "checkpoint-5", ())]


def test_a_full_disk_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1)

    def full(path: object, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_json_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 2)
    checkpoint.abandon(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_what_another_format_says_is_unreadable_not_a_crash(tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    for text in ("[]", '{"files": 3, "step": 1}', '{"files": {"a": []}, "step": 1}', '{"files": {}, "step": "x"}', "\xff"):
        (folder / MANIFEST).write_bytes(text.encode("latin-1"))
        assert [fault.kind for fault in checkpoint.faults(folder)] == ["unreadable"]


def test_state_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run_state.json is not there"):
        checkpoint.read_run_state(tmp_path)
    for content, part in (({"settings": 3}, "settings"), ({"settings": {}}, "fingerprints")):
        (tmp_path / "run_state.json").write_text(json.dumps({"format": checkpoint.RUN_STATE_FORMAT, **content}))
        with pytest.raises(ConfigError, match=f"holds no {part} of a run: go on from another checkpoint"):
            checkpoint.read_run_state(tmp_path)
    with pytest.raises(ConfigError, match="its name must be checkpoint-<step>"):
        checkpoint.step_of(tmp_path)


WRITER = """
import sys
from pathlib import Path
from grpo_project.runs import checkpoint
run = Path(sys.argv[1])
for step in range(1, 100_000):
    folder = checkpoint.begin(run, step)
    for name in "abc":
        (folder / name).write_bytes(bytes(200_000))
    checkpoint.commit(run, step)
    checkpoint.rotate(run, 2)
    print(step, flush=True)
"""


def test_killed_at_any_moment_the_newest_finished_one_is_good(tmp_path: Path, repository: Path) -> None:
    for trial in range(6):
        run = tmp_path / str(trial)
        run.mkdir()
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(run)], cwd=repository, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        time.sleep(0.01 + 0.013 * trial)
        process.send_signal(signal.SIGKILL)
        last = int((process.stdout.read().split() or ["1"])[-1])
        process.wait()
        process.stdout.close()
        found = checkpoint.survey(run)
        assert all(one.good for one in found), [str(one) for one in found]
        assert found[-1].step in (last, last + 1)
        assert checkpoint.begin(run, 7).is_dir()
        assert not [path for path in run.glob(".checkpoint-*") if path.name != ".checkpoint-7.partial"]
