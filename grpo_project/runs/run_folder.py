"""The folder of one run: made once, never shared, and telling by itself how the run can be repeated.

resolved_config.json   settings with the source of each, versions, commit, data hashes, command line
metrics.jsonl          one line per logging step
completions.jsonl      one completion per domain for up to 200 of these steps, to be replayed by script/report.py
evaluation_before.json evaluation_after.json results.md
checkpoint-<step>/     what a killed run goes on from
model/                 the trained model
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from grpo_project.common.files import json_value, read_lines, require_writable, write_bytes_atomically, write_json_atomically
from grpo_project.common.processors import usable_processors
from grpo_project.errors import ConfigError, RunExists
from grpo_project.runs.checkpoint import faults, newest_good, survey
from grpo_project.runs.identity import VERSIONED, versions

RESOLVED_CONFIG = "resolved_config.json"
METRICS = "metrics.jsonl"
PACKAGES = (*VERSIONED, *"tokenizers numpy wandb unsloth unsloth_zoo bitsandbytes".split())
LOCK = ".lock"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """A folder that belongs to this process's run. Make one with `create` or `reopen`."""

    path: Path

    @property
    def metrics(self) -> Path:
        return self.path / METRICS

    @property
    def model(self) -> Path:
        return self.path / "model"

    def write_json(self, name: str, value: Any) -> Path:
        """`value` as `name` in the folder, whole or not at all."""
        path = self.path / name
        write_json_atomically(path, value)
        return path


def refuse_used_folder(path: Path) -> None:
    """Raises RunExists when `path` holds anything, ConfigError when it cannot be a folder or be written to. Writes nothing."""
    require_writable(path, "--output_dir")
    if not path.exists() or not any(path.iterdir()):
        return
    if (path / RESOLVED_CONFIG).exists() or any(path.glob("checkpoint-*")):
        steps = [step for step, _ in checkpoints(path)]
        state = f"a run with a checkpoint at step {steps[-1]}" if steps else "a run"
        way_on = "Go on with it by --resume_from_checkpoint auto, or choose" if steps else "Choose"
        raise RunExists(f"--output_dir {path} already holds {state}. {way_on} another --output_dir")
    raise RunExists(f"--output_dir {path} is not empty and not a run of ours. Choose a new or an empty folder")


def create(path: Path) -> RunFolder:
    """A new run folder. Of two processes that ask for the same one, the second gets RunExists. Raises ConfigError."""
    refuse_used_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # The claim: opened exclusively, so that no two runs can hold the folder.
        with open(path / RESOLVED_CONFIG, "x", encoding="utf-8") as claim:
            json.dump({"state": "starting"}, claim)
    except FileExistsError:
        raise RunExists(f"--output_dir {path} was taken by another run just now. Choose another --output_dir") from None
    except OSError as error:
        raise ConfigError(f"--output_dir {path} cannot be written: {error.strerror}") from None
    return RunFolder(path)


def reopen(path: Path) -> RunFolder:
    """The folder of a run to go on with. Raises ConfigError when it holds none."""
    if not (path / RESOLVED_CONFIG).is_file():
        raise ConfigError(f"{path} holds no run to go on with: it has no {RESOLVED_CONFIG}")
    return RunFolder(path)


def may_begin_again(path: Path) -> bool:
    """Whether `path` holds a run that died before its first checkpoint: it has nothing to lose but a few log lines."""
    return (path / RESOLVED_CONFIG).is_file() and not any(path.glob("checkpoint-*"))


def hold(folder: RunFolder) -> IO[str]:
    """Keeps other processes out of a run folder for as long as the returned file is open. Raises RunExists.

    The system lets go when the process ends, however it ends.
    """
    handle = open(folder.path / LOCK, "a+", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        owner = handle.read().strip()
        handle.close()
        raise RunExists(f"{folder.path} is in use by process {owner or 'unknown'}: wait for it, or stop it first") from None
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return handle


def checkpoints(path: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every checkpoint that has all its files in full length, oldest first."""
    return [(found.step, found.path) for found in survey(path, thorough=False) if found.good]


def find_checkpoint(asked: str, output_dir: str | None) -> Path | None:
    """The checkpoint meant by --resume_from_checkpoint, good to its last byte; None where `auto` finds a run without any yet.

    Damaged ones are passed over by `auto`, with a warning that names them. Raises ConfigError when there is none to go on from.
    """
    if asked == "auto":
        if output_dir is None:
            raise ConfigError("--resume_from_checkpoint auto needs --output_dir: the folder of the run to go on with")
        found = survey(Path(output_dir))
        good = [one for one in found if one.good]
        damaged = [str(one) for one in found if not one.good and (not good or one.step > good[-1].step)]
        if not good and damaged:
            raise ConfigError(
                f"--resume_from_checkpoint auto: no checkpoint in {output_dir} is good ({' | '.join(damaged)}). "
                "Nothing was deleted; start a new run in another --output_dir"
            )
        for text in damaged:
            logger.warning("passed over, and left as it is: %s", text)
        return good[-1].path.resolve() if good else None
    folder = Path(asked)
    if not folder.is_dir():
        raise ConfigError(f"--resume_from_checkpoint {asked}: no such folder{_offer(folder.parent)}")
    wrong = faults(folder)
    if wrong:
        inside = _offer(folder)
        text = "; ".join(fault.text for fault in wrong)
        raise ConfigError(
            f"--resume_from_checkpoint {asked} is no checkpoint to go on from: {text}{inside or _offer(folder.resolve().parent)}"
        )
    return folder.resolve()


def _offer(run: Path) -> str:
    good = newest_good(run)
    return f". The newest good one is --resume_from_checkpoint {good}" if good else ""


def drop_metrics_after(folder: RunFolder, step: int) -> int:
    """Lines of metrics.jsonl beyond `step` move to metrics.superseded.jsonl: the continued run writes them anew.

    Returns how many. A last line that was cut off when the run was killed moves too.
    """
    if not folder.metrics.exists():
        return 0
    kept: list[bytes] = []
    moved: list[bytes] = []
    for line in read_lines(folder.metrics):
        try:
            keep = json_value(line).get("step", 0) <= step
        except (ValueError, AttributeError, TypeError):
            keep = False
        (kept if keep else moved).append(line)
    if moved:
        with open(folder.path / "metrics.superseded.jsonl", "ab") as archive:
            archive.writelines(line + b"\n" for line in moved)
        write_bytes_atomically(folder.metrics, b"".join(line + b"\n" for line in kept))
    return len(moved)


def read_metrics(folder: RunFolder) -> list[dict[str, Any]]:
    """The log lines about steps, in order; what is no JSON object with a step is left out."""
    found = []
    for line in read_lines(folder.metrics) if folder.metrics.exists() else ():
        try:
            record = json_value(line)
        except ValueError:
            continue
        if (
            isinstance(record, dict) and isinstance(record.get("step"), int) and "loss" in record
        ):  # an evaluation before the first step has none
            found.append(record)
    return found


def describe_environment(repository: Path) -> dict[str, Any]:
    """Versions, platform, processor count, and the commit with a flag that says whether the tree had changes."""
    commit = _git(repository, "rev-parse", "HEAD")
    changes = _git(repository, "status", "--porcelain")
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processors": usable_processors(),
        "packages": versions(PACKAGES),
        "commit": commit or None,
        "uncommitted_changes": bool(changes) if changes is not None else None,
    }


def _git(repository: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(repository), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # a copy without its history is a legitimate place to train
    return done.stdout.strip()
