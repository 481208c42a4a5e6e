"""How a run ends that does not come to its end: what happened, what is left, the command that goes on, and the exit status."""

from __future__ import annotations

import errno
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from grpo_project.common import ranks, signals
from grpo_project.errors import DataError, MemoryShort, ModelError, first_line
from grpo_project.health.alarms import Alarm
from grpo_project.models.forecast import Forecast, out_of_memory
from grpo_project.runs import run_folder
from grpo_project.runs.checkpoint import newest_good, step_of
from grpo_project.runs.run_folder import RunFolder
from grpo_project.training.console import say
from grpo_project.training.launch import Start

SUCCESS = 0
COLLAPSED = 3  # stopped by --on_collapse stop
ANOMALY = 4  # stopped by --on_anomaly stop
INTERRUPTED = 128  # plus the number of the signal, as shells count: 130 after Ctrl-C, 143 after SIGTERM, 138 after SIGUSR1
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # a disk that is full, over its quota or mounted for reading


class Stopped(Exception):
    """The run was stopped, and what there is to say about it was said. `status`: the exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


@dataclass
class Ending:
    """Around a run: says, from what is known by then, what a stop or a failure means, and lets the run folder go.

    `folder`: None until everything that can be wrong has been checked. `forecast`: of the GPU's memory, None where unknown.
    `signal_number`: the signal that asked the run to stop, 0 for none. `cleanup`: what is closed however the run ends.
    """

    start: Start
    use_gradient_checkpointing: bool = False
    folder: RunFolder | None = None
    forecast: Forecast | None = None
    signal_number: int = 0
    cleanup: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Raises Stopped after a signal, MemoryShort or DataError for memory or disk that ran out, and all else as it came."""
        try:
            with signals.caught(signals.WARNINGS | {signal.SIGTERM}, self._interrupt):
                yield
        except KeyboardInterrupt:
            if ranks.is_main():
                say_how_to_go_on(self.folder)
            raise Stopped(INTERRUPTED + (self.signal_number or signal.SIGINT)) from None
        except (RuntimeError, ModelError) as error:
            if not out_of_memory(error):
                raise
            raise memory_ran_out(error, self.forecast, self.folder, self.use_gradient_checkpointing) from error
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            raise disk_refused(error, self.folder, self.start.output_dir) from None
        finally:
            self.cleanup.close()

    def _interrupt(self, number: int, frame: object) -> None:
        """As Ctrl-C does, where training does not catch it."""
        self.signal_number = number
        raise KeyboardInterrupt


def open_folder(start: Start, ending: Ending) -> RunFolder:
    """The run folder, held until the run ends, with its log as it was at the step from which the run goes on."""
    if not ranks.is_main():
        ending.folder = RunFolder(start.output_dir)
        return ending.folder
    if start.checkpoint is None and not run_folder.may_begin_again(start.output_dir):
        folder = run_folder.create(start.output_dir)
    else:
        folder = run_folder.reopen(start.output_dir)
    ending.folder = folder
    ending.cleanup.callback(run_folder.hold(folder).close)
    # A run that begins again also begins its log again: an evaluation before training is a line of step 0.
    moved = run_folder.drop_metrics_after(folder, start.step if start.checkpoint is not None else -1)
    if start.checkpoint is not None or moved:
        say(f"Going on from step {start.step}" + (f"; {moved} later lines of metrics.jsonl set aside" if moved else ""))
    return folder


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
        f"{good.name} was written before and is as it was; when the cause is fixed: {command_to_go_on(folder)}"
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
    """For one of UNWRITABLE: what refused, and where the run can go on. `output_dir`: where `folder` would be."""
    where = folder.path if folder is not None else output_dir
    how = f"; then go on by {command_to_go_on(folder)}" if folder is not None and newest_good(folder.path) else ""
    advice = "let it be written to" if error.errno == errno.EROFS else "make room"
    return DataError(f"{where} cannot be written to ({error.strerror}): {advice}{how}")
