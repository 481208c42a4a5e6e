"""Which W&B run a continued training belongs to, and the variables that make W&B continue it."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_project.common.files import json_object_or_none
from grpo_project.common.guide_lines import with_english
from grpo_project.runs.states import TRACKING_STATE

_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-([\w-]+)")
_ID = re.compile(r"[\w-]{1,64}")
_KEYS = ("wandb_run_id", "run_id", "wandb_id")


@dataclass(frozen=True)
class FoundRun:
    """The run a checkpoint came from. `points`: how many it had been sent by then, where the checkpoint says so."""

    run_id: str
    source: str
    project: str | None = None
    entity: str | None = None
    points: int | None = None


@dataclass(frozen=True)
class RunChoice:
    """The W&B run to write to. `resume`: must or allow. `parent`: the run it goes on from, if that is another one.

    `copy_points`: how many of the parent's points the new run begins with.
    """

    run_id: str
    resume: str
    found: FoundRun | None = None
    parent: FoundRun | None = None
    copy_points: int = 0


def new_run_id() -> str:
    """As random as W&B's own, and known before anybody is asked."""
    return secrets.token_hex(4)


def find_run(checkpoint: Path, environ: Mapping[str, str] | None = None, tell: Callable[[str], None] = print) -> FoundRun | None:
    """The run of a checkpoint: from its own record, else its wandb/ folder, trainer_state.json, WANDB_RUN_ID."""
    environ = os.environ if environ is None else environ
    own = recorded_run(checkpoint)
    if own is not None:
        return own
    tell(with_english("🔍 尝试从WandB目录提取run ID...", "looking for the run id in the wandb folder"))
    run_id = _from_folder(checkpoint / "wandb")
    if run_id:
        return FoundRun(run_id, "checkpoint/wandb")
    tell(with_english("🔍 尝试从trainer_state.json提取run ID...", "looking for it in trainer_state.json"))
    run_id = _from_trainer_state(checkpoint / "trainer_state.json")
    if run_id:
        return FoundRun(run_id, "trainer_state.json")
    tell(with_english("🔍 尝试使用环境变量WANDB_RUN_ID...", "taking the variable WANDB_RUN_ID"))
    run_id = environ.get("WANDB_RUN_ID", "").strip()
    return FoundRun(run_id, "WANDB_RUN_ID") if _ID.fullmatch(run_id) else None


def configure_wandb_resume(
    checkpoint: Path | None,
    continuity: str = "continue",
    environ: MutableMapping[str, str] | None = None,
    tell: Callable[[str], None] = print,
) -> RunChoice:
    """Decides the run, sets WANDB_RUN_ID and WANDB_RESUME in `environ` (os.environ) to match, and says so line by line.

    must: the run is to be continued, whatever the server says; allow: a new one, or one that may not exist there yet.
    """
    environ = os.environ if environ is None else environ
    choice = _choose(checkpoint, continuity, environ, tell)
    if choice.found is not None:
        environ["WANDB_RUN_ID"] = choice.run_id
        tell(with_english(f"🔧 设置环境变量: WANDB_RUN_ID={choice.run_id}", "environment variable set"))
    elif checkpoint is not None:
        environ.pop("WANDB_RUN_ID", None)
    environ["WANDB_RESUME"] = choice.resume
    tell(with_english(f"🔧 设置环境变量: WANDB_RESUME={choice.resume}", "environment variable set"))
    tell(with_english("✅ WandB恢复配置完成!", "W&B resume is configured"))
    return choice


def _choose(checkpoint: Path | None, continuity: str, environ: Mapping[str, str], tell: Callable[[str], None]) -> RunChoice:
    if checkpoint is not None and not checkpoint.is_dir():
        tell(with_english(f"⚠️ checkpoint不存在: {checkpoint}", "no such checkpoint"))
        checkpoint = None
    if checkpoint is None:
        tell(with_english("🆕 开始新的训练会话", "a new training begins"))
        given = environ.get("WANDB_RUN_ID", "").strip()
        return RunChoice(given if _ID.fullmatch(given) else new_run_id(), "allow")
    tell(with_english(f"🔄 检测到checkpoint恢复: {checkpoint}", "resuming from this checkpoint"))
    found = find_run(checkpoint, environ, tell)
    if found is None:
        tell(with_english("❌ 未能找到WandB run ID", "no run id was found"))
        return RunChoice(new_run_id(), "allow")
    tell(with_english(f"✅ 找到WandB run ID: {found.run_id}", "W&B run id found"))
    if continuity in ("new", "fork"):
        return RunChoice(new_run_id(), "allow", parent=found, copy_points=(found.points or 0) if continuity == "fork" else 0)
    return RunChoice(found.run_id, "must", found=found)


def recorded_run(checkpoint: Path) -> FoundRun | None:
    """The run that a checkpoint of ours says it belongs to; None where it says nothing."""
    about = (json_object_or_none(checkpoint / f"{TRACKING_STATE}.json") or {}).get("wandb")
    if not isinstance(about, dict) or not isinstance(about.get("run_id"), str) or not _ID.fullmatch(about["run_id"]):
        return None
    points = about["points"] if isinstance(about.get("points"), int) else None
    return FoundRun(about["run_id"], "the checkpoint's own record", about.get("project"), about.get("entity"), points)


def _from_folder(folder: Path) -> str | None:
    """From the names of the run folders W&B makes, the newest one (they begin with the time)."""
    if not folder.is_dir():
        return None
    latest = folder / "latest-run"
    names = [latest.resolve().name] if latest.is_symlink() else []
    stamped = sorted((path.name for path in folder.iterdir() if path.is_dir()), key=lambda name: name.removeprefix("offline-"))
    for name in (*names, *reversed(stamped)):
        for file in (folder / name).glob("run-*.wandb"):  # of two in one second, the folder's name has a number more
            return file.stem.removeprefix("run-")
        match = _FOLDER.fullmatch(name)
        if match:
            return match[1]
    return None


def _from_trainer_state(path: Path) -> str | None:
    named = (value for key, value in _leaves(json_object_or_none(path)) if key in _KEYS and isinstance(value, str))
    return next(filter(_ID.fullmatch, named), None)


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
