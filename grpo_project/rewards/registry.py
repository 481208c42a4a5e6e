"""Rewards by name: the built-in presets, and functions in a user's files, each with a weight.

    --reward dense path/to/file.py:brief=0.2     the total is dense + 0.2 x brief

A user's function is called as by TRL, once for a whole batch: `(prompts, completions, **columns) -> list[float]`. Beside the
data set's columns it gets, one entry per completion, `row_index`, `verdict` (pddl.Verdict), `scenario` and `problem_file`.
"""

from __future__ import annotations

import copy
import inspect
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, SupportsFloat

from grpo_project.common.user_code import code_of, file_of, is_user_code, load_function, source_of, what_failed
from grpo_project.configs.reward import REWARD_MODES, Bands, RewardConfig, parse_bands
from grpo_project.errors import ConfigError, RewardError
from grpo_project.pddl import Verdict
from grpo_project.rewards.score import score

FLAG = "--reward"
REWARDS: Mapping[str, RewardConfig] = MappingProxyType({mode: RewardConfig(mode=mode) for mode in REWARD_MODES})


@dataclass(frozen=True)
class PresetReward:
    """A built-in reward as a function of TRL's convention: one number in [-1, 1] for each `verdict`."""

    config: RewardConfig

    def __call__(self, prompts: Any, completions: Any, *, verdict: Sequence[Verdict], **columns: Any) -> list[float]:
        return [score(item, self.config).total for item in verdict]


@dataclass(frozen=True)
class NamedReward:
    """`function` (of TRL's convention) under its name in the logs; `weight` is finite, and below 0 only for a user's penalty.

    `file`: where a user's function stands, for messages and the record; None for a preset or a function made in Python.
    """

    name: str
    weight: float
    function: Callable[..., Any]
    file: Path | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or self.weight == 0:
            raise ConfigError(f"{FLAG} {self.name}: a weight is a finite number other than 0, got {self.weight:g}")
        if self.is_preset and self.weight < 0:
            raise ConfigError(
                f"{FLAG} {self.name}={self.weight:g} would pay for failing; only your own functions may be penalties"
            )

    @property
    def is_preset(self) -> bool:
        return isinstance(self.function, PresetReward)

    def values(self, prompts: Any, completions: Sequence[Any], **columns: Any) -> list[float]:
        """One finite number for each completion, without the weight.

        A user's function gets copies, so that what it changes stays its own. Raises RewardError, in one line, where it raises or
        returns anything else.
        """
        if self.is_preset:
            return self.function(prompts, completions, **columns)  # type: ignore[no-any-return]
        own = {name: list(column) if isinstance(column, list) else column for name, column in columns.items()}
        try:
            returned = self.function(prompts=copy.deepcopy(prompts), completions=copy.deepcopy(completions), **own)
            in_order = isinstance(returned, Iterable) and not isinstance(returned, (Mapping, Set))
            values = list(returned) if in_order else None
        except (Exception, SystemExit) as error:  # whatever it raises ends the run in one line, and never is a reward
            what = what_failed(error, self.file)
            raise self._fault(f"raised {what} on a batch of {len(completions)} completions") from error
        if values is None:
            raise self._fault(f"returned {reprlib.repr(returned)} for {len(completions)} completions; return a list of numbers")
        if len(values) != len(completions):
            raise self._fault(f"returned {len(values)} values for {len(completions)} completions; return one for each")
        numbers = [_number(value) for value in values]
        for index, number in enumerate(numbers):
            if not math.isfinite(self.weight * number):
                shown = f"{reprlib.repr(values[index])} for completion {index} (from 0) of {len(values)}"
                raise self._fault(f"returned {shown}; return a finite number for each")
        return numbers

    def _fault(self, what: str) -> RewardError:
        return RewardError(f"the reward function {self.name}{f' of {self.file}' if self.file else ''} {what}")


def preset_reward(config: RewardConfig, weight: float = 1.0) -> NamedReward:
    """A built-in reward, named after its mode."""
    return NamedReward(config.mode, weight, PresetReward(config))


def parse_rewards(specs: Sequence[str], bands: Bands | str = "", preference_weight: float = 0.0) -> tuple[NamedReward, ...]:
    """The rewards that `specs` name, in their order: dense, dense=0.5, path/to/file.py:function or path/to/file.py:function=-0.1.

    A user's function is named after itself, and where that name is taken, file.function. `bands`: those of `banded`, or the text
    of --reward_bands; preference_weight: of every preset. Raises ConfigError for what cannot be used.
    """
    given = parse_bands(bands) if isinstance(bands, str) else bands
    rewards: dict[str, NamedReward] = {}
    for spec in specs:
        reward = _parse(spec, given, preference_weight)
        if reward.name in rewards and reward.file is not None:
            reward = replace(reward, name=f"{reward.file.stem}.{reward.name}")
        if reward.name in rewards:
            raise ConfigError(f"{FLAG} {spec}: there is a reward {reward.name} already; name each once, with one weight")
        rewards[reward.name] = reward
    if not rewards:
        raise ConfigError(f"{FLAG} needs a reward: {', '.join(REWARDS)}, or path/to/file.py:function")
    if given and "banded" not in rewards:
        raise ConfigError(f"--reward_bands needs {FLAG} banded")
    return tuple(rewards.values())


def reward_source(rewards: Sequence[NamedReward]) -> list[dict[str, Any]]:
    """What the rewards are, as plain data for a run's fingerprint: a preset's settings, the code of a user's whole file.

    Comments and layout of that file are left out, so that they may change; what it imports is not looked at.
    """
    return [{"name": reward.name, "weight": reward.weight, "source": _source(reward)} for reward in rewards]


def _parse(spec: str, bands: Bands, preference_weight: float) -> NamedReward:
    head, equals, tail = spec.rpartition("=")
    if not equals or is_user_code(tail):  # the sign stands in the path
        head, tail = spec, "1"
    try:
        weight = float(tail)
    except ValueError:
        raise ConfigError(f"{FLAG} {spec}: the weight {tail!r} is no number") from None
    if is_user_code(head):
        function = load_function(head, FLAG)
        if not _takes_columns(function):
            raise ConfigError(f"{FLAG} {head} must be a function that takes (prompts, completions, **columns)")
        return NamedReward(head.rpartition(":")[2], weight, function, file_of(head, FLAG))
    if head not in REWARDS:
        raise ConfigError(f"{FLAG} must be one of {', '.join(REWARDS)}, or path/to/file.py:function; got {head!r}")
    preset = replace(REWARDS[head], preference_weight=preference_weight)
    return preset_reward(replace(preset, bands=bands) if head == "banded" else preset, weight)


def _takes_columns(function: Callable[..., Any]) -> bool:
    """Whether it can be called as by TRL, whose columns may become more; also where it does not tell."""
    try:
        names = ("prompts", "completions", "row_index", "verdict", "scenario", "problem_file", "any_other")
        inspect.signature(function).bind(**dict.fromkeys(names))
    except TypeError:
        return False
    except ValueError:
        return True
    return not inspect.iscoroutinefunction(function)


def _source(reward: NamedReward) -> Any:
    if isinstance(reward.function, PresetReward):
        return reward.function.config.as_dict()
    if reward.file is None:
        return source_of(reward.function)
    return code_of(reward.file)


def _number(value: Any) -> float:
    """As a float; NaN for what is none. Text is none, also where it could be read as one."""
    try:
        value = value.detach() if hasattr(value, "detach") else value  # torch warns of a number that a gradient hangs on
        return float(value) if isinstance(value, SupportsFloat) else math.nan
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last from a tensor of several numbers
        return math.nan
