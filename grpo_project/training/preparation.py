"""Everything about a run that is decided before torch is imported: settings, data, buckets, batches, the output folder.

Here a mistake of the user ends in one line within a second or two; nothing has been loaded and nothing written.
"""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from grpo_project.common import ranks
from grpo_project.common.paths import locate, locate_model
from grpo_project.configs.environment import EnvironmentConfig, read_environment
from grpo_project.configs.model_card import MODEL_CARD, model_defaults, read_model_card
from grpo_project.configs.resolution import read_config_file, resolve
from grpo_project.configs.training import FIXED_ON_RESUME, TrainingConfig, flag_of
from grpo_project.curriculum.adaptive import AdaptiveCurriculum
from grpo_project.curriculum.base import Curriculum
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.curriculum.manager import STATE_FILE, setup_fixed_curriculum_manager
from grpo_project.curriculum.quotas import domain_quotas, parse_domain_weights
from grpo_project.curriculum.schedules import Schedule, load_schedule, uniform
from grpo_project.data.difficulty import Buckets, fill_buckets
from grpo_project.data.held_out import feedback_problems, held_out_problems
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.errors import ConfigError, DataError
from grpo_project.pddl.val import find_val
from grpo_project.runs import identity, run_folder
from grpo_project.runs.checkpoint import read_run_state

logger = logging.getLogger(__name__)

Weights = Callable[[int, int], Mapping[str, Any]]
BucketRows = Mapping[str, Mapping[str, Sequence[int]]]

COMMAND_LINE = "command line"
ENVIRONMENT = "environment"
CHECKPOINT = "the run being continued"
# Asked of one start of a run, not of the run: a fork once is no fork at every resume.
OF_ONE_START = ("resume_from_checkpoint", "output_dir", "config_file", "wandb_continuity", "force_new_wandb_run")


def resolve_settings(given: Mapping[str, Any], environment: EnvironmentConfig | None = None) -> TrainingConfig:
    """The settings of a run from the flags that were given, the environment, the run being continued and the model's card.

    Raises ConfigError or ModelError for what cannot work.
    """
    environment = environment or read_environment()
    for variable in environment.unknown:
        logger.warning("environment variable %s is no setting of this script; it is ignored", variable)
    layers: list[tuple[str, Mapping[str, Any]]] = [(COMMAND_LINE, given), (ENVIRONMENT, environment.values)]
    first = resolve(layers)
    if first.config_file is not None:
        layers.append((first.config_file, read_config_file(first.config_file)))
        first = resolve(layers)
    if first.resume_from_checkpoint is not None:
        checkpoint = run_folder.find_checkpoint(first.resume_from_checkpoint, first.output_dir)
        if checkpoint is None:  # died before its first checkpoint, or never began
            return _with_model_defaults(layers, first)
        saved = read_run_state(checkpoint)["settings"]
        saved = {name: value for name, value in saved.items() if name not in OF_ONE_START}
        _refuse_conflicts(layers, saved)
        if first.output_dir is not None and Path(first.output_dir).resolve() != checkpoint.parent:
            raise ConfigError(
                f"--output_dir {first.output_dir} is not the folder of the run being continued, {checkpoint.parent}: leave it out"
            )
        place = {"resume_from_checkpoint": str(checkpoint), "output_dir": str(checkpoint.parent)}
        return resolve([(COMMAND_LINE, {**given, **place}), *layers[1:], (CHECKPOINT, saved)])
    return _with_model_defaults(layers, first)


def _with_model_defaults(layers: Sequence[tuple[str, Mapping[str, Any]]], first: TrainingConfig) -> TrainingConfig:
    model = locate_model(first.base_model)
    return resolve([*layers, (f"{first.base_model}/{MODEL_CARD}", model_defaults(read_model_card(model), model))])


def _refuse_conflicts(layers: Sequence[tuple[str, Mapping[str, Any]]], saved: Mapping[str, Any]) -> None:
    """A setting that would make the continued run another run must be what it was, or be left out."""
    for source, layer in layers:
        for name in FIXED_ON_RESUME:
            if name not in layer or name not in saved:
                continue
            now, then = layer[name], saved[name]
            now = list(now) if isinstance(now, tuple) else now
            if name in ("base_model", "data_root"):
                now, then = (str((locate(str(value)) or Path(str(value))).resolve()) for value in (now, then))
            if now != then:
                raise ConfigError(
                    f"{flag_of(name)} is {now} ({source}), but the run being continued has {then}: "
                    "leave it out, or start a new run"
                )


