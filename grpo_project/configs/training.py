"""The settings of one run as a value that cannot be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from grpo_project.configs.health import HealthConfig
from grpo_project.configs.lengths import ScriptConfig
from grpo_project.configs.rules import check_together
from grpo_project.configs.setting import check_alone
from grpo_project.configs.settings import Settings, settings, sources_named


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Settings):
    """Raises ConfigError, naming the flag, when a value is out of range or contradicts another.

    None stands for "decided later": `test_data` (data/test when it exists), `domains` (every file of the data root),
    `output_dir` and `run_name` (named after the time), `micro_batch_size`, `sampling_batch_size` and
    `use_gradient_checkpointing` (what fits the device), `lora_rank` (by device).
    `sources` tells for every setting where its value came from.
    """

    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for spec in settings():
            check_alone(spec, getattr(self, spec.name), self.sources.get(spec.name, ""))
        with self.sources_named():
            check_together(self)
        lengths = self.script_config()
        for name in ("max_prompt_length", "max_completion_length"):
            object.__setattr__(self, name, getattr(lengths, f"script_{name}"))
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))

    def sources_named(self) -> AbstractContextManager[None]:
        """`settings.sources_named` of this config."""
        return sources_named(self.sources)

    def script_config(self) -> ScriptConfig:
        """The lengths, checked against each other. Raises ConfigError for a strategy without --max_seq_length."""
        return ScriptConfig.of(self.as_dict())

    def health_config(self) -> HealthConfig:
        """The thresholds of all alarms. Raises ConfigError for a threshold that there is not."""
        return HealthConfig.of(self.alarm_thresholds or ())

    def as_dict(self) -> dict[str, Any]:
        """Every setting as JSON-ready plain data, without `sources`."""
        values = {spec.name: getattr(self, spec.name) for spec in settings()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
