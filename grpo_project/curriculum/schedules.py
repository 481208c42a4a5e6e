"""Curricula without feedback: `uniform`, `step`, and a user's own function from a file; and what all of one's own begin with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grpo_project.curriculum.base import EvaluationOutcome, GroupOutcome

WeightsFunction = Callable[[int, int], Mapping[str, Any]]


class BaseCurriculum:
    """A curriculum but for `weights`, to derive one's own from. It learns from nothing unless it says otherwise and observes it.

    Its state is its attributes: plain data (numbers, texts, lists, dicts) that a subclass sets on `self` is saved and resumed.
    """

    name = ""
    uses_groups = False
    uses_evaluations = False

    def observe_groups(self, groups: Sequence[GroupOutcome]) -> None:
        """Nothing to learn from."""

    def observe_evaluation(self, outcome: EvaluationOutcome) -> None:
        """Nothing to learn from."""

    def observe_collapse(self, domain: str) -> None:
        """Nothing to change."""

    def metrics(self) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {name: copy.deepcopy(value) for name, value in vars(self).items() if name != "name"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(copy.deepcopy(dict(state)))


class Schedule(BaseCurriculum):
    """Weights from (step, max_steps) alone: `function`, asked anew each time. Nothing observed changes it."""

    def __init__(self, name: str, function: WeightsFunction) -> None:
        self.name = name
        self.function = function

    def weights(self, step: int, max_steps: int) -> Mapping[str, Any]:
        return self.function(step, max_steps)

    def state_dict(self) -> dict[str, Any]:
        return {}


def natural_shares(bucket_rows: Mapping[str, Mapping[str, Sequence[int]]]) -> dict[str, dict[str, int]]:
    """{domain: {bucket: number of rows}}: drawn by these, every problem of a domain comes equally often."""
    return {domain: {name: len(members) for name, members in filled.items()} for domain, filled in bucket_rows.items()}


def uniform(bucket_rows: Mapping[str, Mapping[str, Sequence[int]]]) -> Schedule:
    """The control: difficulties as they come in the data."""
    shares = natural_shares(bucket_rows)
    return Schedule("uniform", lambda step, max_steps: shares)
