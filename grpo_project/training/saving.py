"""The Trainer's side of a checkpoint: everything it writes goes aside, and becomes a checkpoint when it is whole."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grpo_project.common import ranks
from grpo_project.common.files import write_json_atomically
from grpo_project.runs import checkpoint

logger = logging.getLogger(__name__)

States = Mapping[str, Callable[[], Any]]


class TransactionalSaving:
    """Mixed in before a Hugging Face Trainer.

    `checkpoint_states`: {name: function}; what the function returns, plain data, is saved as <name>.json in every checkpoint.
    `checkpoint_limit`: good checkpoints kept. A save that fails (a full disk) leaves no checkpoint and a warning, and training
    goes on: what it has in memory is worth more than stopping.
    """

    checkpoint_states: States = {}
    checkpoint_limit = 3
    _saving_aside: Path | None = None

    def _get_output_dir(self, trial: Any) -> str:
        if self._saving_aside is not None:
            return str(self._saving_aside.parent)
        return str(super()._get_output_dir(trial))  # type: ignore[misc]

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        _load_to_numbered_cpus()
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        trainer: Any = self
        run, step, main = Path(trainer.args.output_dir), trainer.state.global_step, trainer.accelerator.is_main_process
        failure = attempt(lambda: checkpoint.begin(run, step) if main else None)
        if not self._anywhere(failure):
            self._saving_aside = checkpoint.aside_folder(run, step)
            failure = attempt(lambda: super(TransactionalSaving, self)._save_checkpoint(model, trial))  # type: ignore[misc]
            aside, self._saving_aside = self._saving_aside, None
            if not self._anywhere(failure) and main:
                failure = attempt(lambda: self._finish(aside, run, step))
        if self._anywhere(failure) and main:
            checkpoint.abandon(run, step)
            last = checkpoint.newest_good(run)
            logger.warning(
                "the checkpoint of step %d could not be written (%s); training goes on, and %s",
                step,
                failure or "another process failed",
                f"{last.name} stays the one to go on from" if last else "there is none to go on from yet",
            )

    def _finish(self, aside: Path, run: Path, step: int) -> None:
        for name, state in self.checkpoint_states.items():
            write_json_atomically(aside / f"{name}.json", state())
        checkpoint.commit(run, step)
        checkpoint.rotate(run, self.checkpoint_limit)

    def _anywhere(self, failure: Exception | None) -> bool:
        """Whether any process failed. All must ask, or they wait for each other forever."""
        return any_process(self, failure is not None)


def any_process(trainer: Any, here: bool) -> bool:
    """Whether `here` holds in any of the processes that train together; every one of them must ask."""
    accelerator = trainer.accelerator
    if accelerator.num_processes == 1:
        return here
    import torch

    return bool(accelerator.gather(torch.tensor([int(here)], device=accelerator.device)).max().item())


def whole_weights(trainer: Any) -> dict[str, Any] | None:
    """The whole model as a state dict where processes hold shards of it (FSDP, ZeRO-3); None where each holds all of it.

    Every process must ask; only the first one's answer is sure to be complete.
    """
    if not ranks.shards_parameters():
        return None
    sharded = trainer.deepspeed if trainer.is_deepspeed_enabled else trainer.model
    found: dict[str, Any] = trainer.accelerator.get_state_dict(sharded)
    return found


@functools.cache
def _load_to_numbered_cpus() -> None:
    """accelerate names the device of several CPU processes cpu:0, cpu:1; torch.load knows no such place without this."""
    from torch.serialization import register_package

    def restore(storage: Any, location: str) -> Any:
        return storage if location.startswith("cpu:") else None

    register_package(15, lambda storage: None, restore)


def attempt(action: Callable[[], Any]) -> Exception | None:
    """What a full disk and the like made of an action, None where it went well. A mistake of ours is raised."""
    from safetensors import SafetensorError

    try:
        action()
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have their own words for a full disk
        logger.debug("writing failed", exc_info=True)
        return error
    return None
