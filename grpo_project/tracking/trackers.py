"""The trackers of --report_to behind one sink: W&B, TensorBoard and trackio get the numbers that metrics.jsonl gets.

metrics.jsonl is always written; a tracker is a view of it, so one that is not installed or fails costs a line of text.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from grpo_project.common.metrics import described, is_drawn, is_number
from grpo_project.configs.settings import Settings
from grpo_project.runs.checkpoint import step_of
from grpo_project.runs.observer import Observer, Record
from grpo_project.tracking.wandb import WandbTracker
from grpo_project.tracking.wandb_sync import flatten

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """One service. `state`: for people, what became of it."""

    @property
    def state(self) -> str: ...

    def record(self, record: Mapping[str, Any]) -> None: ...

    def summary(self, values: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


def numbers(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(name, value) of every number in a record but its step; nested names are joined by slashes.

    Figures of another form than numbers (common/metrics.py) are left out, and NaN, which metrics.jsonl does not have either.
    """
    drawn = {name: value for name, value in record.items() if name != "step" and is_drawn(name)}
    return ((name, float(value)) for name, value in flatten(drawn) if is_number(value))


class TensorBoardTracker:
    """Event files in `folder`/tensorboard. After a resume from `step` TensorBoard hides what an earlier attempt wrote later."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None, flush_secs=10)
        self._writer.add_text("figures", described())  # the one place where it keeps labels and units
        self.state = str(folder / "tensorboard")

    def record(self, record: Mapping[str, Any]) -> None:
        for name, value in numbers(record):
            self._writer.add_scalar(name, value, record["step"])

    def summary(self, values: Mapping[str, Any]) -> None:
        self._writer.add_text("summary", json.dumps(values, indent=2))

    def close(self) -> None:
        self._writer.close()


class TrackioTracker:
    """A local trackio run, one for each segment of a training: trackio cannot take back the points after a checkpoint.

    They share a group; `trackio show` draws them as one.
    """

    def __init__(self, folder: Path, step: int, project: str, run_name: str | None, config: Mapping[str, Any]) -> None:
        import trackio

        group = run_name or folder.name
        name = f"{group}-from-{step}" if step else group
        self._run = trackio.init(project=project, name=name, group=group, config=dict(config), resume="never", embed=False)
        self.state = f"project {project}, run {name}"

    def record(self, record: Mapping[str, Any]) -> None:
        self._run.log(dict(numbers(record)), step=record["step"])

    def summary(self, values: Mapping[str, Any]) -> None:
        self._run.log(dict(numbers(values)))

    def close(self) -> None:
        self._run.finish()


class Trackers(Observer):
    """All that were asked for, as one observer; rank 0's alone."""

    def __init__(self, trackers: Mapping[str, Tracker], missing: Mapping[str, str] | None = None) -> None:
        self._trackers = dict(trackers)
        self._missing = dict(missing or {})

    @classmethod
    def of(
        cls, config: Settings | None, folder: Path, wandb_mode: str, described: Mapping[str, Any], checkpoint: Path | None
    ) -> Trackers:
        """The trackers of --report_to; none for ranks above 0, which pass no config."""
        if config is None:
            return cls({})
        step = step_of(checkpoint) if checkpoint is not None else 0
        makers: dict[str, Callable[[], Tracker]] = {
            "wandb": lambda: WandbTracker(
                folder,
                config.wandb_project,
                config.run_name,
                wandb_mode if config.use_wandb else "disabled",
                described,
                checkpoint,
                "new" if config.force_new_wandb_run else config.wandb_continuity,
            ),
            "tensorboard": lambda: TensorBoardTracker(folder, step),
            "trackio": lambda: TrackioTracker(folder, step, config.wandb_project, config.run_name, described),
        }
        return cls(*_start({name: makers[name] for name in config.report_to if name in makers}))

    @property
    def state(self) -> str:
        """`wandb: offline, run 1a2b3c4d; tensorboard: out/tensorboard`."""
        states = {name: tracker.state for name, tracker in self._trackers.items()} | self._missing
        return "; ".join(f"{'W&B' if name == 'wandb' else name}: {state}" for name, state in states.items()) or "no trackers"

    def record_made(self, record: Record) -> None:
        """To each."""
        self._each(lambda tracker: tracker.record(record))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Figures of the run as a whole, to each."""
        self._each(lambda tracker: tracker.summary(values))

    def close(self) -> None:
        """Ends all."""
        self._each(lambda tracker: tracker.close())
        self._trackers = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: `wandb`, which run it is and how far; {} without one."""
        tracker = self._trackers.get("wandb")
        return {"wandb": tracker.position() if isinstance(tracker, WandbTracker) else {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing: a tracker reads its checkpoint when it starts."""

    def _each(self, action: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                action(tracker)
            except Exception:  # the boundary: a tracker must not stop the training
                logger.warning("%s failed and is left alone from here on; metrics.jsonl has everything", name, exc_info=True)
                del self._trackers[name]


def _start(makers: Mapping[str, Callable[[], Tracker]]) -> tuple[dict[str, Tracker], dict[str, str]]:
    started: dict[str, Tracker] = {}
    missing: dict[str, str] = {}
    for name, make in makers.items():
        try:
            if name != "wandb":  # that one starts in a thread of its own, and says itself what is missing
                importlib.import_module(name)
            started[name] = make()
        except ImportError:
            missing[name] = f"not installed (pip install {name}), so nothing goes there"
        except Exception as error:  # the boundary, as above
            missing[name] = f"did not start ({type(error).__name__}: {error})"
    return started, missing
