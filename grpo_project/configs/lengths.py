"""How the tokens of a sequence are shared between prompt and completion, and what is wrong with a share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from grpo_project.common.guide_lines import with_english
from grpo_project.errors import ConfigError

TOO_LONG = "prompt and completion together exceed the sequence: lower one of the two, or use --length_allocation_strategy"
PROMPT_SHARES = {"balanced": 0.5, "completion_heavy": 0.25, "prompt_heavy": 0.75}
STRATEGIES = (*PROMPT_SHARES, "custom")


class _Lengths(Protocol):
    @property
    def max_prompt_length(self) -> int: ...
    @property
    def max_completion_length(self) -> int: ...


@dataclass(frozen=True)
class ScriptConfig:
    """Lengths in tokens. `max_seq_length` None: prompt and completion together.

    `length_allocation_strategy` other than custom shares out `max_seq_length` (needed then) and overrules the two lengths.
    Raises ConfigError for lengths below 1 and an unknown strategy.
    """

    script_max_prompt_length: int = 2048
    script_max_completion_length: int = 512
    max_seq_length: int | None = None
    length_allocation_strategy: str = "custom"

    def __post_init__(self) -> None:
        if self.length_allocation_strategy not in STRATEGIES:
            names = ", ".join(STRATEGIES)
            raise ConfigError(f"--length_allocation_strategy must be one of {names}; got {self.length_allocation_strategy!r}")
        share = PROMPT_SHARES.get(self.length_allocation_strategy)
        if share is not None:
            if self.max_seq_length is None:
                raise ConfigError(f"--length_allocation_strategy {self.length_allocation_strategy} needs --max_seq_length")
            prompt = round(self.max_seq_length * share)
            object.__setattr__(self, "script_max_prompt_length", prompt)
            object.__setattr__(self, "script_max_completion_length", self.max_seq_length - prompt)
        for name in ("script_max_prompt_length", "script_max_completion_length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ScriptConfig:
        """From settings by the names of TrainingConfig; what is missing has its default."""
        names = {"max_prompt_length": "script_max_prompt_length", "max_completion_length": "script_max_completion_length"}
        known = (*names, "max_seq_length", "length_allocation_strategy")
        return cls(**{names.get(name, name): settings[name] for name in known if name in settings})

    @property
    def sequence_length(self) -> int:
        """Tokens the model is set up for."""
        return self.max_seq_length or self.script_max_prompt_length + self.script_max_completion_length

    def warning(self) -> str | None:
        """What is wrong with the lengths, in the words of the guide, or None. Exactly full is fine."""
        prompt, completion = self.script_max_prompt_length, self.script_max_completion_length
        if self.max_seq_length is None or prompt + completion <= self.max_seq_length:
            return None
        return (
            f"⚠️ 警告: prompt长度({prompt}) + completion长度({completion}) = {prompt + completion} > "
            f"最大序列长度({self.max_seq_length})"
        )


def validate_config_consistency(script_cfg: ScriptConfig, grpo_cfg: _Lengths) -> None:
    """Raises ConfigError where the lengths exceed the sequence, or the trainer was given others."""
    warning = script_cfg.warning()
    if warning:
        raise ConfigError(with_english(warning, TOO_LONG))
    for name in ("max_prompt_length", "max_completion_length"):
        wanted, found = getattr(script_cfg, f"script_{name}"), getattr(grpo_cfg, name)
        if wanted != found:
            raise ConfigError(f"{name} is {wanted} in the script's settings but {found} in the trainer's")
