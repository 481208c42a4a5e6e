"""Which values the settings of a training run may have, alone and together; every refusal names the flag and the way out."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING

from grpo_project.configs.setting import BUILT_IN, flag_of_field
from grpo_project.errors import ConfigError

if TYPE_CHECKING:
    from grpo_project.configs.training import TrainingConfig

TRACKERS = ("wandb", "tensorboard", "trackio")
CURRICULA = ("step", "uniform", "stage", "adaptive")
AT_LEAST_1 = (
    "batch_size gradient_accumulation_steps max_steps num_iterations logging_steps save_steps save_total_limit max_prompt_length "
    "max_completion_length lora_alpha"
).split()
AT_LEAST_0 = "eval_samples warmup_steps seed resample_zero_variance skip_zero_variance diagnose_steps".split()


def check(config: TrainingConfig) -> None:
    """Raises ConfigError for the first value that is out of range, or contradicts another."""
    for name in AT_LEAST_1:
        _require(config, name, getattr(config, name) >= 1, "must be at least 1")
    for name in AT_LEAST_0:
        _require(config, name, getattr(config, name) >= 0, "must be 0 or more")
    _check_curriculum(config)
    _check_update(config)
    _check_sampling(config)
    _check_clipping(config)
    _require(config, "seed", config.seed < 2**32, "must be below 4294967296")
    _require(config, "lora_rank", config.lora_rank is None or config.lora_rank >= 0, "must be 0 or more")
    _check_model_and_domains(config)
    _check_choices(config)
    _check_trackers(config)
    _require(config, "reward_bands", not config.reward_bands or config.reward == "banded", "needs --reward banded")
    config.reward_config()
    config.health_config()
    _check_lengths(config)
    _check_batches_and_loss(config)
    _check_vllm(config)


def _require(config: TrainingConfig, name: str, holds: bool, rule: str) -> None:
    if not holds:
        source = config.sources.get(name, "")
        where = f" (from {source})" if source not in ("", "command line", BUILT_IN) else ""
        raise ConfigError(f"{_flag(config, name)} {rule}, got {getattr(config, name)}{where}")


def _flag(config: TrainingConfig, name: str) -> str:
    return flag_of_field(config.__dataclass_fields__[name])


def _check_curriculum(config: TrainingConfig) -> None:
    if config.curriculum not in CURRICULA and ".py:" not in config.curriculum:
        raise ConfigError(
            f"--curriculum must be one of {', '.join(CURRICULA)}, or path/to/file.py:function; got {config.curriculum!r}"
        )
    every = config.eval_every_n_steps
    _require(config, "eval_every_n_steps", every is None or every >= 0, "must be 0 or more")
    _require(config, "max_eval_samples", config.max_eval_samples >= 1, "must be at least 1")
    if every == 0 and (config.curriculum == "stage" or config.on_collapse != "warn"):
        what = "--curriculum stage" if config.curriculum == "stage" else f"--on_collapse {config.on_collapse}"
        raise ConfigError(f"{what} acts on held-out success, so --eval_every_n_steps may not be 0")


def _check_update(config: TrainingConfig) -> None:
    for name in ("beta", "weight_decay", "max_grad_norm"):
        value = getattr(config, name)
        _require(config, name, math.isfinite(value) and value >= 0, "must be 0 or more")
    for name in ("adam_beta1", "adam_beta2"):
        _require(config, name, 0 <= getattr(config, name) < 1, "must lie in [0, 1)")
    siblings = "must be at least 2: a completion is compared with its siblings"
    _require(config, "num_generations", config.num_generations >= 2, siblings)
    _require(config, "learning_rate", 0 < config.learning_rate < 1, "must lie above 0 and below 1")


def _check_sampling(config: TrainingConfig) -> None:
    _require(config, "temperature", 0 < config.temperature <= 10, "must lie above 0, and at most at 10")
    divisor = config.repetition_penalty
    _require(config, "repetition_penalty", 0 < divisor <= 10, "must lie above 0, and at most at 10; 1 is off")
    for name in ("presence_penalty", "frequency_penalty"):
        _require(config, name, -10 <= getattr(config, name) <= 10, "must lie in [-10, 10]; 0 is off")
    _require(config, "min_new_tokens", config.min_new_tokens >= 0, "must be 0 or more")


def _check_clipping(config: TrainingConfig) -> None:
    _require(config, "epsilon", 0 < config.epsilon < 1, "must lie between 0 and 1")
    high = config.epsilon_high
    _require(config, "epsilon_high", high is None or 0 < high < 10, "must lie above 0 and below 10")


def _check_model_and_domains(config: TrainingConfig) -> None:
    _require(config, "base_model", bool(config.base_model.strip()), "must name a model")
    domains = config.domains
    _require(config, "domains", domains is None or len(domains) > 0, "must name at least one domain")
    if domains is not None and len(set(domains)) != len(domains):
        raise ConfigError(f"--domains names a domain twice: {' '.join(domains)}")


def _check_choices(config: TrainingConfig) -> None:
    for spec in fields(config):
        choices = spec.metadata.get("choices")
        value = getattr(config, spec.name)
        if choices and value not in choices:
            raise ConfigError(f"{flag_of_field(spec)} must be one of {', '.join(choices)}; got {value!r}")


def _check_trackers(config: TrainingConfig) -> None:
    names = config.report_to
    unknown = set(names) - {*TRACKERS, "none"}
    _require(config, "report_to", bool(names) and not unknown, f"must name some of {', '.join(TRACKERS)}, or be none")
    _require(config, "report_to", names == ("none",) or "none" not in names, "may be none, or others")


def _check_lengths(config: TrainingConfig) -> None:
    _require(config, "max_seq_length", config.max_seq_length is None or config.max_seq_length >= 2, "must be at least 2")
    completion = config.script_config().script_max_completion_length
    _require(config, "min_new_tokens", config.min_new_tokens < completion, "must be below --max_completion_length")


def _check_batches_and_loss(config: TrainingConfig) -> None:
    micro = config.micro_batch_size
    if micro is not None and (micro < 1 or config.batch_size % micro):
        sizes = ", ".join(str(size) for size in range(1, config.batch_size + 1) if config.batch_size % size == 0)
        raise ConfigError(f"--micro_batch_size {micro} does not divide --batch_size {config.batch_size}: use {sizes}")
    if config.loss_type == "dr_grpo" and config.scale_rewards != "none":
        raise ConfigError(
            f"--loss_type dr_grpo is defined without reward scaling, but --scale_rewards is {config.scale_rewards}: "
            "choose --scale_rewards none, or --loss_type grpo"
        )
    if config.save_steps % config.num_iterations:
        raise ConfigError(
            f"--save_steps {config.save_steps} must be a multiple of --num_iterations {config.num_iterations}: a checkpoint "
            "between two uses of the same completions could not be continued exactly"
        )


def _check_vllm(config: TrainingConfig) -> None:
    share = config.vllm_gpu_memory_utilization
    _require(config, "vllm_gpu_memory_utilization", 0 < share < 1, "must lie above 0 and below 1")
    _require(config, "vllm_server_timeout", 0 < config.vllm_server_timeout < math.inf, "must be above 0 seconds")
    for name in ("vllm_server_port", "vllm_group_port"):
        _require(config, name, 0 < getattr(config, name) < 65536, "must be a port, 1 to 65535")
    if not (config.use_vllm or config.fast_inference):
        return
    if config.use_vllm and config.fast_inference:
        raise ConfigError("--use_vllm (TRL's way) and --fast_inference (Unsloth's way) are two ways to vLLM: leave one out")
    flag = "--use_vllm" if config.use_vllm else "--fast_inference"
    neutral = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "min_new_tokens": 0}
    for name, value in neutral.items():
        if getattr(config, name) != value:
            raise ConfigError(f"{_flag(config, name)} is counted over the answer alone, which {flag} cannot do: leave one out")
