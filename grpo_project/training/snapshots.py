"""Weights of a healthy moment, kept in the run folder so that a collapse can be undone (--on_collapse rollback)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from grpo_project.common import ranks
from grpo_project.errors import ConfigError, DataError
from grpo_project.runs.observer import Control, Observer
from grpo_project.runs.states import COLLAPSE_STATE, read_state


class Snapshots(Observer):
    """`folder`/snapshots/step-<n>.pt: the trainable weights and the optimizer's state after step n.

    Kept are the newest one and those that a checkpoint names, so that a run that goes on from a checkpoint finds the one it knew.
    """

    def __init__(self, folder: Path) -> None:
        self._run = folder
        self._folder = folder / "snapshots"
        self._model: Any = None
        self._optimizer: Any = None

    def training_begins(self, step: int, control: Control, model: Any, optimizer: Any) -> None:
        self._model, self._optimizer = model, optimizer

    def path(self, step: int) -> Path:
        return self._folder / f"step-{step}.pt"

    def keep(self, step: int) -> None:
        """Writes the weights of now as those of `step`; one that is there already stays."""
        if ranks.is_main() and not self.path(step).exists():
            self._folder.mkdir(exist_ok=True)
            aside = self.path(step).with_suffix(".tmp")
            torch.save({"weights": dict(self._weights()), "optimizer": self._optimizer.state_dict()}, aside)
            os.replace(aside, self.path(step))
            self._remove_all_but(self._named_by_checkpoints() | {step})
        ranks.wait_for_all()

    def restore(self, step: int) -> None:
        """Puts weights and optimizer back to `step`; the learning rate stays. Raises DataError when they are gone."""
        try:
            found = torch.load(self.path(step), map_location="cpu", weights_only=True)
        except (OSError, RuntimeError) as error:
            raise DataError(f"the weights of step {step} cannot be read from {self.path(step)}: {error}") from None
        with torch.no_grad():
            for name, parameter in self._weights():
                parameter.copy_(found["weights"][name])
        optimizer = self._optimizer
        rates = [group["lr"] for group in optimizer.param_groups]
        optimizer.load_state_dict(found["optimizer"])
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _weights(self) -> list[tuple[str, Any]]:
        return [(name, parameter) for name, parameter in self._model.named_parameters() if parameter.requires_grad]

    def _named_by_checkpoints(self) -> set[int]:
        named = set()
        for checkpoint in self._run.glob("checkpoint-*"):
            try:
                step = read_state(checkpoint, COLLAPSE_STATE).get("kept_step")
            except ConfigError:
                continue  # a torn checkpoint is nothing to go on from
            if step is not None:
                named.add(int(step))
        return named

    def _remove_all_but(self, steps: set[int]) -> None:
        for path in self._folder.glob("step-*.pt"):
            if int(path.stem.rpartition("-")[2]) not in steps:
                path.unlink(missing_ok=True)
