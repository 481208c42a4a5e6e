"""What an algorithm is, and the arguments that all of them share: settings of a run --> every field of TRL's config by name."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_project.configs.batches import BatchShape, batch_shape
from grpo_project.configs.rules import named_fields
from grpo_project.configs.setting import BUILT_IN, CHECKPOINT
from grpo_project.configs.settings import Settings, flag_of, settings
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError
from grpo_project.prompting import PLAIN_CHAT, ChatOptions
from grpo_project.training.algorithms.fields import read_fields

if TYPE_CHECKING:  # it loads torch, and Unsloth must be the first to
    from grpo_project.models.cpu_planner import Regrouping


@dataclass(frozen=True)
class Algorithm:
    """One of TRL's online trainers. `name`: of --algorithm; `config_class` and `trainer_class`: in `trl`, fetched when the
    backend is loaded, since Unsloth rewrites them.

    `arguments(config)`: the fields that are this algorithm's own, beyond the settings of the same name; --grpo may set them
    otherwise. `without`: settings that
    mean nothing to it. `regrouping(config)`: what the small planner's shortcuts may do to its loss; None for nothing.
    `with_log_probabilities`: whether the trainer's generation answers (token ids, their log-probabilities or None), or ids alone.
    """

    name: str
    config_class: str
    trainer_class: str
    arguments: Callable[[Settings], Mapping[str, Any]]
    regrouping: Callable[[Settings], Regrouping | None]
    without: tuple[str, ...] = ()
    with_log_probabilities: bool = True

    def classes(self) -> tuple[Any, Any]:
        """(config class, trainer class) as they are now."""
        with redirect_stdout(io.StringIO()):  # transformers tells of WANDB_MODE as it is imported, in front of --print_config
            import trl

            return getattr(trl, self.config_class), getattr(trl, self.trainer_class)

    def refuse_settings(self, config: TrainingConfig) -> None:
        """Raises ConfigError for a setting that somebody gave and that this algorithm does not have.

        What a model's card proposes, and what a run began with, nobody gave.
        """
        for name in self.without:
            source = config.sources.get(name, BUILT_IN)
            given = source not in (BUILT_IN, CHECKPOINT) and not source.endswith("planner.json")
            if given:
                raise ConfigError(f"--algorithm {self.name} has no {flag_of(name)}: leave it out")

    def fields(self, config: Settings, config_class: Any) -> dict[str, Any]:
        """The fields of --grpo, as TRL's config takes them. Raises ConfigError for what the suite or TRL does not have there."""
        set_here = _what_is_learned(Settings(), batch_shape(Settings(), "cpu"), PLAIN_CHAT, "").keys()
        owned = set_here | _how_it_runs(Settings(), True, False, "").keys()
        return read_fields(named_fields(config), config_class, owned)

    def check_fields(self, config: Settings) -> None:
        """As `fields`; imports TRL, which must come after the backend, only where there are any."""
        if config.grpo:
            self.fields(config, self.classes()[0])


def trainer_arguments(
    algorithm: Algorithm,
    config_class: Any,
    config: Settings,
    shape: BatchShape,
    device: str,
    backend: str,
    output_dir: str,
    autocast: str = "",
    chat: ChatOptions = PLAIN_CHAT,
) -> dict[str, Any]:
    """Keyword arguments of TRL's config. Nothing is left to a default: TRL's and Unsloth's differ, and both move.

    A setting with the name of a field is that field, unless something else is said below or by the algorithm. `backend`: unsloth
    or transformers. `autocast`: bf16, fp16 or nothing, as models/loading.py decided for the model. `chat`: what stands around a
    prompt, whose template TRL applies.
    """
    fields = {field.name for field in dataclasses.fields(config_class)}
    same_name = {spec.name: getattr(config, spec.name) for spec in settings() if spec.name in fields}
    unsloth = device != "cpu" and backend == "unsloth"
    ours = _what_is_learned(config, shape, chat, autocast) | _how_it_runs(config, device == "cpu", unsloth, output_dir)
    set_here = {name: value for name, value in ours.items() if name in fields}
    open_ones = _OPEN | dict(algorithm.arguments(config)) | algorithm.fields(config, config_class)
    return same_name | set_here | open_ones


_OPEN = {"adam_epsilon": 1e-8, "lr_scheduler_kwargs": None}  # of every algorithm's optimizer; --grpo may set them otherwise


def _what_is_learned(config: Settings, shape: BatchShape, chat: ChatOptions, autocast: str) -> dict[str, Any]:
    """Fields that decide batches, completions, loss, optimizer and precision: a change of these would train something else."""
    return {
        # which prompts, how many completions
        "per_device_train_batch_size": shape.completions_per_micro_batch,
        "per_device_eval_batch_size": shape.completions_per_micro_batch,
        "gradient_accumulation_steps": shape.micro_batches,
        "steps_per_generation": shape.micro_batches,
        "num_generations_eval": None,
        "generation_batch_size": None,
        "num_train_epochs": 1,
        "shuffle_dataset": False,
        "ignore_data_skip": False,
        "remove_unused_columns": False,
        "data_seed": config.seed,
        "full_determinism": False,
        # sampling: only the temperature reaches the training log-probabilities, so all else is neutral unless asked for;
        # penalties are ours (models/penalties.py), since TRL's repetition_penalty counts the prompt
        "min_p": config.min_p or None,
        "repetition_penalty": 1.0,
        "chat_template_kwargs": dict(chat.arguments) or None,
        "generation_kwargs": {"min_new_tokens": config.min_new_tokens} if config.min_new_tokens else None,
        **_vllm(config),
        # the update
        "epsilon_high": _epsilon_high(config),
        "reward_weights": None,
        "sync_ref_model": False,
        "disable_dropout": True,
        "use_liger_kernel": False,
        "label_smoothing_factor": 0.0,
        "neftune_noise_alpha": None,
        "average_tokens_across_devices": True,
        # the optimizer
        "lr_scheduler_type": config.lr_scheduler,
        # mixed precision: with neither, Unsloth computes a float32 model in 16 bit
        "bf16": autocast == "bf16",
        "fp16": autocast == "fp16",
    }


