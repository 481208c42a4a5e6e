"""W&B in a Trainer of your own, under the guides' name; runs of this suite use tracking/wandb.py directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from grpo_project.callbacks.trainer_events import CLOSING_SUMMARY
from grpo_project.tracking.wandb import WandbTracker


class DetailedWandbCallback(WandbTracker, TrainerCallback):
    """What a Trainer logs goes to the W&B run that WandbTracker describes; its arguments are that class's."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if logs and CLOSING_SUMMARY not in logs:
            self.record({**logs, "step": state.global_step})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()
