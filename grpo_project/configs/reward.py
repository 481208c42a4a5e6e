"""How a verdict becomes a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from grpo_project.errors import ConfigError

REWARD_MODES = ("dense", "banded", "sparse")
LOWEST = -1.0
FAILED_PLANS = ("precondition_violation", "safety_constraints_violation", "goal_not_satisfied")
Bands = Mapping[str, tuple[float, float]]

# One range for all plans that ran and failed: whatever the class, only progress counts, so no plan gains by failing another way.
DEFAULT_BANDS: Bands = MappingProxyType(
    {"plan_format_error": (LOWEST, LOWEST)} | {name: (-0.9, -0.1) for name in FAILED_PLANS} | {"success_plans": (1.0, 1.0)}
)


@dataclass(frozen=True)
class RewardConfig:
    """mode: `dense` pays a failed plan for the progress that it really made; `banded` does, within a range for each verdict
    class; `sparse` pays only success.

    Dense and sparse: success lies in (0, 1]. A failed plan scores in [-1, failure_ceiling]; failure_ceiling lies in [-1, 0), so
    that no failed plan can reach a successful one. executed_bonus is what running at least one step is worth, in
    [0, 1 + failure_ceiling].

    Banded: `bands` gives (at no progress, at full progress) of each verdict class, within [-1, 1]; classes left out keep
    DEFAULT_BANDS. Every failure stays below every success. Ranges that differ among failures can be gamed: see `weaknesses`.

    preference_weight, in [0, 1): the share of a success that is lost where every preference of the problem is violated. A success
    stays above 0, and in `banded` within its range.
    """

    mode: str = "dense"
    success: float = 1.0
    failure_ceiling: float = -0.1
    executed_bonus: float = 0.1
    bands: Bands = field(default_factory=lambda: DEFAULT_BANDS)
    preference_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in REWARD_MODES:
            raise ConfigError(f"reward.mode must be one of {', '.join(REWARD_MODES)}, got {self.mode!r}")
        if not 0.0 < self.success <= 1.0:
            raise ConfigError(f"reward.success must lie in (0, 1], got {self.success}")
        if not -1.0 <= self.failure_ceiling < 0.0:
            raise ConfigError(f"reward.failure_ceiling must lie in [-1, 0), got {self.failure_ceiling}")
        if not 0.0 <= self.executed_bonus <= 1.0 + self.failure_ceiling:
            raise ConfigError(f"reward.executed_bonus must lie in [0, {1.0 + self.failure_ceiling:g}], got {self.executed_bonus}")
        if not 0.0 <= self.preference_weight < 1.0:
            raise ConfigError(f"reward.preference_weight must lie in [0, 1), got {self.preference_weight}")
        object.__setattr__(self, "bands", MappingProxyType(dict(DEFAULT_BANDS) | _checked(self.bands)))
        ceiling = max(high for name, (_, high) in self.bands.items() if name != "success_plans")
        if ceiling >= self.bands["success_plans"][0]:
            raise ConfigError(f"reward.bands: a failure may score {ceiling:g}, which is not below the lowest success")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for a run's record; a weight of 0, which earlier records do not have, is left out."""
        plain = vars(self) | {"bands": {name: list(band) for name, band in self.bands.items()}}
        return {name: value for name, value in plain.items() if name != "preference_weight" or value}

    def weaknesses(self) -> tuple[str, ...]:
        """One sentence for every way in which these ranges reward something else than planning better; empty where there is none.

        A plan turns from one failure class into another by stopping a step earlier, or by one step more. Only equal ranges make
        that worthless.
        """
        if self.mode != "banded":
            return ()
        found = []
        precondition, safety, goal = (self.bands[name] for name in FAILED_PLANS)
        if _exceeds(goal, precondition):
            found.append("a plan gains by stopping before the step whose precondition fails")
        if _exceeds(precondition, goal):
            found.append("a plan that misses the goal gains by a last step that cannot run")
        if _exceeds(goal, safety):
            found.append("a plan gains by stopping before the step that breaks a constraint")
        if _exceeds(safety, goal) or _exceeds(safety, precondition):
            found.append("a failing plan gains by breaking a constraint")
        if max(self.bands["plan_format_error"]) > min(min(precondition), min(safety), min(goal)):
            found.append("text that is no plan can score more than a plan that runs")
        return tuple(found)


def parse_bands(text: str) -> Bands:
    """ "goal_not_satisfied=-0.5:-0.1, precondition_violation=-0.8:-0.4" as bands. Raises ConfigError saying what was found."""
    bands = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, values = part.partition("=")
        low, _, high = values.partition(":")
        try:
            bands[name.strip()] = (float(low), float(high or low))
        except ValueError:
            raise ConfigError(f"--reward_bands: expected CLASS=LOW:HIGH, found {part!r}") from None
    return _checked(bands)


def _checked(bands: Bands) -> dict[str, tuple[float, float]]:
    for name, (low, high) in bands.items():
        if name not in DEFAULT_BANDS:
            raise ConfigError(f"reward.bands: {name!r} is no verdict class; they are {', '.join(DEFAULT_BANDS)}")
        if not -1.0 <= low <= high <= 1.0:
            raise ConfigError(f"reward.bands: {name} must be LOW:HIGH with -1 <= LOW <= HIGH <= 1, got {low:g}:{high:g}")
    return dict(bands)


def _exceeds(left: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether, at some progress, the first range pays more than the second."""
    return left[0] > right[0] or left[1] > right[1]
