"""--adaptive_quotas: a part of the prompts moves to the domains whose groups have reward variance now, in whole numbers.

outcomes of groups --> expected reward std of a domain --> {domain: prompts per batch}, always summing to the batch
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from grpo_project.curriculum.base import GroupOutcome
from grpo_project.errors import ConfigError


class AdaptiveQuotas:
    """Quotas that follow learnability: every domain keeps `kept` of its own (rounded up, at least 1) and gives the rest, which is
    shared out by what a domain gave x its reward_std^sharpness, and rounded by largest remainders.

    `reward_std` is a domain's mean standard deviation of rewards within a group; squared it is p (1 - p) for rewards of success
    alone, the learnability of Foster et al. 2025 (arXiv 2502.12272). Why between domains too: GRPO's gradient comes from groups
    that differ, and where a domain is as good as learned, or far out of reach, few do, whatever difficulty is drawn. That a
    model forgets what it is asked less often about is what `kept` and the collapse guard stand against. Estimates fade
    (`half_life` generation batches) towards an optimistic guess worth `prior_groups` groups: a domain of which little is known
    is taken for as good as the best. Before anything was seen the quotas are those given.

    quotas: {domain: prompts per batch}, each at least 1. Raises ConfigError for a parameter out of range.
    """

    def __init__(
        self,
        quotas: Mapping[str, int],
        kept: float = 0.5,
        sharpness: float = 2.0,
        half_life: float = 10.0,
        prior_groups: float = 4.0,
    ) -> None:
        if not (0 < kept <= 1 and sharpness >= 0 and half_life > 0 and prior_groups > 0):
            raise ConfigError("adaptive quotas need kept in (0, 1], sharpness of 0 or more, half_life and prior_groups above 0")
        self._quotas = dict(quotas)
        self._floors = {name: min(quota, max(1, math.ceil(kept * quota - 1e-9))) for name, quota in quotas.items()}
        self._sharpness = sharpness
        self._fading = 0.5 ** (1 / half_life)
        self._prior_groups = prior_groups
        self._seen = {name: [0.0, 0.0] for name in quotas}  # [sum of reward stds, number of groups], both faded

    def observe(self, groups: Sequence[GroupOutcome]) -> None:
        """The groups of one generation batch; all that was seen before fades by one generation."""
        for cell in self._seen.values():
            cell[0] *= self._fading
            cell[1] *= self._fading
        for group in groups:
            cell = self._seen[group.domain]
            cell[0] += group.reward_std
            cell[1] += 1.0

    def forget(self, domain: str) -> None:
        """What was seen of a domain no longer holds."""
        self._seen[domain] = [0.0, 0.0]

    def estimates(self) -> dict[str, float]:
        """{domain: expected reward std of a group}, each at least 0; the same for all before anything was seen."""
        guess = max((total / count for total, count in self._seen.values() if count > 1e-9), default=1.0)
        prior = self._prior_groups
        return {name: (total + prior * guess) / (count + prior) for name, (total, count) in self._seen.items()}

    def quotas(self) -> dict[str, int]:
        """{domain: prompts per batch} for the next decision: at least the floors, summing as the quotas given."""
        estimates = self.estimates()
        best = max(estimates.values())
        room = {name: quota - self._floors[name] for name, quota in self._quotas.items()}
        free = sum(room.values())
        if not free:
            return dict(self._quotas)
        pull = {name: own * ((estimates[name] / best) ** self._sharpness if best > 0 else 1.0) for name, own in room.items()}
        total = math.fsum(pull.values())
        if total == 0:  # the best has no room of its own, and the others teach nothing
            return dict(self._quotas)
        # Rounded, so that processes whose last bits differ still agree on whole numbers.
        exact = {name: round(free * value / total, 9) for name, value in pull.items()}
        given = {name: math.floor(value) for name, value in exact.items()}
        order = sorted(exact, key=lambda name: given[name] - exact[name])  # largest remainder first; ties in the domains' order
        for name in order[: free - sum(given.values())]:
            given[name] += 1
        return {name: self._floors[name] + given[name] for name in self._quotas}

    def metrics(self) -> dict[str, Any]:
        return {"curriculum/domain_reward_std": {name: round(value, 4) for name, value in self.estimates().items()}}

    def state_dict(self) -> dict[str, Any]:
        return {name: list(cell) for name, cell in self._seen.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ConfigError for a state of other domains."""
        if set(state) != set(self._seen):
            raise ConfigError("the saved state of the adaptive quotas is of other domains")
        self._seen = {name: [float(state[name][0]), float(state[name][1])] for name in self._seen}
