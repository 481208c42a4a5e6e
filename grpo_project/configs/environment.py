"""What the surroundings say: `GRPO_<SETTING>` variables, and whether W&B has somebody to log in as.

`GRPO_LEARNING_RATE=2e-5` is `--learning_rate 2e-5` with less weight than the command line and more than a model's own
defaults. `WANDB_PROJECT` and `WANDB_NAME` are honoured as W&B's own names for --wandb_project and --run_name, and
the names of the guides (`RESUME_FROM_CHECKPOINT_DIR`, `MAX_PROMPT_LENGTH`, `LENGTH_ALLOCATION_STRATEGY` and the like) for the
settings of the same meaning.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from grpo_project.common.netrc_file import netrc_password
from grpo_project.configs.resolution import convert
from grpo_project.configs.settings import settings
from grpo_project.errors import ConfigError

PREFIX = "GRPO_"
FOREIGN_NAMES = {
    "WANDB_PROJECT": "wandb_project",
    "WANDB_NAME": "run_name",
    "RESUME_FROM_CHECKPOINT_DIR": "resume_from_checkpoint",
    "MAX_PROMPT_LENGTH": "max_prompt_length",
    "MAX_COMPLETION_LENGTH": "max_completion_length",
    "MAX_SEQ_LENGTH": "max_seq_length",
    "LENGTH_ALLOCATION_STRATEGY": "length_allocation_strategy",
}
WANDB_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")


@dataclass(frozen=True)
class EnvironmentConfig:
    """`values`: settings named by the environment. `unknown`: GRPO_ variables that are none (a warning, not an error).

    `wandb_mode`: "online", "offline" or "disabled"; offline whenever nobody is logged in, so that nothing ever asks.
    Raises ConfigError for a value of the wrong kind.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    wandb_mode: str = "offline"

    def __post_init__(self) -> None:
        if self.wandb_mode not in ("online", "offline", "disabled"):
            raise ConfigError(f"wandb mode must be online, offline or disabled, got {self.wandb_mode!r}")
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))


def read_environment(environ: Mapping[str, str] | None = None) -> EnvironmentConfig:
    """The settings that `environ` (os.environ by default) names. Raises ConfigError for a value of the wrong kind."""
    environ = os.environ if environ is None else environ
    known = {spec.name.upper(): spec.name for spec in settings()}
    values: dict[str, Any] = {}
    for variable, name in FOREIGN_NAMES.items():
        if environ.get(variable):
            values[name] = convert(name, environ[variable], f"environment variable {variable}")
    unknown: list[str] = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or not environ[variable].strip():
            continue
        setting = known.get(variable[len(PREFIX) :])
        if setting is None:
            unknown.append(variable)
        else:
            values[setting] = convert(setting, environ[variable], f"environment variable {variable}")
    return EnvironmentConfig(values=values, unknown=tuple(unknown), wandb_mode=_wandb_mode(environ))


def _wandb_mode(environ: Mapping[str, str]) -> str:
    asked = environ.get("WANDB_MODE", "").strip().lower()
    if asked and asked not in WANDB_MODES:
        raise ConfigError(f"environment variable WANDB_MODE must be one of {', '.join(WANDB_MODES)}, got {asked!r}")
    if asked == "disabled" or environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes"):
        return "disabled"
    if asked in ("offline", "dryrun"):
        return "offline"
    return "online" if _somebody_is_logged_in(environ) else "offline"


def _somebody_is_logged_in(environ: Mapping[str, str]) -> bool:
    """An API key in the environment, or an entry for the W&B host in the user's netrc file."""
    if environ.get("WANDB_API_KEY", "").strip() or environ.get("WANDB_IDENTITY_TOKEN_FILE", "").strip():
        return True
    return bool(netrc_password(urlsplit(environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc, environ))
