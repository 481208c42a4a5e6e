"""One start of the program: whose value of a setting counts, and where the run begins or goes on. Nothing is written."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_project.common import ranks
from grpo_project.common.files import require_writable
from grpo_project.common.paths import locate, locate_model
from grpo_project.configs.environment import EnvironmentConfig, read_environment
from grpo_project.configs.model_card import MODEL_CARD, model_defaults, read_model_card
from grpo_project.configs.resolution import read_config_file, resolve
from grpo_project.configs.setting import CHECKPOINT, COMMAND_LINE, FIXED, PER_LAUNCH, nature_of
from grpo_project.configs.settings import Settings, default_of, flag_of, settings, sources_named
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError
from grpo_project.pddl.val import find_val
from grpo_project.runs import run_folder
from grpo_project.runs.checkpoint import read_run_state, require_names, step_of
from grpo_project.tracking.wandb_run_id import recorded_run

logger = logging.getLogger(__name__)

ENVIRONMENT = "environment"

Layers = Sequence[tuple[str, Mapping[str, Any]]]


def resolve_settings(given: Mapping[str, Any], environment: EnvironmentConfig | None = None) -> TrainingConfig:
    """The settings of a run from the flags that were given, the environment, the run being continued and the model's card.

    Raises ConfigError or ModelError for what cannot work.
    """
    environment = environment or read_environment()
    for variable in environment.unknown:
        logger.warning("environment variable %s is no setting of this script; it is ignored", variable)
    layers: list[tuple[str, Mapping[str, Any]]] = [(COMMAND_LINE, given), (ENVIRONMENT, environment.values)]
    config_file = _strongest(layers, "config_file")
    if config_file is not None:
        layers.append((config_file, read_config_file(config_file)))
    with sources_named({name: source for source, layer in reversed(layers) for name in layer}):
        return _resolved(layers)


def _resolved(layers: Layers) -> TrainingConfig:
    checkpoint, output_dir = _strongest(layers, "resume_from_checkpoint"), _strongest(layers, "output_dir")
    if checkpoint is not None:
        checkpoint = run_folder.find_checkpoint(checkpoint, output_dir)
    if checkpoint is None:  # a new run, or one that died before its first checkpoint
        base_model = _strongest(layers, "base_model")
        model = locate_model(base_model)
        return resolve([*layers, (f"{base_model}/{MODEL_CARD}", model_defaults(read_model_card(model), model))])
    if output_dir is not None and Path(output_dir).resolve() != checkpoint.parent:
        raise ConfigError(
            f"--output_dir {output_dir} is not the folder of the run being continued, {checkpoint.parent}: leave it out"
        )
    return _continued(layers, checkpoint)


def _strongest(layers: Layers, name: str) -> Any:
    """The value of a setting in the first layer that names it, else its default; not checked yet."""
    return next((layer[name] for _, layer in layers if name in layer), default_of(name))


def _continued(layers: Layers, checkpoint: Path) -> TrainingConfig:
    """The run of a checkpoint, with what a continued run may change. Raises ConfigError for what it may not."""
    natures = {spec.name: nature_of(spec).on_resume for spec in settings()}
    require_names(checkpoint, "settings", [name for name, nature in natures.items() if nature is FIXED])
    saved = {name: value for name, value in read_run_state(checkpoint)["settings"].items() if natures.get(name) is not PER_LAUNCH}
    for source, layer in layers:
        for name, value in layer.items():
            if natures.get(name) is FIXED and name in saved and _plain(name, value) != _plain(name, saved[name]):
                raise ConfigError(
                    f"{flag_of(name)} is {_shown(value)} ({source}), but the run being continued has {_shown(saved[name])}: "
                    "leave it out, or start a new run"
                )
    where = {"resume_from_checkpoint": str(checkpoint), "output_dir": str(checkpoint.parent)}
    (first, given), *others = layers
    config = resolve([(first, {**given, **where}), *others, (CHECKPOINT, saved)])
    if any("wandb_project" in layer for _, layer in layers):
        _refuse_another_project(config, checkpoint)
    return config


def _refuse_another_project(config: TrainingConfig, checkpoint: Path) -> None:
    """A W&B run cannot move to another project: only a new one can begin there."""
    found = recorded_run(checkpoint)
    sent = config.use_wandb and "wandb" in config.report_to
    goes_on = sent and not config.force_new_wandb_run and config.wandb_continuity in ("continue", "offline")
    if found is None or found.project in (None, config.wandb_project) or not goes_on:
        return
    raise ConfigError(
        f"--wandb_project {config.wandb_project}: the W&B run of {checkpoint.name} is in project {found.project}, and no run can "
        "move: leave it out, or add --wandb_continuity new (or fork) to begin one there"
    )


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(name, part) for part in value]
    if value is not None and nature_of(Settings.__dataclass_fields__[name]).path:
        return str((locate(str(value)) or Path(str(value))).resolve())
    return value


def _shown(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Start:
    """`model`: absolute path or hub name. `checkpoint`: where to go on from, or None. `output_dir`: the run's folder."""

    model: str
    checkpoint: Path | None
    output_dir: Path

    @property
    def step(self) -> int:
        """Optimizer steps that are done."""
        return step_of(self.checkpoint) if self.checkpoint is not None else 0


def starting_point(config: TrainingConfig) -> Start:
    """Where the run begins. Raises RunExists for a folder in use, ConfigError or ModelError for what cannot be there."""
    asked = config.resume_from_checkpoint
    checkpoint = Path(asked) if asked not in (None, "auto") else None
    if ranks.world_size() > 1 and not (config.output_dir or config.run_name):
        raise ConfigError("several processes need --output_dir or --run_name: a folder named after the time would differ")
    named = config.run_name or time.strftime("grpo-%Y%m%d-%H%M%S")
    if not config.output_dir and (Path(named).name != named or named == ".."):
        raise ConfigError(f"--run_name {named} names a folder in outputs/ and must be a plain name; --output_dir takes any path")
    output_dir = Path(config.output_dir) if config.output_dir else Path("outputs") / named
    if ranks.is_main():
        require_writable(output_dir, "--output_dir")
    if checkpoint is None and ranks.is_main():  # rank 0 makes the folder, so only it can tell whether it was used before
        if asked == "auto" and run_folder.may_begin_again(output_dir):
            logger.warning("%s has no checkpoint: the run begins at step 0, with the settings of this command", output_dir)
        else:
            run_folder.refuse_used_folder(output_dir)
    if config.validator != "builtin":
        find_val()
    return Start(locate_model(config.base_model), checkpoint, output_dir)
