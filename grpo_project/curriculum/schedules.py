"""Curricula without feedback: `uniform`, `step`, and a user's own function from a file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_project.curriculum.base import EvaluationOutcome, GroupOutcome
from grpo_project.errors import ConfigError

WeightsFunction = Callable[[int, int], Mapping[str, Any]]


class Schedule:
    """Weights from (step, max_steps) alone: `function`, asked anew each time. Nothing observed changes it."""

    uses_groups = False
    uses_evaluations = False

    def __init__(self, name: str, function: WeightsFunction) -> None:
        self.name = name
        self.function = function

    def weights(self, step: int, max_steps: int) -> Mapping[str, Any]:
        return self.function(step, max_steps)

    def observe_groups(self, groups: Sequence[GroupOutcome]) -> None:
        """Nothing to learn from."""

    def observe_evaluation(self, outcome: EvaluationOutcome) -> None:
        """Nothing to learn from."""

    def observe_collapse(self, domain: str) -> None:
        """Nothing to change."""

    def metrics(self) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """There is no state."""


def natural_shares(bucket_rows: Mapping[str, Mapping[str, Sequence[int]]]) -> dict[str, dict[str, int]]:
    """{domain: {bucket: number of rows}}: drawn by these, every problem of a domain comes equally often."""
    return {domain: {name: len(members) for name, members in filled.items()} for domain, filled in bucket_rows.items()}


def uniform(bucket_rows: Mapping[str, Mapping[str, Sequence[int]]]) -> Schedule:
    """The control: difficulties as they come in the data."""
    shares = natural_shares(bucket_rows)
    return Schedule("uniform", lambda step, max_steps: shares)


def load_schedule(spec: str, locate: Callable[[str], Path | None]) -> WeightsFunction:
    """The function meant by `path/to/file.py:function`. `locate` finds the file. Raises ConfigError when there is none."""
    path_text, colon, name = spec.rpartition(":")
    if not (colon and path_text.endswith(".py") and name.isidentifier()):
        raise ConfigError(f"--curriculum {spec}: write path/to/file.py:function, or the name of a built-in curriculum")
    path = locate(path_text)
    if path is None or not path.is_file():
        raise ConfigError(f"--curriculum {spec}: there is no file {path_text}")
    found = importlib.util.spec_from_file_location(f"curriculum_{path.stem}", path)
    if found is None or found.loader is None:
        raise ConfigError(f"--curriculum {spec}: {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # dataclasses and the like look their module up
    try:
        found.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises is a fault of the file, told in one line
        raise ConfigError(f"--curriculum {spec}: {path} fails when it is loaded: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"--curriculum {spec}: {path} has no function {name}")
    return function  # type: ignore[no-any-return]
