"""Checkpoints that are whole or absent: written aside, listed in a manifest, renamed.

A checkpoint is a folder checkpoint-<step> in the run folder. It is written as .checkpoint-<step>.partial; the manifest, with
size and SHA-256 of every file, comes last and through the disk, then the folder is renamed. So one without a manifest was never
finished, and one whose files differ from it was damaged later. Nothing here reads a pickle, and nothing damaged is deleted.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_project.common.files import json_value, read_json_object, sync_folder, write_json_atomically
from grpo_project.errors import ConfigError

MANIFEST = "manifest.json"
RUN_STATE = "run_state.json"
FORMAT = 1
RUN_STATE_FORMAT = 3  # of what every checkpoint keeps (runs/states.py); 1 and 2 named none
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a checkpoint. `kind`: missing, truncated, size, changed, unreadable, unfinished or step."""

    kind: str
    file: str
    text: str


@dataclass(frozen=True)
class Found:
    """A folder checkpoint-<step> and what is wrong with it; good means nothing is."""

    step: int
    path: Path
    faults: tuple[Fault, ...]

    @property
    def good(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        return f"{self.path.name}: {'; '.join(fault.text for fault in self.faults) or 'good'}"


# -- writing ----------------------------------------------------------------------------------------------------------


def aside_folder(run: Path, step: int) -> Path:
    """Where checkpoint-<step> is written before it exists."""
    return run / f".checkpoint-{step}.partial" / f"checkpoint-{step}"


def begin(run: Path, step: int) -> Path:
    """An empty folder to write checkpoint-<step> into. What an earlier attempt at any step left half done is removed."""
    for leftover in (*run.glob(".checkpoint-*.partial"), *run.glob(".checkpoint-*.removing")):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = aside_folder(run, step)
    folder.mkdir(parents=True)
    return folder


def abandon(run: Path, step: int) -> None:
    """Removes what was written aside, so that a full disk gets its space back."""
    shutil.rmtree(aside_folder(run, step).parent, ignore_errors=True)


def commit(run: Path, step: int) -> Path:
    """The folder written aside becomes checkpoint-<step>. Raises OSError; then there is no such checkpoint.

    A checkpoint of that name, left by an earlier attempt, is kept under another name.
    """
    aside = aside_folder(run, step)
    files = {}
    for path in _files(aside):
        files[path.relative_to(aside).as_posix()] = {"size": path.stat().st_size, "sha256": _hash(path)}
        _through_to_disk(path)
    if not files:
        raise OSError(f"{aside} is empty")
    write_json_atomically(aside / MANIFEST, {"format": FORMAT, "step": step, "files": files})
    target = run / f"checkpoint-{step}"
    replace_folder(aside, target)
    aside.parent.rmdir()
    return target


def replace_folder(aside: Path, target: Path) -> None:
    """`aside` becomes `target`; what stood there is kept as superseded-<name>-<number>."""
    if target.exists():
        number = 1
        while (kept := target.with_name(f"superseded-{target.name}-{number}")).exists():
            number += 1
        os.rename(target, kept)
    os.rename(aside, target)
    sync_folder(target.parent)


@contextmanager
def folder_appearing(target: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `target` when the block ends well, and is gone where it does not."""
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        replace_folder(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def rotate(run: Path, limit: int) -> list[Path]:
    """Removes the oldest good checkpoints beyond `limit` (1 or more). Returns what was removed.

    Nothing goes while the newest is not good to its last byte; damaged ones are neither counted nor touched.
    """
    kept = sorted((found for found in survey(run, thorough=False) if found.good), key=lambda found: found.step)
    if len(kept) <= max(limit, 1) or faults(kept[-1].path):
        return []
    removed = []
    for found in kept[: -max(limit, 1)]:
        # Renamed first: a kill in the middle must not leave half a checkpoint under its own name.
        doomed = run / f".{found.path.name}.removing"
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(found.path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        removed.append(found.path)
    return removed


# -- reading ----------------------------------------------------------------------------------------------------------


def faults(folder: Path, *, thorough: bool = True) -> tuple[Fault, ...]:
    """What is wrong with a checkpoint, by file; () when every byte is as it was written. Not thorough: sizes, no hashes."""
    try:
        manifest = json_value((folder / MANIFEST).read_text(encoding="utf-8"))
        listed: Mapping[str, Any] = manifest["files"]
        expected = {str(name): (int(about["size"]), str(about["sha256"])) for name, about in listed.items()}
        step = int(manifest["step"])
    except FileNotFoundError:
        return (Fault("unfinished", MANIFEST, f"it has no {MANIFEST}, so it was never finished (or is not ours)"),)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        return (Fault("unreadable", MANIFEST, f"{MANIFEST} cannot be read ({type(error).__name__})"),)
    found = [fault for name, (size, digest) in expected.items() if (fault := _fault(folder, name, size, digest, thorough))]
    named = _NAME.fullmatch(folder.name)
    if named and int(named[1]) != step:
        found.append(Fault("step", MANIFEST, f"the folder is named for step {named[1]}, but was written at step {step}"))
    return tuple(found)


def _fault(folder: Path, name: str, size: int, digest: str, thorough: bool) -> Fault | None:
    path = folder / name
    try:
        found = path.stat().st_size
        if found < size:
            return Fault("truncated", name, f"{name} is cut off ({found} of {size} bytes)")
        if found > size:
            return Fault("size", name, f"{name} has {found} bytes instead of {size}")
        if thorough and _hash(path) != digest:
            return Fault("changed", name, f"{name} was changed after it was written (its hash differs)")
    except FileNotFoundError:
        return Fault("missing", name, f"{name} is missing")
    except OSError as error:
        return Fault("unreadable", name, f"{name} cannot be read ({error.strerror})")
    return None


def survey(run: Path, *, thorough: bool = True) -> list[Found]:
    """Every folder checkpoint-<step> of a run, oldest first, good or not."""
    found = []
    for folder in run.glob("checkpoint-*") if run.is_dir() else ():
        named = _NAME.fullmatch(folder.name)
        if named and folder.is_dir():
            found.append(Found(int(named[1]), folder, faults(folder, thorough=thorough)))
    return sorted(found, key=lambda one: one.step)


def newest_good(run: Path) -> Path | None:
    """The newest checkpoint that is whole to its last byte."""
    for found in reversed(survey(run, thorough=False)):
        if found.good and not faults(found.path):
            return found.path
    return None


def read_run_state(folder: Path) -> dict[str, Any]:
    """What a checkpoint says about its run: settings and fingerprints, by name. Raises ConfigError when it cannot be read."""
    state = read_json_object(folder / RUN_STATE)
    if state.get("format") != RUN_STATE_FORMAT:
        raise ConfigError(
            f"{folder} was written by another version of this suite (its run state has format {state.get('format')}, this "
            f"one reads {RUN_STATE_FORMAT}): go on with the version that began the run"
        )
    for part in ("settings", "fingerprints"):
        if not isinstance(state.get(part), dict):
            raise ConfigError(f"{folder / RUN_STATE} holds no {part} of a run: go on from another checkpoint")
    return state


def require_names(folder: Path, part: str, names: Iterable[str]) -> None:
    """Raises ConfigError where `part` of a run state lacks one of these names: what is not there cannot be compared."""
    known = read_run_state(folder)[part]
    missing = [name for name in names if name not in known]
    if missing:
        raise ConfigError(
            f"{folder / RUN_STATE} has no {', '.join(missing)} among its {part}: it is damaged, or another version of this "
            "suite wrote it; go on from another checkpoint"
        )


def step_of(folder: Path) -> int:
    """The step in the name of a checkpoint folder. Raises ConfigError for another name."""
    named = _NAME.fullmatch(folder.name)
    if not named:
        raise ConfigError(f"{folder} is no checkpoint folder: its name must be checkpoint-<step>")
    return int(named[1])


# -- files ------------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)


def _hash(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _through_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
