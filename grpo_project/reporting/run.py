"""A run folder as plain data: settings, log lines, evaluations, samples. Works while the run is still writing."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grpo_project.common.files import json_value
from grpo_project.common.text import counted
from grpo_project.errors import DataError
from grpo_project.evaluation.results import EvaluationResult, read_result
from grpo_project.pddl.lenient import LENIENT, STRICT
from grpo_project.reporting.shapes import is_count, well_formed
from grpo_project.runs.run_folder import METRICS, RESOLVED_CONFIG
from grpo_project.tracking.completion_file import COMPLETIONS

_STEP_IN_NAME = re.compile(r"(?:step|checkpoint)[_-]?(\d+)")
_OF_TRAINING = {"completions", "loss", "seconds_per_step"}  # what only a line about steps has
_LONGEST_LINE = 4 * 1024 * 1024


@dataclass(frozen=True)
class StoredEvaluation:
    """A held-out evaluation of a run. `step` is the number of optimizer steps that the model had seen."""

    label: str
    step: int
    result: EvaluationResult


@dataclass(frozen=True)
class RecordedRun:
    """What a run folder holds. `records` are the lines of metrics.jsonl by step, each step once; those that only tell of an
    evaluation, made before the first step, are left out. `outcomes` are the lines with an evaluation made during training.

    state: finished, in progress (a line within ten times the usual gap), stopped (older), or starting (no line yet).
    seconds_since_last_line: None where there is no line. faults: what could not be read, one sentence each.
    """

    name: str
    path: Path
    state: str
    described: Mapping[str, Any]
    records: tuple[Mapping[str, Any], ...]
    evaluations: tuple[StoredEvaluation, ...]
    samples: tuple[Mapping[str, Any], ...]
    outcomes: tuple[Mapping[str, Any], ...] = ()
    disagreements: int = 0
    seconds_since_last_line: float | None = None
    resumed_at: tuple[int, ...] = ()
    faults: tuple[str, ...] = field(default=())

    @property
    def plan_reading(self) -> str:
        """How the run's answers were read; strictly where its settings do not say."""
        return LENIENT if self.settings.get("plan_reading") == LENIENT else STRICT

    @property
    def settings(self) -> Mapping[str, Any]:
        found = self.described.get("settings")
        return found if isinstance(found, Mapping) else {}

    @property
    def step(self) -> int:
        """The last step that was logged; 0 before the first."""
        return int(self.records[-1]["step"]) if self.records else 0

    @property
    def max_steps(self) -> int:
        """The steps the run was to take; those taken where its settings are not known."""
        return _max_steps(self.described) or self.step


def _max_steps(described: Mapping[str, Any]) -> int:
    """0 where it is not known."""
    settings = described.get("settings")
    found = settings.get("max_steps") if isinstance(settings, Mapping) else None
    return found if isinstance(found, int) and is_count(found) else 0


def read_runs(folders: Sequence[str | Path]) -> list[RecordedRun]:
    """The runs in the order named, with names that tell them apart. Raises DataError."""
    runs = [read_run(folder) for folder in folders]
    resolved = [run.path.resolve() for run in runs]
    for path in resolved:
        if resolved.count(path) > 1:
            raise DataError(f"{path} is named more than once")
    depth = 1
    names = [run.name for run in runs]
    while len(set(names)) < len(names) and depth < 20:
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in resolved]
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def read_run(folder: str | Path, now: float | None = None) -> RecordedRun:
    """The run in `folder`. `now` is the time in seconds, for tests. Raises DataError where it is no run folder."""
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder. Name the --output_dir of a training run")
    if not (path / RESOLVED_CONFIG).exists() and not (path / METRICS).exists():
        raise DataError(f"{path} holds no run: neither {RESOLVED_CONFIG} nor {METRICS}. Name the --output_dir of a training run")
    faults: list[str] = []
    described = _object(path / RESOLVED_CONFIG, faults)
    lines = _log(path, faults)
    records = [line for line in lines if line.keys() & _OF_TRAINING]
    last_step = int(records[-1]["step"]) if records else 0
    evaluations = _evaluations(path, last_step or _max_steps(described), faults)
    age = None
    if records:
        age = max(0.0, (time.time() if now is None else now) - (path / METRICS).stat().st_mtime)
    return RecordedRun(
        name=path.resolve().name,
        path=path,
        state=_state(path, records, evaluations, age),
        described=described,
        records=tuple(records),
        evaluations=tuple(evaluations),
        samples=tuple(_samples(_lines(path / COMPLETIONS, faults), last_step)),
        outcomes=tuple(line for line in lines if isinstance(line.get("eval_counts"), Mapping)),
        disagreements=sum(1 for _ in (path / "disagreements").glob("disagreement_*")),
        seconds_since_last_line=age,
        resumed_at=tuple(sorted(int(file.stem.rpartition("_")[2]) for file in path.glob("resumed_at_[0-9]*.json"))),
        faults=tuple(faults),
    )


