"""What settings mean for each other; what each may be by itself stands in its declaration (settings.py)."""

from __future__ import annotations

from grpo_project.configs.health import HealthConfig
from grpo_project.configs.lengths import ScriptConfig
from grpo_project.configs.settings import Settings, default_of, flag_of
from grpo_project.errors import ConfigError

TRACKERS = ("wandb", "tensorboard", "trackio")
COUNTED_OVER_THE_ANSWER = ("repetition_penalty", "presence_penalty", "frequency_penalty", "min_new_tokens")


def check_together(config: Settings) -> None:
    """Raises ConfigError for the first setting that contradicts another, or names what there is not."""
    _check_names(config)
    HealthConfig.of(config.alarm_thresholds or ())
    _check_lengths(config)
    _check_batches(config)
    _check_loss(config)
    _check_algorithm(config)
    _check_vllm(config)


def not_neutral(config: Settings) -> list[str]:
    """The flags of sampling penalties that are on: they make sampling off-policy."""
    return [flag_of(name) for name in COUNTED_OVER_THE_ANSWER if getattr(config, name) != default_of(name)]


def _check_names(config: Settings) -> None:
    domains = config.domains
    if domains is not None and not domains:
        raise ConfigError("--domains must name at least one domain")
    if domains is not None and len(set(domains)) != len(domains):
        raise ConfigError(f"--domains names a domain twice: {' '.join(domains)}")
    named = config.report_to
    if not named or set(named) - {*TRACKERS, "none"}:
        raise ConfigError(f"--report_to must name some of {', '.join(TRACKERS)}, or be none, got {' '.join(named) or 'nothing'}")
    if "none" in named and named != ("none",):
        raise ConfigError(f"--report_to may be none, or others, got {' '.join(named)}")


def _check_lengths(config: Settings) -> None:
    names = ("max_prompt_length", "max_completion_length", "max_seq_length", "length_allocation_strategy")
    lengths = ScriptConfig.of({name: getattr(config, name) for name in names})
    if config.min_new_tokens >= lengths.script_max_completion_length:
        raise ConfigError(f"--min_new_tokens must be below --max_completion_length, got {config.min_new_tokens}")


def _check_batches(config: Settings) -> None:
    micro = config.micro_batch_size
    if micro is not None and config.batch_size % micro:
        sizes = ", ".join(str(size) for size in range(1, config.batch_size + 1) if config.batch_size % size == 0)
        raise ConfigError(f"--micro_batch_size {micro} does not divide --batch_size {config.batch_size}: use {sizes}")
    if config.save_steps % config.num_iterations:
        raise ConfigError(
            f"--save_steps {config.save_steps} must be a multiple of --num_iterations {config.num_iterations}: a checkpoint "
            "between two uses of the same completions could not be continued exactly"
        )


def _check_loss(config: Settings) -> None:
    if config.algorithm == "grpo" and config.loss_type == "dr_grpo" and config.scale_rewards != "none":
        raise ConfigError(
            f"--loss_type dr_grpo is defined without reward scaling, but --scale_rewards is {config.scale_rewards}: "
            "choose --scale_rewards none, or --loss_type grpo"
        )


def _check_algorithm(config: Settings) -> None:
    if config.algorithm == "rloo" and config.beta > 0 and config.resample_zero_variance:
        raise ConfigError(
            "--resample_zero_variance looks for groups without an advantage, and --algorithm rloo puts the KL term into it: "
            "set --beta 0, or use --skip_zero_variance"
        )


def _check_vllm(config: Settings) -> None:
    if config.use_vllm and config.fast_inference:
        raise ConfigError("--use_vllm (TRL's way) and --fast_inference (Unsloth's way) are two ways to vLLM: leave one out")
    flag = "--use_vllm" if config.use_vllm else "--fast_inference"
    if (config.use_vllm or config.fast_inference) and config.sampling_batch_size is not None:
        raise ConfigError(f"--sampling_batch_size: {flag} divides the sampling by itself: leave one out")
    penalties = not_neutral(config)
    if (config.use_vllm or config.fast_inference) and penalties:
        raise ConfigError(f"{penalties[0]} is counted over the answer alone, which {flag} cannot do: leave one out")
