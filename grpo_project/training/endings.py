"""What a run says that was stopped or failed: what happened, what is left, and the command that goes on from it."""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from grpo_project.errors import DataError, MemoryShort, first_line
from grpo_project.health.alarms import Alarm
from grpo_project.models.forecast import Forecast
from grpo_project.runs.checkpoint import newest_good, step_of
from grpo_project.runs.run_folder import RunFolder

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # a disk that is full, over its quota or mounted for reading


def command_to_go_on(folder: RunFolder) -> str:
    """The command that continues the run of this folder."""
    script = shlex.join([sys.executable, sys.argv[0]]) if sys.argv and sys.argv[0].endswith(".py") else "the same script"
    return f"{script} --output_dir {shlex.quote(str(folder.path))} --resume_from_checkpoint auto"


def say_how_to_go_on(folder: RunFolder | None) -> None:
    """After an interruption: the command that continues, or the reason why there is none."""
    if folder is None:
        print("\nInterrupted before the run began; nothing was written.", file=sys.stderr)
        return
    command = command_to_go_on(folder)
    found = newest_good(folder.path)
    if found:
        print(f"\nInterrupted. Go on from step {step_of(found)}: {command}", file=sys.stderr)
    else:
        print(
            f"\nInterrupted before the first checkpoint. What there is lies in {folder.path}; add --resume_from_checkpoint auto "
            "to the command you gave to begin again there",
            file=sys.stderr,
        )


def say_what_stopped(folder: RunFolder, step: int, found: Sequence[Alarm]) -> None:
    """After --on_anomaly stop: what was seen, what to try, and what is left to go on from."""
    for alarm in found:
        print(f"\nStopped at step {step} by {alarm.name}. {alarm.title}: {alarm.detail}", file=sys.stderr)
    good = newest_good(folder.path)
    kept = (
        f"{good.name} was written before and is as it was; when the cause is mended: {command_to_go_on(folder)}"
        if good
        else "there is no earlier checkpoint: add --resume_from_checkpoint auto to the command you gave to begin again there"
    )
    print(
        f"Neither a checkpoint nor a model was written from this step; {kept}. --on_anomaly warn goes on in spite of it.",
        file=sys.stderr,
    )


def memory_ran_out(
    error: BaseException, forecast: Forecast | None, folder: RunFolder | None, use_gradient_checkpointing: bool
) -> MemoryShort:
    """What the user reads instead of a traceback: what happened, what needs less, and where the run can go on."""
    advice = forecast.advice() if forecast else "docs/train_on_gpu.md, section 5, says what needs less"
    last = newest_good(folder.path) if folder else None
    if folder is None or last is None:
        where = "No checkpoint had been written"
    else:
        same = "" if use_gradient_checkpointing else " with --use_gradient_checkpointing"
        where = (
            f"{last.name} holds step {step_of(last)}: go on{same} by {command_to_go_on(folder)}; another change begins "
            f"a new run, which may start from --base_model {last}"
        )
    return MemoryShort(f"the GPU's memory ran out ({first_line(error).rstrip('.')}). {advice}. {where}")


def disk_refused(error: OSError, folder: RunFolder | None, output_dir: Path) -> DataError:
    """For one of UNWRITABLE: where there is no room, and where the run can go on. `output_dir`: where `folder` would be."""
    where = folder.path if folder is not None else output_dir
    how = f"; then go on by {command_to_go_on(folder)}" if folder is not None and newest_good(folder.path) else ""
    return DataError(f"{where} cannot be written to ({error.strerror}): make room{how}")
