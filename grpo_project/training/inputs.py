"""What a run is made of before its model is, all of it checked before anything large is loaded or written.

What can go wrong cheaply goes wrong first: settings, rewards, quotas, rows and schedule come before torch is imported.
The curriculum is tried out there, and made again of the rows that the tokenizer leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from grpo_project.common import ranks
from grpo_project.configs.batches import batch_shape, possible_micro_batches
from grpo_project.configs.model_card import read_model_card
from grpo_project.configs.training import TrainingConfig
from grpo_project.curriculum.setup import RunCurriculum, check_curriculum, check_quotas, set_up_curriculum
from grpo_project.data.asked_words import table_in_asked_words
from grpo_project.data.difficulty import fill_buckets
from grpo_project.data.held_out import EvaluationSet, held_out_set, steering_set
from grpo_project.data.repeats import repeats_remark
from grpo_project.data.training_data import TrainingData, measure, read_training_rows
from grpo_project.models.forecast import MEMORY_ESTIMATE, Forecast, announced_forecast
from grpo_project.models.loading import LoadPlan, load_tokenizer, plan_load
from grpo_project.prompting import ChatOptions, fit_chat
from grpo_project.rewards.registry import NamedReward, parse_rewards, reward_source
from grpo_project.runs.identity import RunIdentity, hash_of, of_the_machine
from grpo_project.runs.states import require_trainer_state
from grpo_project.training.algorithms import ALGORITHMS, Algorithm
from grpo_project.training.algorithms.base import refuse_under_unsloth
from grpo_project.training.console import say
from grpo_project.training.launch import Start

Weights = Callable[[int, int], Mapping[str, Any]]  # the schedule that a user edits: (step, max_steps) -> weights


@dataclass(frozen=True)
class RunInputs:
    """`config`: the settings, with what was left open chosen by `forecast`, of the GPU's memory (None where unknown). `plan`: how
    the model will be loaded, with this `tokenizer` and its `chat`. `held_out` measures the run before and after training,
    `steering` during it. `identity`: what a continued run must share.
    """

    config: TrainingConfig
    forecast: Forecast | None
    algorithm: Algorithm
    rewards: tuple[NamedReward, ...]
    plan: LoadPlan
    tokenizer: Any
    chat: ChatOptions
    data: TrainingData
    curriculum: RunCurriculum
    held_out: EvaluationSet | None
    steering: EvaluationSet | None
    identity: RunIdentity


def gather_inputs(config: TrainingConfig, get_curriculum_weights: Weights, start: Start) -> RunInputs:
    """Reads, measures, plans and says what memory it will take; writes nothing.

    Raises a GrpoProjectError for what the user can put right.
    """
    algorithm = ALGORITHMS[config.algorithm]
    algorithm.refuse_settings(config)
    rewards = parse_rewards(config.reward, config.reward_bands, config.preference_weight)
    asked = ChatOptions.of(config.as_dict())
    check_quotas(config)
    rows = read_training_rows(config)
    held_out = held_out_set(config, rows)
    for remark in (repeats_remark(rows.rows, config.data_root), *_remarks_on(held_out)):
        if remark is not None:
            say(f"warning: {remark}")
    buckets = fill_buckets(rows.rows, rows.domains, config.difficulty_bands)
    check_curriculum(config, buckets.rows, buckets.scores, get_curriculum_weights)
    plan = plan_load(
        start.model,
        training=True,
        load_in_4bit=config.load_in_4bit,
        lora_rank=config.lora_rank,
        lora_alpha=config.lora_alpha,
        backend=config.backend,
    )
    if plan.rank:  # what is recorded is what is trained
        config = replace(config, lora_rank=plan.rank, lora_alpha=plan.alpha)
    new = start.checkpoint is None  # a continued run keeps its choice: another one could draw other completions
    forecast = announced_forecast(config, start.model, plan, len(rows.domains), say, choose=new)
    if forecast is not None and forecast.chosen:
        origins = dict.fromkeys(forecast.chosen, MEMORY_ESTIMATE)
        config = replace(config, **forecast.chosen, sources={**config.sources, **origins})
    if plan.device == "cpu" and not plan.small and config.micro_batch_size is None:
        # Scores over a language model's vocabulary fill the memory: 32 completions of a 135 M model at once took 17 GB.
        config = replace(config, micro_batch_size=possible_micro_batches(config, "cuda", ranks.world_size())[0])
    if plan.name == "unsloth":
        refuse_under_unsloth(config, batch_shape(config, plan.device, ranks.world_size()), start.model)
    tokenizer = load_tokenizer(config.base_model, plan.name, config.trust_remote_code)
    algorithm.check_fields(config)
    chat = fit_chat(tokenizer, asked)
    style = read_model_card(start.model).get("prompt_style", "full")
    asked_rows = table_in_asked_words(rows, style)
    data = measure(asked_rows, tokenizer, style, config.max_prompt_length, chat, config.difficulty_bands)
    curriculum = set_up_curriculum(config, data.drawn, data.buckets.scores, get_curriculum_weights)
    steering = steering_set(config, rows, held_out, curriculum.evaluate_every)
    held_out, steering = (problems and problems.asked(style) for problems in (held_out, steering))
    fingerprints = {
        "data": rows.fingerprint,
        "prompts": data.prompt_fingerprint,
        "schedule": curriculum.fingerprint,
        "schedule_source": hash_of(curriculum.source),
        "reward": hash_of(reward_source(rewards)),
        "held_out": held_out.fingerprint if held_out is not None else None,
        "steering": steering.fingerprint if steering is not None else None,
        **of_the_machine(start.model, ranks.world_size()),
    }
    identity = RunIdentity(config.as_dict(), fingerprints, curriculum.source)
    if start.checkpoint is not None:
        identity.refuse_changes(start.checkpoint)
        require_trainer_state(start.checkpoint)
    return RunInputs(config, forecast, algorithm, rewards, plan, tokenizer, chat, data, curriculum, held_out, steering, identity)


def _remarks_on(held_out: EvaluationSet | None) -> list[str | None]:
    return [] if held_out is None else [repeats_remark(held_out.table.rows, held_out.name), held_out.remark]