def _epsilon_high(config: Settings) -> float:
    """Cispo's is no distance from 1 but the largest weight itself (ScaleRL, arXiv 2510.13786); --epsilon would shrink all."""
    if config.epsilon_high is not None:
        return config.epsilon_high
    return 5.0 if config.algorithm == "grpo" and config.loss_type == "cispo" else config.epsilon


def _how_it_runs(config: Settings, cpu: bool, unsloth: bool, output_dir: str) -> dict[str, Any]:
    """Fields that decide where and how fast, what is reported and what is kept."""
    return {
        "output_dir": output_dir,
        "run_name": None,
        # of the reference model, where TRL loads one: its defaults are float32, and spread over all GPUs under FSDP
        "model_init_kwargs": None if unsloth else {"dtype": "float32", "device_map": None},
        "optim": "adamw_8bit" if unsloth and config.load_in_4bit else "adamw_torch",
        "cache_implementation": "static" if cpu else None,
        "use_transformers_continuous_batching": False,
        "dataloader_num_workers": 0,
        "dataloader_drop_last": False,
        "dataloader_pin_memory": not cpu,
        "ds3_gather_for_generation": True,
        "pad_to_multiple_of": None,
        "use_cpu": cpu,
        "tf32": None,
        "torch_compile": False,
        "gradient_checkpointing": bool(config.use_gradient_checkpointing) and not cpu,
        "auto_find_batch_size": False,
        "ddp_find_unused_parameters": False,
        # evaluation and reporting are ours
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "log_completions": False,
        "logging_strategy": "steps",
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        # checkpoints
        "resume_from_checkpoint": None,
        "save_strategy": "steps",
        "save_total_limit": None,  # trainer.py removes checkpoints itself, and never the last good one
        "save_only_model": False,
        "load_best_model_at_end": False,
        "restore_callback_states_from_checkpoint": False,
        "push_to_hub": False,
    }


def _vllm(config: Settings) -> dict[str, Any]:
    """Generation by vLLM. TRL weighs each token by how likely the trained model finds what vLLM drew, since the two differ."""
    return {
        "use_vllm": config.use_vllm or config.fast_inference,
        "vllm_mode": "colocate" if config.fast_inference else config.vllm_mode,
        "vllm_model_impl": "vllm",
        "vllm_enable_sleep_mode": False,
        "vllm_structured_outputs_regex": None,
        "vllm_server_base_url": None,
        "vllm_max_model_length": config.max_prompt_length + config.max_completion_length,
        "vllm_tensor_parallel_size": 1,
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_mask" if config.loss_type == "vespo" else "sequence_mask",  # all that vespo takes
        "vllm_importance_sampling_clip_max": 3.0,
        "vllm_importance_sampling_clip_min": None,
    }


# Fields of --grpo whose gradient under Unsloth was compared with TRL's (tests/llm/test_losses.py), or that act outside the loss.
COMPARED_UNDER_UNSLOTH = frozenset(
    "delta use_bias_correction_kl sapo_temperature_pos sapo_temperature_neg vespo_k_pos vespo_lambda_pos vespo_k_neg "
    "vespo_lambda_neg adam_epsilon lr_scheduler_kwargs".split()
)


def refuse_under_unsloth(config: Settings, shape: BatchShape, model_folder: str) -> None:
    """Raises ConfigError for what Unsloth's trainer takes and computes as something else, and for what was not compared."""
    for name in sorted(named_fields(config).keys() - COMPARED_UNDER_UNSLOTH):
        raise ConfigError(
            f"--grpo {name}: Unsloth rewrites the loss, and may leave this field out without a word: leave it out, or take "
            "--backend transformers"
        )
    if config.repair_turns:
        raise ConfigError("--repair_turns was compared with TRL's trainer only, not with Unsloth's: take --backend transformers")
    if config.loss_type == "bnpo" and shape.micro_batches > 1:
        raise ConfigError(
            "--loss_type bnpo: Unsloth averages over the tokens of the whole step, which is dapo, and not over those of each of "
            f"the {shape.micro_batches} micro-batches. Take --loss_type dapo, or --backend transformers"
        )
    if config.beta and (Path(model_folder) / "adapter_config.json").exists():
        raise ConfigError(
            f"--beta {config.beta}: {model_folder} is an adapter, and Unsloth would pull towards the model below it, away from "
            "what the adapter has learned. Take --beta 0, a merged model (script/export_model.py), or --backend transformers"
        )


def refuse_changes(asked: Mapping[str, Any], made: Any, backend: str) -> None:
    """`made`: the config as the trainer keeps it. Raises ConfigError, naming the fields, where it is not as asked for.

    Compared is what decides what is learned. None asks the library to choose.
    """
    free = _how_it_runs(Settings(), True, False, "")

    def plain(value: Any) -> Any:
        value = getattr(value, "value", value)  # enumerations
        return {True: "group", False: "none"}.get(value, value) if isinstance(value, bool) else value

    changed = []
    for name, wanted in asked.items():
        if wanted is None or isinstance(wanted, Mapping) or name in free:
            continue
        found = getattr(made, name, wanted)
        if plain(found) != plain(wanted):
            changed.append(f"{name} from {wanted} to {found}")
    if changed:
        raise ConfigError(
            f"{backend} changed what was asked for: {', '.join(changed)}. Set those as it wants them, or take "
            "--backend transformers"
        )