def _state(path: Path, records: Sequence[Mapping[str, Any]], evaluations: Sequence[StoredEvaluation], age: float | None) -> str:
    if any(found.label == "after" for found in evaluations) or (path / "results.md").exists():
        return "finished"
    if not records or age is None:
        return "starting"
    if (path / "model" / "config.json").exists():
        return "finished"
    return "in progress" if age <= max(120.0, 10 * _seconds_between_lines(records)) else "stopped"


def _seconds_between_lines(records: Sequence[Mapping[str, Any]]) -> float:
    last = records[-1]
    seconds = last.get("seconds_per_step", {}).get("total")
    gap = last["step"] - records[-2]["step"] if len(records) > 1 else last["step"]
    return float(seconds or 0.0) * max(1, int(gap))


def _object(path: Path, faults: list[str]) -> dict[str, Any]:
    try:
        found = json_value(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        faults.append(f"{path.name} is missing: the settings of this run are not known")
        return {}
    except (OSError, ValueError) as error:
        faults.append(f"{path.name} cannot be read: {error}")
        return {}
    return found if isinstance(found, dict) else {}


def _lines(path: Path, faults: list[str]) -> list[dict[str, Any]]:
    """The JSON objects with a step. A last line without its end is one being written now, and no fault."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        faults.append(f"{path.name} cannot be read: {error.strerror}")
        return []
    lines = raw.split(b"\n")
    found: list[dict[str, Any]] = []
    bad = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json_value(line, parse_constant=_no_number) if len(line) <= _LONGEST_LINE else None
        except ValueError:
            value = None
        if isinstance(value, dict) and is_count(value.get("step")):
            found.append(value)
        elif number < len(lines):
            bad += 1
    if bad:
        faults.append(f"{path.name}: {counted(bad, 'line')} could not be read and left out")
    return found


def _no_number(name: str) -> None:
    """NaN and Infinity, which Python's JSON reads and no other: None, as metrics_file.py writes them."""


def _log(path: Path, faults: list[str]) -> list[dict[str, Any]]:
    """The lines by step, without figures that have not their form; of a step that a continued run wrote anew, the last one."""
    checked = [well_formed(line) for line in _lines(path / METRICS, faults)]
    odd = sorted({name for _, names in checked for name in names})
    if odd:
        faults.append(f"{METRICS}: figures of an unknown form were left out: {', '.join(odd[:8])}")
    by_step = {line["step"]: line for line, _ in checked}
    return [by_step[step] for step in sorted(by_step)]


def _samples(lines: list[dict[str, Any]], last_step: int) -> list[dict[str, Any]]:
    """By step and domain, the last line of each pair counting; none beyond the log, which a resume cuts back."""
    texts = ("domain", "problem_file", "completion", "problem_pddl")
    whole = [line for line in lines if all(isinstance(line.get(name), str) for name in texts) and line["step"] <= last_step]
    return [line for _, line in sorted({(line["step"], line["domain"]): line for line in whole}.items())]


def _evaluations(path: Path, last_step: int, faults: list[str]) -> list[StoredEvaluation]:
    found = []
    for file in sorted([*path.glob("evaluation_*.json"), *path.glob("evaluations/*.json")]):
        label = file.stem.removeprefix("evaluation_")
        try:
            result = read_result(file)
        except DataError as error:
            faults.append(str(error))
            continue
        named = _STEP_IN_NAME.search(label)
        step = 0 if label == "before" else int(named[1]) if named else last_step
        found.append(StoredEvaluation(label, step, result))
    return sorted(found, key=lambda stored: (stored.step, stored.label == "after"))
