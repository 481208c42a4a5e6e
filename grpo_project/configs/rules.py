"""What settings mean for each other; what each may be by itself stands in its declaration (settings.py)."""

from __future__ import annotations

from grpo_project.common.files import json_object
from grpo_project.common.guide_lines import with_english
from grpo_project.configs.health import HealthConfig
from grpo_project.configs.lengths import TOO_LONG, ScriptConfig
from grpo_project.configs.settings import Settings, default_of, flag_of
from grpo_project.errors import ConfigError

MOST_COMPLETIONS = 2**20  # per step; far beyond what is trained with, and what is counted out for it still fits the memory
TRACKERS = ("wandb", "tensorboard", "trackio")
NOT_IN_A_PROJECT = "/\\#?%:"
TRUNCATIONS = ("top_p", "top_k", "min_p")
COUNTED_OVER_THE_ANSWER = ("repetition_penalty", "presence_penalty", "frequency_penalty", "min_new_tokens")


RATIO_LEVELS = {"grpo": ("token", "sequence"), "sapo": ("token", "sequence"), "luspo": ("sequence",)}  # the others: token


def check_together(config: Settings) -> None:
    """Raises ConfigError for the first setting that contradicts another, or names what there is not."""
    _check_names(config)
    HealthConfig.of(config.alarm_thresholds or ())
    _check_lengths(config)
    _check_batches(config)
    _check_loss(config)
    _check_algorithm(config)
    named_fields(config)
    if config.chat_template_kwargs is not None:
        json_object(config.chat_template_kwargs, "--chat_template_kwargs")
    _check_vllm(config)


def not_neutral(config: Settings) -> list[str]:
    """The flags of what is on and makes sampling off-policy: truncations first, then what is counted over the answer."""
    return [flag_of(name) for name in (*TRUNCATIONS, *COUNTED_OVER_THE_ANSWER) if getattr(config, name) != default_of(name)]


def named_fields(config: Settings) -> dict[str, str]:
    """{field of TRL's config: text} of --grpo. Raises ConfigError for other text, a name twice and a setting's name."""
    found: dict[str, str] = {}
    for part in config.grpo or ():
        name, equals, text = part.partition("=")
        if not (name.isidentifier() and equals):
            raise ConfigError(f"--grpo takes NAME=VALUE, got {part!r}")
        if name in Settings.__dataclass_fields__:
            raise ConfigError(f"--grpo {name}: that is {flag_of(name)}")
        if name in found:
            raise ConfigError(f"--grpo names {name} twice")
        found[name] = text
    return found


def _check_names(config: Settings) -> None:
    domains = config.domains
    if domains is not None and not domains:
        raise ConfigError("--domains must name at least one domain")
    if domains is not None and len(set(domains)) != len(domains):
        raise ConfigError(f"--domains names a domain twice: {' '.join(domains)}")
    named = config.report_to
    if not named or set(named) - {*TRACKERS, "none"}:
        raise ConfigError(f"--report_to must name some of {', '.join(TRACKERS)}, or be none, got {' '.join(named) or 'nothing'}")
    if found := sorted(set(config.wandb_project) & set(NOT_IN_A_PROJECT)):
        raise ConfigError(
            f"--wandb_project {config.wandb_project!r}: W&B takes no {' '.join(found)} in the name of a project (none of "
            f"{' '.join(NOT_IN_A_PROJECT)}). The team it belongs to is named by WANDB_ENTITY"
        )
    if "none" in named and named != ("none",):
        raise ConfigError(f"--report_to may be none, or others, got {' '.join(named)}")


def _check_lengths(config: Settings) -> None:
    names = ("max_prompt_length", "max_completion_length", "max_seq_length", "length_allocation_strategy")
    lengths = ScriptConfig.of({name: getattr(config, name) for name in names})
    warning = lengths.warning()
    if warning is not None:
        raise ConfigError(with_english(warning, TOO_LONG))
    if config.min_new_tokens >= lengths.script_max_completion_length:
        raise ConfigError(f"--min_new_tokens must be below --max_completion_length, got {config.min_new_tokens}")


def _check_batches(config: Settings) -> None:
    completions = config.batch_size * config.gradient_accumulation_steps * config.num_generations
    if completions > MOST_COMPLETIONS:
        raise ConfigError(
            f"--batch_size x --gradient_accumulation_steps x --num_generations must be at most {MOST_COMPLETIONS:,} completions "
            f"per step, got {config.batch_size} x {config.gradient_accumulation_steps} x {config.num_generations}"
        )
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
    level = config.importance_sampling_level
    if config.algorithm == "grpo" and level not in RATIO_LEVELS.get(config.loss_type, ("token",)):
        whole = [name for name, levels in RATIO_LEVELS.items() if "sequence" in levels]
        raise ConfigError(
            f"--loss_type {config.loss_type} needs --importance_sampling_level sequence: it weighs whole completions"
            if level == "token"
            else f"--importance_sampling_level sequence goes with --loss_type {', '.join(whole)} (GSPO: grpo), and "
            f"--loss_type {config.loss_type} sums over tokens, which would weigh a completion by its length"
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
    if (config.use_vllm or config.fast_inference) and config.repair_turns:
        raise ConfigError(f"--repair_turns was not tried with {flag}: leave one out")
    penalties = [given for given in not_neutral(config) if given.removeprefix("--") in COUNTED_OVER_THE_ANSWER]
    if (config.use_vllm or config.fast_inference) and penalties:
        raise ConfigError(f"{penalties[0]} is counted over the answer alone, which {flag} cannot do: leave one out")
