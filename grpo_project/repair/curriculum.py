"""Whether the curriculum of a run can go on: its state file, its checkpoints, and the modules that read them. Changes nothing."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grpo_project.common.files import write_json_atomically
from grpo_project.common.guide_lines import with_english
from grpo_project.curriculum.manager import FixedCurriculumManager, setup_fixed_curriculum_manager
from grpo_project.errors import ConfigError, GrpoProjectError
from grpo_project.repair.findings import Finding, back_up
from grpo_project.runs.checkpoint import newest_good, read_run_state, survey
from grpo_project.runs.states import CURRICULUM_STATE, read_state

FILE = f"{CURRICULUM_STATE}.json"
MODULES = {
    "grpo_project.curriculum.manager": "setup_fixed_curriculum_manager",
    "grpo_project.curriculum.engine": "CurriculumEngine",
}
CALLBACKS = ("grpo_project.callbacks.curriculum_feedback", "grpo_project.callbacks.enhanced_inference_callback")


def diagnose(run: Path | None) -> list[Finding]:
    """All findings; without a run folder, about the modules alone."""
    found = list(_modules())
    if run is not None:
        found += _checkpoints(run)
        found += _state_file(run)
    return found


def fresh_state(checkpoint: Path | None) -> tuple[dict[str, Any], str]:
    """(state, where it comes from): what the checkpoint keeps, else the stage curriculum at its first stage."""
    if checkpoint is not None and (checkpoint / FILE).exists():
        return read_curriculum_state(checkpoint), str(checkpoint)
    manager = setup_fixed_curriculum_manager()
    return {"curriculum": manager.name, "state": manager.state_dict()}, "the first stage of the stage curriculum"


def write_fresh_state(path: Path, checkpoint: Path | None) -> str:
    """Writes `fresh_state`, keeping what was there as .backup. Returns where it came from. Raises ConfigError."""
    state, source = fresh_state(checkpoint)
    back_up(path)
    write_json_atomically(path, state)
    return source


def read_curriculum_state(folder: Path) -> dict[str, Any]:
    """The state in a folder. Raises ConfigError for one that is missing or broken, as training does that goes on from it."""
    state = read_state(folder, CURRICULUM_STATE)
    if not isinstance(state.get("curriculum"), str) or not isinstance(state.get("state"), dict):
        raise ConfigError(f"{folder / FILE} holds no curriculum state")
    if state["curriculum"] == FixedCurriculumManager.name:
        setup_fixed_curriculum_manager().load_state_dict(state["state"])
    return state


def _modules() -> Iterator[Finding]:
    for name, attribute in MODULES.items():
        try:
            getattr(importlib.import_module(name), attribute)
        except (ImportError, AttributeError) as error:
            text = with_english(f"❌ 课程管理器导入失败: {name}: {error}", "the module cannot be imported")
            yield Finding("curriculum", text, "restore the file from version control")
    for name in CALLBACKS:  # not imported: that would load torch
        spec = find_spec(name)
        try:
            compile(Path(spec.origin or "").read_text(encoding="utf-8") if spec else "raise", name, "exec")
            missing = spec is None
        except (OSError, SyntaxError):
            missing = True
        if missing:
            yield Finding("curriculum", f"callback module {name} is missing or broken", "restore the file from version control")


def _checkpoints(run: Path) -> Iterator[Finding]:
    for one in survey(run, thorough=False):
        if not one.good:
            continue  # fix_resume_parameters.py reports those
        try:
            curriculum = read_run_state(one.path)["settings"].get("curriculum")
            state = read_curriculum_state(one.path)
        except GrpoProjectError as error:
            yield Finding("curriculum", str(error), "go on from another checkpoint")
            continue
        if state["curriculum"] != curriculum:
            yield Finding(
                "curriculum",
                f"{one.path.name}: the state is of --curriculum {state['curriculum']}, the settings say {curriculum}",
                "go on from another checkpoint",
            )


def _state_file(run: Path) -> Iterator[Finding]:
    """The run folder's own copy is what people and the manager read; training goes on from the checkpoint's."""
    path, checkpoint = run / FILE, newest_good(run)
    try:
        state = read_curriculum_state(run) if path.exists() else None
    except ConfigError as error:
        text = with_english(f"❌ 课程状态文件损坏: {error}", "the state file is broken")
        yield Finding("curriculum", text, "write it anew from the newest checkpoint", lambda: _rewrite(path, checkpoint))
        return
    try:
        kept = read_curriculum_state(checkpoint) if checkpoint is not None else None
    except ConfigError:
        return  # `_checkpoints` reports it
    if checkpoint is None or kept is None:
        return
    copy = f"copy it from {checkpoint.name}"
    if state is None:
        yield Finding("curriculum", f"{path} is missing", copy, lambda: _rewrite(path, checkpoint))
    elif state["curriculum"] != kept["curriculum"] or _known(state) < _known(kept):
        yield Finding("curriculum", f"{path} is behind {checkpoint.name}", copy, lambda: _rewrite(path, checkpoint))


def _known(state: dict[str, Any]) -> int:
    """How many evaluations a state has seen."""
    evaluations = state.get("evaluations")
    return len(evaluations) if isinstance(evaluations, list) else int(state["state"].get("evaluation_count", 0))


def _rewrite(path: Path, checkpoint: Path | None) -> list[Path]:
    write_fresh_state(path, checkpoint)
    return [path]
