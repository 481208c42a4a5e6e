"""The thresholds of all alarms: one table for the running monitor and for the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from grpo_project.errors import ConfigError

_COUNTS = ("window", "enough_completions", "enough_prompts", "end_tokens", "equal_reward_steps")
_SHARES = (
    "broken_answers zero_entropy_answers one_token_answers completions_cut_off cut_off_while_thinking format_errors empty_plans "
    "mixed_groups identical_completions entropy_left share_gap"
).split()


@dataclass(frozen=True)
class HealthConfig:
    """Shares lie in [0, 1], entropy and KL are nats per token. Raises ConfigError, naming the threshold, for any other value.

    The first four are looked at step by step, and what passes them stops a run (--on_anomaly); the others in the mean of the
    last `window` log lines, once these hold `enough_completions`.
    """

    broken_answers: float = 0.1  # of a step's prompts or answers: a fault at the boundary hits nearly all of them
    end_tokens: int = 10  # in one answer, where one belongs at its end; formats with several turns hold two or three
    zero_entropy: float = 0.0005  # what prints as 0.000
    zero_entropy_answers: float = 0.5  # of a step's answers

    window: int = 10
    enough_completions: int = 200
    one_token_answers: float = 0.1
    completions_cut_off: float = 0.2
    cut_off_while_thinking: float = 0.1
    format_errors: float = 0.5
    empty_plans: float = 0.2
    mixed_groups: float = 0.1  # alarm below: the others have no variance, so nothing is learned from them
    identical_completions: float = 0.9  # that repeat one of their group; a solved problem has few right plans, so many repeat
    entropy_left: float = 0.1  # alarm below, as a share of the first `window` log lines' mean
    kl: float = 1.0
    gradient_spike: float = 20.0  # times the median of the log lines before
    share_gap: float = 0.25  # between a difficulty's share of the prompts and what the curriculum asked for
    enough_prompts: int = 40  # below that, chance alone moves shares by as much
    equal_reward_steps: int = 3  # first steps whose rewards may all be equal before that is said

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ConfigError(f"--alarm_thresholds: {name} must be at least 1, got {getattr(self, name)}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"--alarm_thresholds: {name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("zero_entropy", "kl", "gradient_spike"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"--alarm_thresholds: {name} must be above 0, got {getattr(self, name)}")

    @classmethod
    def of(cls, changes: Iterable[str]) -> HealthConfig:
        """The table with `name=value` changed. Raises ConfigError for an unknown name or a value out of range."""
        kinds: Mapping[str, type] = {spec.name: type(spec.default) for spec in fields(cls)}
        values: dict[str, float] = {}
        for change in changes:
            name, _, text = change.partition("=")
            if name not in kinds:
                raise ConfigError(f"--alarm_thresholds: there is no threshold {name!r}; they are {', '.join(kinds)}")
            if name in values:
                raise ConfigError(f"--alarm_thresholds names {name} twice")
            try:
                values[name] = kinds[name](text)
            except ValueError:
                wanted = "a whole number" if kinds[name] is int else "a number"
                raise ConfigError(f"--alarm_thresholds: {name} must be {wanted}, got {text!r}") from None
        return cls(**values)  # type: ignore[arg-type]
