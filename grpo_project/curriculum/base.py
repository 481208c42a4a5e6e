"""The small interface behind which every curriculum stands: plain data in, plain data out.

    outcomes of groups, outcomes of evaluations --> Curriculum.weights(step, max_steps) --> Decision --> BatchPlan

A curriculum knows nothing of journals, of resuming or of how far the loader runs ahead: `engine.py` hands it every outcome
in order and asks it once per decision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from grpo_project.common.statistics import Interval, wilson_interval
from grpo_project.curriculum.weights import DomainLevels, DomainWeights
from grpo_project.data.difficulty import BUCKETS

Counts = Mapping[str, Mapping[str, tuple[int, int]]]


@dataclass(frozen=True)
class Decision:
    """What a generation batch of batches is drawn by.

    `weights`: {domain: {bucket: share}}, each summing to 1. `levels`: {domain: {bucket: {difficulty score: share}}}, each
    summing to 1, where a curriculum chooses within buckets too; empty elsewhere. `quotas`: {domain: prompts per batch}, summing
    to the batch size.
    `skipped`: row indices that are passed over while their bucket has another. `drawn_before`: {domain: prompts in all
    generation batches before}; empty where quotas never change, and the number follows from the generation batch's.
    """

    weights: DomainWeights
    quotas: Mapping[str, int]
    skipped: frozenset[int] = field(default_factory=frozenset)
    drawn_before: Mapping[str, int] = field(default_factory=dict)
    levels: DomainLevels = field(default_factory=dict)


def mean_weights(decision: Decision) -> dict[str, float]:
    """{bucket: share} over all domains, each counted by its quota; as the user wrote them where all domains agree."""
    own = list(decision.weights.values())
    if all(weights == own[0] for weights in own):
        return dict(own[0])
    total = sum(decision.quotas.values())
    return {
        name: math.fsum(decision.weights[domain][name] * quota for domain, quota in decision.quotas.items()) / total
        for name in BUCKETS
    }


def without_variance(rewards: Sequence[float]) -> bool:
    """Whether a group's rewards are all equal, so that every advantage is 0 and nothing is learned from it."""
    return max(rewards) == min(rewards)


@dataclass(frozen=True)
class GroupOutcome:
    """What the completions of one prompt earned: `reward_std` is the population standard deviation of their rewards (0..1 for
    rewards in [-1, 1]), 0 where they teach nothing; `successes` of `count` are verified plans."""

    domain: str
    bucket: str
    row_index: int
    reward_std: float
    successes: int
    count: int

    @classmethod
    def of(cls, domain: str, bucket: str, row_index: int, rewards: Sequence[float], successes: int) -> GroupOutcome:
        """The outcome of a group with these rewards (at least one)."""
        if without_variance(rewards):  # a mean of equal numbers may be off by a rounding
            return cls(domain, bucket, row_index, 0.0, successes, len(rewards))
        mean = math.fsum(rewards) / len(rewards)
        reward_std = math.sqrt(math.fsum((reward - mean) ** 2 for reward in rewards) / len(rewards))
        return cls(domain, bucket, row_index, reward_std, successes, len(rewards))


@dataclass(frozen=True)
class EvaluationOutcome:
    """Held-out success after `step` optimizer steps. `cells`: {domain: {bucket: (successes, problems)}}."""

    step: int
    cells: Counts

    def domain_counts(self, domain: str) -> tuple[int, int]:
        """(successes, problems) of a domain."""
        own = self.cells[domain].values()
        return sum(cell[0] for cell in own), sum(cell[1] for cell in own)

    def bucket_counts(self, bucket: str) -> tuple[int, int]:
        """(successes, problems) of a bucket over all domains."""
        own = [cells.get(bucket, (0, 0)) for cells in self.cells.values()]
        return sum(cell[0] for cell in own), sum(cell[1] for cell in own)

    def average(self) -> float:
        """eval_avg_test_pass_rate: the mean of the domains' success rates, in [0, 1]."""
        rates = [successes / count for successes, count in map(self.domain_counts, self.cells) if count]
        return math.fsum(rates) / len(rates) if rates else 0.0

    def effective_count(self) -> float:
        """Problems in all, as far as they count to `average`: less than their number where domains have unequal numbers."""
        counts = [count for _, count in map(self.domain_counts, self.cells) if count]
        return len(counts) ** 2 / math.fsum(1 / count for count in counts) if counts else 0.0

    def interval(self, z: float = 1.96) -> Interval:
        """The Wilson interval of `average`."""
        count = self.effective_count()
        return wilson_interval(min(self.average() * count, count), count, z)

    def to_json(self) -> dict[str, Any]:
        cells = {domain: {name: list(cell) for name, cell in own.items()} for domain, own in self.cells.items()}
        return {"step": self.step, "cells": cells}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvaluationOutcome:
        cells = {
            domain: {name: (int(cell[0]), int(cell[1])) for name, cell in own.items()} for domain, own in data["cells"].items()
        }
        return cls(int(data["step"]), cells)


class Curriculum(Protocol):
    """One of CURRICULA, or a user's own.

    `uses_groups`, `uses_evaluations`: which outcomes change its weights; neither for a schedule. `observe_*` come in the order
    in which things happened. `weights` answers {bucket: weight}, {domain: {bucket: weight}} or {domain: {bucket: {difficulty
    score as text: weight}}} for a batch of optimizer step `step` (0..max_steps-1), from nothing but its arguments and what was
    observed. `state_dict` is JSON-ready and exact: a curriculum that loads it goes on as the one that gave it. `metrics` are
    figures for the log.
    """

    name: str
    uses_groups: bool
    uses_evaluations: bool

    def weights(self, step: int, max_steps: int) -> Mapping[str, Any]: ...

    def observe_groups(self, groups: Sequence[GroupOutcome]) -> None: ...

    def observe_evaluation(self, outcome: EvaluationOutcome) -> None: ...

    def observe_collapse(self, domain: str) -> None: ...

    def metrics(self) -> dict[str, Any]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
