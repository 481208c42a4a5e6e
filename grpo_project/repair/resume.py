"""What can keep a run from going on, or from going on as it was: settings, lengths, W&B, checkpoints. Changes nothing itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from grpo_project.common.files import json_object_or_none, json_value, read_lines, write_bytes_atomically, write_json_atomically
from grpo_project.common.paths import locate
from grpo_project.configs import ScriptConfig
from grpo_project.configs.environment import read_environment
from grpo_project.configs.resolution import resolve
from grpo_project.errors import ConfigError, GrpoProjectError
from grpo_project.repair.findings import Finding, back_up
from grpo_project.runs.checkpoint import MANIFEST, faults, newest_good, read_run_state, survey
from grpo_project.runs.run_folder import METRICS, RESOLVED_CONFIG
from grpo_project.tracking.wandb_journal import FOLDER as JOURNAL_FOLDER
from grpo_project.tracking.wandb_journal import Journal
from grpo_project.tracking.wandb_run_id import FoundRun, find_run
from grpo_project.tracking.wandb_sync import STATE_FILE


def run_and_checkpoint(given: Path) -> tuple[Path, Path | None]:
    """(run folder, checkpoint) of a path to either; without a good checkpoint the latter is None. Raises ConfigError."""
    if not given.is_dir():
        raise ConfigError(f"{given}: no such folder")
    if given.name.startswith("checkpoint-") or (given / MANIFEST).exists():
        return given.resolve().parent, given.resolve()
    return given.resolve(), newest_good(given.resolve())


def diagnose(given: Path | None, environ: Mapping[str, str] | None = None) -> list[Finding]:
    """All findings about a checkpoint or run folder; without one, about environment and settings alone."""
    environ = os.environ if environ is None else environ
    found = list(_settings(environ))
    if given is None:
        return found
    run, checkpoint = run_and_checkpoint(given)
    found += _checkpoints(run, checkpoint)
    if checkpoint is not None and not faults(checkpoint):
        found += _run_state(run, checkpoint, environ)
    found += _run_files(run, checkpoint)
    return found


# -- settings and lengths ---------------------------------------------------------------------------------------------


def _settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        environment = read_environment(environ)
        resolve([("environment", environment.values)])
    except GrpoProjectError as error:
        yield Finding("configuration", str(error), "correct or unset that variable")
        return
    for variable in environment.unknown:
        yield Finding("configuration", f"environment variable {variable} is no setting, so it does nothing", f"unset {variable}")
    yield from _room(environment.values, "the environment")


def _room(settings: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Whether the model reads so many tokens; what lengths mean for each other, `resolve` has looked at."""
    lengths = ScriptConfig.of(settings)
    folder = locate(settings["base_model"]) if "base_model" in settings else None
    room = (json_object_or_none(folder / "config.json") or {}).get("max_position_embeddings") if folder else None
    if isinstance(room, int) and lengths.script_max_completion_length >= room:
        yield Finding(
            "lengths",
            f"{where}: the model reads {room} tokens, so max_completion_length {lengths.script_max_completion_length} leaves "
            "no room for a prompt",
            f"set --max_completion_length below {room}",
        )


# -- checkpoints ------------------------------------------------------------------------------------------------------


def _checkpoints(run: Path, asked: Path | None) -> Iterator[Finding]:
    good = newest_good(run)
    offer = f"go on from {good}" if good else "start a new run in another --output_dir; nothing here is good enough to go on from"
    seen = survey(run)
    if asked is None and not seen:
        yield Finding("checkpoint", f"{run} holds no checkpoint", "start the run again with --resume_from_checkpoint auto")
    for one in seen:
        if not one.good:
            yield Finding("checkpoint", str(one), f"leave it as it is (--resume_from_checkpoint auto passes over it) and {offer}")
    if asked is not None and asked not in [one.path for one in seen]:
        for fault in faults(asked):
            yield Finding("checkpoint", f"{asked}: {fault.text}", offer)


