"""`adaptive`: more of what teaches something now, by domain and bucket."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from grpo_project.curriculum.base import EvaluationOutcome, GroupOutcome
from grpo_project.curriculum.schedules import natural_shares
from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import ConfigError


class AdaptiveCurriculum:
    """A bandit over the buckets of every domain whose reward is the standard deviation of rewards within a group.

    The idea is that of "Self-Evolving Curriculum for LLM Reasoning" (Chen et al. 2025, arXiv 2505.14970): categories are the
    arms of a non-stationary bandit, and the mean absolute advantage, which GRPO computes anyway, stands for what is learned
    now. DUMP (Wang et al. 2025, arXiv 2504.09710) does the same with upper confidence bounds. The measure used here is the
    standard deviation of the rewards of a group. For rewards of success alone it is sqrt(p (1 - p)), half of the mean absolute
    advantage where advantages are divided by it; squared, as `sharpness` 2 does, it is the learnability p (1 - p) of Foster
    et al. 2025 (arXiv 2502.12272). Chosen over two others:
    - Learning-progress bandits (Graves et al. 2017, arXiv 1704.03003; Matiisen et al. 2017, arXiv 1707.00183) reward an arm by
      the change of its success. With a few prompts per arm and batch, the difference of two noisy rates is mostly noise;
      the reward std is seen at once and is exactly what scales the gradient.
    - Filtering groups without variance (DAPO, Yu et al. 2025, arXiv 2503.14476) pays for the completions that it throws away.
      Choosing beforehand costs nothing. It can be had in addition: --resample_zero_variance, --skip_zero_variance.
    Differences from the paper: arms compete within their domain only, since quotas of domains are exact; estimates fade with
    time instead of by a learning rate, so that an arm that was not drawn becomes uncertain again and is taken for as good as
    the best one of its domain (optimism); and an arm is weighted by its number of rows, so that a bucket of five problems is
    not drawn as often as one of two hundred that teaches as much.

    bucket_rows: {domain: {bucket: row indices}}. exploration: share in (0, 1] drawn as in `uniform`, so no bucket with rows ever
    falls below exploration x its share of the rows. sharpness: power of the estimate, 0 is `uniform`. half_life: generation
    batches after which an observation counts half. prior_groups: how many groups the optimistic guess counts.
    """

    name = "adaptive"
    uses_groups = True
    uses_evaluations = False

    def __init__(
        self,
        bucket_rows: Mapping[str, Mapping[str, Sequence[int]]],
        exploration: float = 0.2,
        sharpness: float = 2.0,
        half_life: float = 10.0,
        prior_groups: float = 4.0,
    ) -> None:
        if not 0 < exploration <= 1:
            raise ConfigError(f"exploration must lie above 0 and at most at 1, got {exploration}")
        if not (math.isfinite(sharpness) and sharpness >= 0):
            raise ConfigError(f"sharpness must be 0 or more, got {sharpness}")
        if not (half_life > 0 and prior_groups > 0):
            raise ConfigError(f"half_life and prior_groups must be above 0, got {half_life} and {prior_groups}")
        counts = natural_shares(bucket_rows)
        self._shares = {
            domain: {name: own.get(name, 0) / sum(own.values()) for name in BUCKETS} for domain, own in counts.items()
        }
        self._exploration = exploration
        self._sharpness = sharpness
        self._fading = 0.5 ** (1 / half_life)
        self._prior_groups = prior_groups
        # (domain, bucket) -> [sum of reward stds, number of groups], both faded
        self._seen = {(domain, name): [0.0, 0.0] for domain in self._shares for name in BUCKETS}

    def observe_groups(self, groups: Sequence[GroupOutcome]) -> None:
        """The groups of one generation batch; all that was seen before fades by one generation."""
        for cell in self._seen.values():
            cell[0] *= self._fading
            cell[1] *= self._fading
        for group in groups:
            cell = self._seen[group.domain, group.bucket]
            cell[0] += group.reward_std
            cell[1] += 1.0

    def estimates(self, domain: str) -> dict[str, float]:
        """{bucket: expected reward std of a group}, each at least 0; the same for all before anything was seen."""
        seen = {name: self._seen[domain, name] for name in BUCKETS}
        guess = max((total / count for total, count in seen.values() if count > 1e-9), default=1.0)
        prior = self._prior_groups
        return {name: (total + prior * guess) / (count + prior) for name, (total, count) in seen.items()}

    def weights(self, step: int, max_steps: int) -> dict[str, dict[str, float]]:
        """{domain: {bucket: share}}: the exploration share as in the data, the rest by rows x estimate^sharpness."""
        found = {}
        for domain, shares in self._shares.items():
            estimates = self.estimates(domain)
            best = max(estimates.values())
            pull = {name: shares[name] * ((estimates[name] / best) ** self._sharpness if best > 0 else 1.0) for name in BUCKETS}
            total = math.fsum(pull.values())
            # Rounded for journal and log; shares are normalised again where they are used.
            found[domain] = {
                name: round(self._exploration * shares[name] + (1 - self._exploration) * pull[name] / total, 6)
                for name in BUCKETS
            }
        return found

    def observe_evaluation(self, outcome: EvaluationOutcome) -> None:
        """Training groups say more, and sooner."""

    def observe_collapse(self, domain: str) -> None:
        """What was learned about a domain that fell no longer holds."""
        for name in BUCKETS:
            self._seen[domain, name] = [0.0, 0.0]

    def metrics(self) -> dict[str, Any]:
        reward_std = {
            domain: {name: round(value, 4) for name, value in self.estimates(domain).items()} for domain in self._shares
        }
        return {"curriculum/expected_reward_std": reward_std}

    def state_dict(self) -> dict[str, Any]:
        seen: dict[str, dict[str, list[float]]] = {domain: {} for domain in self._shares}
        for (domain, name), cell in self._seen.items():
            seen[domain][name] = list(cell)
        return {"seen": seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        seen = state["seen"]
        if {domain: set(own) for domain, own in seen.items()} != {domain: set(BUCKETS) for domain in self._shares}:
            raise ConfigError("the saved state of the adaptive curriculum is of other domains")
        self._seen = {
            (domain, name): [float(seen[domain][name][0]), float(seen[domain][name][1])]
            for domain in self._shares
            for name in BUCKETS
        }