@dataclass(frozen=True)
class Preparation:
    """A run that can begin.

    `model`: absolute path or hub name. `engine`: the curriculum, which `planner` asks for every generation batch; `weights`: its
    {bucket: share}, the mean over prompts, for every step from 0, empty where they depend on what will happen.
    `weights_function`: the user's schedule. `held_out_rows`: the row indices of `held_out` that are evaluated before and after
    (none without evaluation), `held_out_name` where they come from; `feedback*` the same for evaluations during training.
    `fingerprints`: hashes that a continued run must share. `checkpoint`: where to go on from, or None.
    """

    config: TrainingConfig
    model: str
    rows: RowTable
    buckets: Buckets
    engine: CurriculumEngine
    planner: BatchPlanner
    weights: Sequence[Mapping[str, float]]
    weights_function: Weights
    schedule_source: str
    held_out: RowTable | None
    held_out_rows: Sequence[int]
    held_out_name: str
    feedback: RowTable | None
    feedback_rows: Sequence[int]
    feedback_name: str
    fingerprints: Mapping[str, Any]
    checkpoint: Path | None
    output_dir: Path


def prepare(config: TrainingConfig, get_curriculum_weights: Weights) -> Preparation:
    """Reads the data, fills the buckets and plans the batches; writes nothing. Raises a GrpoProjectError for bad input."""
    asked = config.resume_from_checkpoint
    checkpoint = Path(asked) if asked not in (None, "auto") else None
    output_dir = Path(config.output_dir) if config.output_dir else _default_output_dir(config)
    if ranks.world_size() > 1 and not (config.output_dir or config.run_name):
        raise ConfigError("several processes need --output_dir or --run_name: a folder named after the time would differ")
    # The first process makes the folder, so only it can tell whether the folder was used before.
    if checkpoint is None and ranks.is_main() and not (asked == "auto" and run_folder.may_begin_again(output_dir)):
        run_folder.refuse_used_folder(output_dir)
    model = locate_model(config.base_model)
    if config.validator != "builtin":
        find_val()

    data_root = locate(config.data_root) or Path(config.data_root)
    # Before any file is read: a quota that cannot work is no news after a minute of parsing.
    domains = config.domains or tuple(sorted(path.stem for path in data_root.glob("*.jsonl")))
    quota_weights = parse_domain_weights(config.domain_weights or ())
    if domains:
        domain_quotas(config.batch_size, domains, quota_weights)
    if ".py:" in config.curriculum:
        get_curriculum_weights = load_schedule(config.curriculum, locate)
    rows = read_rows(data_root, config.domains, config.on_bad_row)
    buckets = fill_buckets(rows.rows, rows.domains)
    engine, planner = _plan_with(config, get_curriculum_weights, buckets.rows)
    weights: list[dict[str, float]] = []
    shares: Any = [config.curriculum, config.domain_weights, config.on_collapse]
    if not engine.feedback:
        # Every step is asked now: a schedule that fails at step 700 fails before anything was spent.
        generations = [engine.decide(engine.generation_of(step)) for step in range(config.max_steps)]
        weights = [engine.weights_at(step) for step in range(config.max_steps)]
        shares = [decision.weights for decision in generations]
    elif _is_schedule(config.curriculum):
        shares = [*shares, *(get_curriculum_weights(step, config.max_steps) for step in range(config.max_steps))]
    schedule_source = _source_of(get_curriculum_weights) if _is_schedule(config.curriculum) else config.curriculum
    fingerprints = {
        "data": rows.fingerprint,
        "schedule": identity.hash_of(shares),
        **identity.describe(model, schedule_source, config.reward_config().as_dict(), ranks.world_size()),
    }
    if checkpoint is not None:
        _refuse_changed_inputs(checkpoint, fingerprints)
    held_out, held_out_rows, held_out_name = held_out_problems(config, rows)
    feedback, feedback_rows, feedback_name = feedback_problems(config, rows, held_out)
    return Preparation(
        config=config,
        model=model,
        rows=rows,
        buckets=buckets,
        engine=engine,
        planner=planner,
        weights=weights,
        weights_function=get_curriculum_weights,
        schedule_source=schedule_source,
        held_out=held_out,
        held_out_rows=held_out_rows,
        held_out_name=held_out_name,
        feedback=feedback,
        feedback_rows=feedback_rows,
        feedback_name=feedback_name,
        fingerprints=fingerprints,
        checkpoint=checkpoint,
        output_dir=output_dir,
    )