def _run_state(run: Path, checkpoint: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        state = read_run_state(checkpoint)
        resolve([(str(checkpoint), state["settings"])])
    except GrpoProjectError as error:
        yield Finding("checkpoint", str(error), "go on from an older checkpoint, with the version of this project that wrote it")
        return
    yield from _room(state["settings"], checkpoint.name)
    found = find_run(checkpoint, {}, lambda line: None)
    given = environ.get("WANDB_RUN_ID", "").strip()
    if found is not None and given and given != found.run_id:
        yield Finding(
            "wandb",
            f"WANDB_RUN_ID is {given}, but {checkpoint.name} belongs to the W&B run {found.run_id}",
            f"unset WANDB_RUN_ID WANDB_RESUME, or export WANDB_RUN_ID={found.run_id} WANDB_RESUME=must "
            "(training does the latter by itself)",
        )
    if found is None and environ.get("WANDB_RESUME", "") == "must":
        yield Finding("wandb", f"WANDB_RESUME is must, but {checkpoint.name} names no W&B run", "unset WANDB_RESUME")
    if json_object_or_none(run / RESOLVED_CONFIG) is None:
        yield Finding(
            "configuration",
            f"{run / RESOLVED_CONFIG} is missing or broken",
            f"write it anew from {checkpoint.name}",
            lambda: _restore_resolved_config(run, state),
        )


def _restore_resolved_config(run: Path, state: Mapping[str, Any]) -> list[Path]:
    path = run / RESOLVED_CONFIG
    back_up(path)
    kept = {name: state[name] for name in ("settings", "fingerprints", "schedule_source") if name in state}
    write_json_atomically(path, {**kept, "restored_from": "a checkpoint's run_state.json"})
    return [path]


# -- files of the run -------------------------------------------------------------------------------------------------


def _run_files(run: Path, checkpoint: Path | None) -> Iterator[Finding]:
    metrics = run / METRICS
    broken = _broken_lines(metrics)
    if broken:
        yield Finding(
            "checkpoint",
            f"{metrics} has {broken} lines that are no JSON (a crash cut them off)",
            "drop those lines",
            lambda: _drop_broken_lines(metrics),
        )
    state_file = run / STATE_FILE
    state = json_object_or_none(state_file)
    if not any((run / JOURNAL_FOLDER).glob("*.jsonl")):
        return
    if state is None:
        yield Finding(
            "wandb",
            f"{state_file} is missing or broken",
            f"write it anew from {JOURNAL_FOLDER}/",
            lambda: _restore_wandb_state(run, checkpoint),
        )
        return
    missed = int(state.get("points") or 0) - int(state.get("confirmed") or 0)
    if missed > 0 and state.get("finished") and state.get("mode") == "online":
        yield Finding(
            "wandb", f"W&B lacks {missed} points of run {state.get('run_id')}", f"script/sync_wandb.py --output_dir {run}"
        )


def _restore_wandb_state(run: Path, checkpoint: Path | None) -> list[Path]:
    path = run / STATE_FILE
    back_up(path)
    newest = max((run / JOURNAL_FOLDER).glob("*.jsonl"), key=lambda journal: journal.stat().st_mtime)
    journal = Journal(newest)
    found = find_run(checkpoint, {}, lambda line: None) if checkpoint is not None else None
    known = found if found is not None and found.run_id == newest.stem else FoundRun(newest.stem, "")
    content = {
        "run_id": known.run_id,
        "project": known.project,
        "entity": known.entity,
        "points": journal.total,
        "confirmed": 0,
        "state": "written anew from the journal",
    }
    write_json_atomically(path, content)
    return [path]


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    for line in read_lines(path) if path.exists() else ():
        try:
            json_value(line)
        except ValueError:
            yield line, False
        else:
            yield line, True


def _broken_lines(path: Path) -> int:
    return sum(not whole for _, whole in _lines(path))


def _drop_broken_lines(path: Path) -> list[Path]:
    back_up(path)
    write_bytes_atomically(path, b"".join(line + b"\n" for line, whole in _lines(path) if whole))
    return [path]
