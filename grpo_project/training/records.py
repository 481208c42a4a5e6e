"""What a run writes about itself: the settings that repeat it, the state its checkpoints carry, its model and its results."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grpo_project.common.files import write_text_atomically
from grpo_project.errors import ModelError
from grpo_project.evaluation import EvaluationResult, comparison_table
from grpo_project.runs import run_folder
from grpo_project.runs.checkpoint import newest_good, replace_folder, step_of
from grpo_project.runs.run_folder import RunFolder
from grpo_project.training.endings import command_to_go_on
from grpo_project.training.preparation import Preparation
from grpo_project.training.saving import attempt


def write_resolved_config(folder: RunFolder, prepared: Preparation, environment: Mapping[str, Any]) -> None:
    """Everything needed to repeat the run. On resume the first file stays, and each segment adds its own."""
    described = {
        "settings": prepared.config.as_dict(),
        "sources": dict(prepared.config.sources),
        "command_line": sys.argv,
        "model": prepared.model,
        "environment": environment,
        "fingerprints": prepared.fingerprints,
        "schedule_source": prepared.schedule_source,
        "reward": prepared.config.reward_config().as_dict(),
        "held_out": prepared.held_out_name,
        "feedback": prepared.feedback_name,
        "buckets": {domain: vars(found) for domain, found in prepared.buckets.statistics.items()},
    }
    if prepared.checkpoint is None:
        folder.write_json(run_folder.RESOLVED_CONFIG, described)
    else:
        folder.write_json(f"resumed_at_{step_of(prepared.checkpoint)}.json", described)


def run_state(prepared: Preparation, wandb_position: Any) -> dict[str, Any]:
    """What every checkpoint says about its run."""
    return {
        "settings": prepared.config.as_dict(),
        "fingerprints": dict(prepared.fingerprints),
        "schedule_source": prepared.schedule_source,
        "wandb": wandb_position,
    }


def model_history(prepared: Preparation, steps: int) -> dict[str, Any]:
    """What the trained model's card says about its run."""
    return {
        "steps": steps,
        "settings": prepared.config.as_dict(),
        "fingerprints": dict(prepared.fingerprints),
    }


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
    folder: RunFolder, prepared: Preparation, before: EvaluationResult, after: EvaluationResult, seconds: float
) -> str:
    """The table of results.md, with its head line; the same text for the console."""
    text = (
        f"Greedy success on {len(prepared.held_out_rows)} held-out problems ({prepared.held_out_name}), "
        f"{prepared.config.max_steps} steps, {seconds / 60:.1f} minutes in all:\n\n{comparison_table(before, after)}\n"
    )
    write_text_atomically(folder.path / "results.md", text)
    return text
