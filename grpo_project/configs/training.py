"""The settings of one run as a value that cannot be wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from grpo_project.configs.health import HealthConfig
from grpo_project.configs.lengths import ScriptConfig
from grpo_project.configs.rules import check_together
from grpo_project.configs.setting import BUILT_IN, CHECKPOINT, COMMAND_LINE, check_alone
from grpo_project.configs.settings import Settings, flag_of, settings
from grpo_project.errors import GrpoProjectError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Settings):
    """Raises ConfigError, naming the flag, when a value is out of range or contradicts another.

    None stands for "decided later": `test_data` (data/test when it exists), `domains` (every file of the data root),
    `output_dir` and `run_name` (named after the time), `micro_batch_size` (what fits the device), `lora_rank` (by device).
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

    @contextmanager
    def sources_named(self) -> Iterator[None]:
        """An error of ours that names a setting also says where its value came from, where one would not think of it."""
        try:
            yield
        except GrpoProjectError as error:
            text = str(error)
            expected = (COMMAND_LINE, BUILT_IN, CHECKPOINT)
            given = {name: source for name, source in self.sources.items() if source not in expected}
            named = [
                f"{flag_of(name)} is from {source}"
                for name, source in given.items()
                if re.search(rf"{flag_of(name)}\b", text) and f"from {source})" not in text
            ]
            if named:
                error.args = (f"{text} ({', '.join(named)})",)
            raise

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
