"""What must survive a crash: things that register under a name; saving and resuming are loops over them.

Each state is a file <name>.json in a checkpoint, plain data, written before the checkpoint is complete.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from grpo_project.common import ranks
from grpo_project.common.files import read_json_object, write_json_atomically
from grpo_project.errors import ConfigError, first_line
from grpo_project.runs.checkpoint import step_of

logger = logging.getLogger(__name__)

RUN_STATE = "run_state"  # settings and fingerprints
CURRICULUM_STATE = "curriculum_state"  # the guides' name
COLLAPSE_STATE = "collapse_state"
COMPLETION_COUNTS = "completion_counts"
MODEL_CARD_STATE = "planner"  # planner.json, so that a checkpoint is a model folder too
FIRST_REWARDS_STATE = "first_rewards_state"
TRACKING_STATE = "tracking_state"
TRAINER_STATE = "trainer_state"  # transformers' own; it is loaded there


class Stateful(Protocol):
    """`state_dict` is JSON-ready and whole: what loads it goes on as what gave it. Loading raises ConfigError for a wrong one."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Kept:
    """Plain data that goes into every checkpoint and is not read back: the card that makes its folder a model of ours."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = dict(data)

    def state_dict(self) -> Mapping[str, Any]:
        return self._data

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


class RunStates:
    """The states of one run, in the order in which they were registered."""

    def __init__(self, things: Mapping[str, Stateful]) -> None:
        self._things = dict(things)

    def save(self, folder: Path) -> None:
        """Writes every state. Raises OSError as writing does."""
        for name in self._things:
            self._save_one(name, folder)

    def show(self, name: str, folder: Path) -> None:
        """One of them in the run folder, for people and tools; a run goes on from its checkpoints alone."""
        try:
            if ranks.is_main():
                self._save_one(name, folder)
        except OSError as error:
            logger.warning("%s could not be written (%s)", folder / f"{name}.json", error)

    def _save_one(self, name: str, folder: Path) -> None:
        write_json_atomically(folder / f"{name}.json", self._things[name].state_dict())

    def load(self, checkpoint: Path) -> None:
        """Every thing goes on where the checkpoint left it. Raises ConfigError for a state that is missing, broken or foreign."""
        for name, thing in self._things.items():
            state = read_state(checkpoint, name)
            try:
                thing.load_state_dict(state)
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
                what = (
                    str(error)
                    if isinstance(error, ConfigError)
                    else f"it is damaged: {type(error).__name__}: {first_line(error)}"
                )
                raise ConfigError(f"{checkpoint / f'{name}.json'}: {what}") from error


def read_state(folder: Path, name: str) -> dict[str, Any]:
    """A state as it was saved. Raises ConfigError where it is not there or cannot be read: no run can go on from `folder`."""
    if not (folder / f"{name}.json").exists():
        raise ConfigError(f"{folder} has no {name}.json: the run cannot be continued from it")
    return read_json_object(folder / f"{name}.json")


def require_trainer_state(checkpoint: Path) -> None:
    """Raises ConfigError for a checkpoint whose trainer_state.json is missing, broken or of another step: transformers would
    end in a traceback, after everything was loaded."""
    state = read_state(checkpoint, TRAINER_STATE)
    if state.get("global_step") != step_of(checkpoint) or not isinstance(state.get("train_batch_size"), int):
        raise ConfigError(f"{checkpoint / f'{TRAINER_STATE}.json'} is not that of step {step_of(checkpoint)}")
