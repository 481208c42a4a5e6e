"""W&B beside metrics.jsonl: records go to the thread that sends them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_project.tracking import wandb_sync
from grpo_project.tracking.wandb_run_id import FoundRun, RunChoice, configure_wandb_resume


class WandbTracker:
    """Hands records to the process's WandbSyncManager, which it makes.

    `checkpoint`: what the run goes on from, None for a new one; `continuity`: continue, fork, new or offline. The variables
    WANDB_RUN_ID and WANDB_RESUME are set to match, and the run says in its config where it came from. `mode`: online, offline
    or disabled.
    """

    def __init__(
        self,
        folder: Path,
        project: str,
        run_name: str | None,
        mode: str,
        config: Mapping[str, Any],
        checkpoint: Path | None = None,
        continuity: str = "continue",
    ) -> None:
        if continuity == "offline" and mode == "online":
            mode = "offline"
        # One that is off needs no run of its own, and leaves the variables as they are.
        choice = RunChoice("", "allow") if mode == "disabled" else configure_wandb_resume(checkpoint, continuity)
        found = choice.found or FoundRun("", "")  # its project is where it is; a new run's is the one asked for
        entity = (choice.parent or found).entity
        self._manager = wandb_sync.initialize_wandb_sync_manager(
            folder, found.project or project, run_name, mode=mode, choice=choice, entity=entity, config=config
        )

    @property
    def state(self) -> str:
        """For people: what became of the run."""
        return self._manager.state

    def record(self, record: Mapping[str, Any]) -> None:
        """Takes a metrics record; returns at once."""
        self._manager.log({name: value for name, value in record.items() if name != "step"}, record["step"])

    def summary(self, values: Mapping[str, Any]) -> None:
        """Figures of the run as a whole, beside its points."""
        self._manager.summary(values)

    def position(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        self._manager.update_step_offset(self._manager.get_sync_status()["trainer_step"])
        return self._manager.position()

    def close(self) -> None:
        """Ends the W&B run; waits a bounded time."""
        self._manager.close()
