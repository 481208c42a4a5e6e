"""What a run writes about itself beside its checkpoints: the settings that repeat it, its model and its results."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grpo_project.common import ranks
from grpo_project.common.files import write_text_atomically
from grpo_project.configs.training import TrainingConfig
from grpo_project.data.held_out import EvaluationSet
from grpo_project.errors import ModelError
from grpo_project.evaluation import EvaluationResult, comparison_table
from grpo_project.runs import run_folder
from grpo_project.runs.checkpoint import newest_good, replace_folder
from grpo_project.runs.identity import RunIdentity
from grpo_project.runs.run_folder import RunFolder
from grpo_project.training.endings import command_to_go_on
from grpo_project.training.launch import Start
from grpo_project.training.trainer import attempt


def write_resolved_config(
    folder: RunFolder, start: Start, config: TrainingConfig, identity: RunIdentity, described: Mapping[str, Any]
) -> None:
    """Everything needed to repeat the run; `described`: what else there is to say. On resume the first file stays, and each
    segment adds its own."""
    if not ranks.is_main():
        return
    content = {
        **identity.state_dict(),
        "sources": dict(config.sources),
        "command_line": sys.argv,
        "model": start.model,
        **described,
    }
    name = run_folder.RESOLVED_CONFIG if start.checkpoint is None else f"resumed_at_{start.step}.json"
    folder.write_json(name, content)


def save_model(folder: RunFolder, write: Callable[[Path], None]) -> None:
    """The trained model into the run folder, whole or not at all. Raises ModelError, which says how to go on, where it fails."""
    aside = folder.path / ".model.partial"
    shutil.rmtree(aside, ignore_errors=True)
    failure = attempt(lambda: write(aside)) or attempt(lambda: replace_folder(aside, folder.model))
    if failure is None:
        return
    shutil.rmtree(aside, ignore_errors=True)
    message = f"the trained model could not be written to {folder.model}: {failure}. "
    found = newest_good(folder.path)
    if found is None:
        raise ModelError(message + "There is no checkpoint to save it from")
    raise ModelError(message + f"{found.name} holds the weights of its step: make room, then run {command_to_go_on(folder)}")


def write_results(
    folder: RunFolder, problems: EvaluationSet, max_steps: int, before: EvaluationResult, after: EvaluationResult, seconds: float
) -> str:
    """The table of results.md, with its head line; the same text for the console."""
    kind = "held-out problems" if problems.remark is None else "problems"
    text = (
        f"Greedy success on {len(after.problems)} {kind} ({problems.name}), "
        f"{max_steps} steps, {seconds / 60:.1f} minutes in all:\n\n{comparison_table(before, after)}\n"
    )
    if problems.remark is not None:
        text += f"\n{problems.remark}\n"
    write_text_atomically(folder.path / "results.md", text)
    return text