def _default_output_dir(config: TrainingConfig) -> Path:
    return Path("outputs") / (config.run_name or time.strftime("grpo-%Y%m%d-%H%M%S"))


def _refuse_changed_inputs(checkpoint: Path, fingerprints: Mapping[str, Any]) -> None:
    """The schedule is compared by the weights it gives at every step, so an edited comment is only mentioned."""
    for difference in identity.differences(read_run_state(checkpoint).get("fingerprints", {}), fingerprints):
        if difference.fatal:
            raise ConfigError(f"{difference.text} since {checkpoint} was written: restore it, or start a new run")
        logger.warning("%s since %s was written; the last digits may differ", difference.text, checkpoint)


def _is_schedule(curriculum: str) -> bool:
    """Whether the weights come from a function of the user's."""
    return curriculum == "step" or ".py:" in curriculum


def _curriculum(config: TrainingConfig, get_curriculum_weights: Weights, bucket_rows: BucketRows) -> Curriculum:
    if _is_schedule(config.curriculum):
        return Schedule(config.curriculum, get_curriculum_weights)
    if config.curriculum == "stage":
        return setup_fixed_curriculum_manager()
    return AdaptiveCurriculum(bucket_rows) if config.curriculum == "adaptive" else uniform(bucket_rows)


def _plan_with(
    config: TrainingConfig, get_curriculum_weights: Weights, bucket_rows: BucketRows
) -> tuple[CurriculumEngine, BatchPlanner]:
    """The curriculum at its start over these rows, and the planner that asks it."""
    quota_weights = parse_domain_weights(config.domain_weights or ())
    engine = CurriculumEngine(
        _curriculum(config, get_curriculum_weights, bucket_rows),
        domain_quotas(config.batch_size, tuple(bucket_rows), quota_weights),
        config.max_steps,
        optimizer_steps_per_generation=config.num_iterations,
        reweight=config.on_collapse in ("reweight", "rollback"),
        skip_generations=-(-config.skip_zero_variance // config.num_iterations),
        weights_name=config.curriculum if ".py:" in config.curriculum else "get_curriculum_weights",
        adaptive_quotas=config.adaptive_quotas,
        batches_per_generation=config.gradient_accumulation_steps,
    )
    planner = BatchPlanner(
        config.seed,
        bucket_rows,
        config.batch_size,
        None,
        config.max_steps,
        steps_per_batch=Fraction(config.num_iterations, config.gradient_accumulation_steps),
        batches_per_generation=config.gradient_accumulation_steps,
        decide=engine.decide,
        quota_weights=quota_weights,
    )
    return engine, planner


def _source_of(function: Any) -> str:
    """The text of a function, for the record."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return repr(function)


def leave_out(prepared: Preparation, rows: set[int], why: str) -> Preparation:
    """The same run with `rows` (indices) never drawn. Raises DataError where that leaves a domain without any."""
    kept = {
        domain: {name: [index for index in members if index not in rows] for name, members in filled.items()}
        for domain, filled in prepared.buckets.rows.items()
    }
    for domain, filled in kept.items():
        if not any(filled.values()):
            raise DataError(f"no {domain} problem is left: {why}")
    engine, planner = _plan_with(prepared.config, prepared.weights_function, kept)
    return replace(prepared, engine=engine, planner=planner)


def load_curriculum_state(checkpoint: Path) -> dict[str, Any] | None:
    """curriculum_state.json of a checkpoint; None where it has none. Raises ConfigError for a broken one."""
    path = checkpoint / STATE_FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no curriculum state")
    return found
