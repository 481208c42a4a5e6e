"""W&B beside metrics.jsonl. It never asks a question, and nothing that goes wrong in it stops or slows training."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

STEP_AXIS = "train/global_step"
MOST_FAILURES = 5  # in a row; then the tracker is left alone


class WandbTracker:
    """A W&B run in `folder`. `mode`: online, offline or disabled. `state` says for people what became of it."""

    def __init__(
        self, folder: Path, project: str, run_name: str | None, mode: str, config: Mapping[str, Any], wandb: Any = None
    ) -> None:
        self._run: Any = None
        self._failures = 0
        self.state = "off"
        if mode == "disabled":
            return
        if mode == "offline":
            # Beside the argument: W&B's own service reads the variable, and an offline run must not look for a login.
            os.environ["WANDB_MODE"] = "offline"
        try:
            if wandb is None:
                import wandb
            settings = wandb.Settings(
                mode=mode, silent=True, console="off", init_timeout=60, x_disable_stats=True, disable_git=True, save_code=False
            )
            self._run = wandb.init(
                project=project,
                name=run_name,
                dir=str(folder),
                config=dict(config),
                mode=mode,
                settings=settings,
                reinit="finish_previous",
            )
            # Our own axis: W&B drops points whose internal step goes back, as it does after a resume.
            self._run.define_metric(STEP_AXIS)
            self._run.define_metric("*", step_metric=STEP_AXIS)
            self.state = "offline; send it later with `wandb sync`" if mode == "offline" else f"online, {self._run.url}"
        except Exception:
            logger.warning("W&B did not start; everything is in metrics.jsonl", exc_info=True)
            self._run = None
            self.state = "did not start; everything is in metrics.jsonl"

    def record(self, record: Mapping[str, Any]) -> None:
        """Sends the numbers of a metrics record, names joined by slashes. Failures are logged; after a few, no more is sent."""
        if self._run is None:
            return
        try:
            points = {name: value for name, value in flatten(record) if isinstance(value, (int, float))}
            self._run.log({**points, STEP_AXIS: record["step"]})
            self._failures = 0
        except Exception:
            self._failures += 1
            logger.warning("step %s not sent to W&B; it is in metrics.jsonl", record.get("step"), exc_info=True)
            if self._failures >= MOST_FAILURES:
                logger.warning("W&B failed %d times in a row: nothing more is sent", MOST_FAILURES)
                self._run = None

    def summary(self, values: Mapping[str, Any]) -> None:
        """Figures of the run as a whole, beside its points."""
        if self._run is None:
            return
        try:
            self._run.summary.update(dict(flatten(values)))
        except Exception:
            logger.warning("the summary was not sent to W&B; it is in results.md", exc_info=True)

    def close(self) -> None:
        """Ends the W&B run."""
        if self._run is None:
            return
        try:
            self._run.finish()
        except Exception:
            logger.warning("W&B did not end cleanly", exc_info=True)
        self._run = None


def flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of every leaf, the names of nested mappings joined by slashes."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
