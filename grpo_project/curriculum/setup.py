"""The curriculum of a run, made once: what is decided, what batches that gives, and how often it wants to be told of success."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from grpo_project.common.paths import locate
from grpo_project.common.user_code import code_of, file_of, is_user_code, load_function, source_of
from grpo_project.configs.settings import Settings
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.curriculum.engine import CurriculumEngine
from grpo_project.curriculum.frontier import levels_of, parse_target_pass_rates
from grpo_project.curriculum.quotas import domain_quotas, parse_domain_weights
from grpo_project.curriculum.registry import FLAG, CurriculumInputs, make_curriculum, told_in_one_line, weights_function_of
from grpo_project.curriculum.schedules import WeightsFunction
from grpo_project.curriculum.weights import domain_weights
from grpo_project.data.row_files import domain_names
from grpo_project.errors import ConfigError

Scores = Sequence[float]  # difficulty, by row index
BucketRows = Mapping[str, Mapping[str, Sequence[int]]]  # {domain: {bucket: row indices}}

EVALUATE_EVERY = 25  # steps, where nobody said how often


@dataclass(frozen=True)
class RunCurriculum:
    """`engine` decides, `planner` asks it for every batch. `source`: the text of the user's function, or the curriculum's name.

    `fingerprint`: SHA-256 of all that is decided without feedback, step by step. `evaluate_every`: optimizer steps between two
    evaluations of the steering problems; 0: none.
    """

    engine: CurriculumEngine
    planner: BatchPlanner
    source: str
    fingerprint: str
    evaluate_every: int


def check_quotas(config: Settings) -> None:
    """Raises ConfigError for a batch that cannot be shared out, before any row is read."""
    root = locate(config.data_root)
    named = tuple(name.lower() for name in config.domains or ())
    domains = named or tuple(domain_names(root) if root is not None else ())
    weights = parse_domain_weights(config.domain_weights or ())
    if domains:
        domain_quotas(config.batch_size, domains, weights)


def check_curriculum(config: Settings, bucket_rows: BucketRows, scores: Scores, get_curriculum_weights: WeightsFunction) -> None:
    """Raises ConfigError for one that there is not, or that fails at any step. A rehearsal before anything is loaded: some of
    these rows may turn out too long for the model.
    """
    set_up_curriculum(config, bucket_rows, scores, get_curriculum_weights)


def set_up_curriculum(
    config: Settings, bucket_rows: BucketRows, scores: Scores, get_curriculum_weights: WeightsFunction
) -> RunCurriculum:
    """The curriculum at its start over these rows. Raises ConfigError for one that cannot work, at any of the run's steps."""
    get_curriculum_weights = told_in_one_line("step", get_curriculum_weights)
    function = weights_function_of(config.curriculum, get_curriculum_weights)
    levels = levels_of(bucket_rows, scores)
    targets = parse_target_pass_rates(config.target_pass_rate or (), tuple(bucket_rows))
    if targets and config.curriculum != "frontier":
        raise ConfigError(f"--target_pass_rate is for --curriculum frontier, which aims at it; this run has {config.curriculum}")
    curriculum = make_curriculum(config.curriculum, CurriculumInputs(bucket_rows, get_curriculum_weights, levels, targets))
    quota_weights = parse_domain_weights(config.domain_weights or ())
    engine = CurriculumEngine(
        curriculum,
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
        engine.decide,
        config.max_steps,
        steps_per_batch=Fraction(config.num_iterations, config.gradient_accumulation_steps),
        batches_per_generation=config.gradient_accumulation_steps,
        quota_weights=quota_weights,
        levels=levels,
    )
    user_code = function or (load_function(config.curriculum, FLAG) if is_user_code(config.curriculum) else None)
    source = source_of(user_code) if user_code is not None else config.curriculum
    decided = _decided(config, engine, function, source)
    return RunCurriculum(engine, planner, source, decided, _evaluate_every(config, curriculum.uses_evaluations))


def _decided(config: Settings, engine: CurriculumEngine, function: WeightsFunction | None, source: str) -> str:
    """Every step is asked now: a schedule that fails at step 700 fails before anything was spent."""
    shares: list[Any] = [config.curriculum, config.domain_weights, config.on_collapse]
    steps = range(config.max_steps)
    if not engine.feedback:
        decisions = [engine.decide(engine.generation_of(step)) for step in steps]
        shares = [[decision.weights, decision.levels] if decision.levels else decision.weights for decision in decisions]
    elif function is not None:
        shares += [domain_weights(function(step, config.max_steps), engine.domains, step) for step in steps]
    else:
        # A user's class learns, so only the code of its file can be held against it.
        shares.append(code_of(file_of(config.curriculum, FLAG)) if is_user_code(config.curriculum) else source)
    return hashlib.sha256(json.dumps(shares, sort_keys=True).encode()).hexdigest()


def _evaluate_every(config: Settings, uses_evaluations: bool) -> int:
    needed = uses_evaluations or config.on_collapse != "warn"
    if config.eval_every_n_steps is None:
        return EVALUATE_EVERY if needed or config.eval_samples else 0
    if config.eval_every_n_steps == 0 and needed:
        what = f"--curriculum {config.curriculum}" if uses_evaluations else f"--on_collapse {config.on_collapse}"
        raise ConfigError(f"{what} acts on held-out success, so --eval_every_n_steps may not be 0")
    return config.eval_every_n_steps
