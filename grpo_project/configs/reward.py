"""How a verdict becomes a number."""

from __future__ import annotations

from dataclasses import dataclass

from grpo_project.errors import ConfigError

REWARD_MODES = ("dense", "sparse")


@dataclass(frozen=True)
class RewardConfig:
    """mode: `dense` pays a failed plan for the progress that it really made, `sparse` pays only success.

    success lies in (0, 1]. A failed plan scores in [-1, failure_ceiling]; failure_ceiling lies in [-1, 0), so that no failed
    plan can reach a successful one. executed_bonus is what running at least one step is worth, in [0, 1 + failure_ceiling].
    """

    mode: str = "dense"
    success: float = 1.0
    failure_ceiling: float = -0.1
    executed_bonus: float = 0.1

    def __post_init__(self) -> None:
        if self.mode not in REWARD_MODES:
            raise ConfigError(f"reward.mode must be one of {', '.join(REWARD_MODES)}, got {self.mode!r}")
        if not 0.0 < self.success <= 1.0:
            raise ConfigError(f"reward.success must lie in (0, 1], got {self.success}")
        if not -1.0 <= self.failure_ceiling < 0.0:
            raise ConfigError(f"reward.failure_ceiling must lie in [-1, 0), got {self.failure_ceiling}")
        if not 0.0 <= self.executed_bonus <= 1.0 + self.failure_ceiling:
            raise ConfigError(
                f"reward.executed_bonus must lie in [0, {1.0 + self.failure_ceiling:g}], got {self.executed_bonus}"
            )
