"""Settings of a run --> batches of TRL's shape --> every knob of GRPOConfig by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError

# Completions per micro-batch. On a CPU a small one stays in the cache: 192 at once took 2.5 s where 48 at a time took 1.4 s.
CPU_COMPLETIONS = 48
GPU_COMPLETIONS = 8


@dataclass(frozen=True)
class BatchShape:
    """How one optimizer step is cut up. Prompts: `batches` x `batch_size`; `micro_batch_size` of them in the memory of each of
    `world_size` processes at once.

    `micro_batches`, of each process, is TRL's gradient_accumulation_steps and its steps_per_generation: one generation per
    optimizer step, so the completions are on-policy and the old log-probabilities need not be computed.
    """

    batch_size: int
    batches: int
    micro_batch_size: int
    num_generations: int
    world_size: int = 1

    @property
    def micro_batches(self) -> int:
        return self.batches * self.batch_size // (self.micro_batch_size * self.world_size)

    @property
    def prompts_per_step(self) -> int:
        return self.batches * self.batch_size

    @property
    def completions_per_micro_batch(self) -> int:
        return self.micro_batch_size * self.num_generations


def batch_shape(config: TrainingConfig, device: str, world_size: int = 1) -> BatchShape:
    """The shape of a step on `device` (cpu or cuda). A micro-batch size that was not given is what suits the device.

    The batch is shared out among `world_size` processes, so it holds the same with any number of them. Raises ConfigError
    where its prompts do not come out even.
    """
    prompts = config.batch_size * config.gradient_accumulation_steps
    micro = config.micro_batch_size
    if micro is None:
        fitting = max(1, (CPU_COMPLETIONS if device == "cpu" else GPU_COMPLETIONS) // config.num_generations)
        sizes = [size for size in range(1, min(fitting, config.batch_size) + 1) if config.batch_size % size == 0]
        micro = max((size for size in sizes if prompts % (size * world_size) == 0), default=1)
    if prompts % (micro * world_size):
        raise ConfigError(
            f"{prompts} prompts per step (--batch_size x --gradient_accumulation_steps) cannot be shared out evenly among "
            f"{world_size} processes in micro-batches of {micro}: they must be a multiple of {micro * world_size}"
        )
    return BatchShape(
        batch_size=config.batch_size,
        batches=config.gradient_accumulation_steps,
        micro_batch_size=micro,
        num_generations=config.num_generations,
        world_size=world_size,
    )


def grpo_arguments(
    config: TrainingConfig, shape: BatchShape, device: str, backend: str, output_dir: str, autocast: str = ""
) -> dict[str, Any]:
    """Keyword arguments of GRPOConfig. Nothing is left to a default: TRL's and Unsloth's differ, and both move.

    `backend`: unsloth or transformers. `autocast`: bf16, fp16 or nothing, as models/loading.py decided for the model.
    """
    cpu = device == "cpu"
    unsloth = not cpu and backend == "unsloth"
    return {
        "output_dir": output_dir,
        # of the reference model, where TRL loads one: its defaults are float32, and spread over all GPUs under FSDP
        "model_init_kwargs": None if unsloth else {"dtype": "float32", "device_map": None},
        "trust_remote_code": config.trust_remote_code,
        # which prompts, how many completions
        "per_device_train_batch_size": shape.completions_per_micro_batch,
        "gradient_accumulation_steps": shape.micro_batches,
        "steps_per_generation": shape.micro_batches,
        "num_generations": config.num_generations,
        "num_generations_eval": None,
        "generation_batch_size": None,
        "num_iterations": config.num_iterations,
        "max_steps": config.max_steps,
        "num_train_epochs": 1,
        "shuffle_dataset": False,
        "ignore_data_skip": False,
        "remove_unused_columns": False,
        "dataloader_num_workers": 0,
        "dataloader_drop_last": False,
        "dataloader_pin_memory": not cpu,
        "seed": config.seed,
        "data_seed": config.seed,
        "full_determinism": False,
        # sampling: only the temperature reaches the training log-probabilities, so all else stays neutral; penalties that were
        # asked for are ours (penalties.py), since this repetition_penalty counts the prompt
        "max_completion_length": config.max_completion_length,
        "temperature": config.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": None,
        "repetition_penalty": 1.0,
        "generation_kwargs": {"min_new_tokens": config.min_new_tokens} if config.min_new_tokens else None,
        "cache_implementation": "static" if cpu else None,
        **_vllm_arguments(config),
        "use_transformers_continuous_batching": False,
        # the loss
        "beta": config.beta,
        "epsilon": config.epsilon,
        "epsilon_high": config.epsilon if config.epsilon_high is None else config.epsilon_high,
        "delta": None,
        "loss_type": config.loss_type,
        "scale_rewards": config.scale_rewards,
        "importance_sampling_level": "token",
        "mask_truncated_completions": config.mask_truncated_completions,
        "multi_objective_aggregation": "sum_then_normalize",
        "reward_weights": None,
        "top_entropy_quantile": 1.0,
        "entropy_coef": 0.0,
        "use_adaptive_entropy": False,
        "off_policy_mask_threshold": None,
        "use_bias_correction_kl": True,
        "sync_ref_model": False,
        "disable_dropout": True,
        "cast_lm_head_to_fp32": False,
        "use_liger_kernel": False,
        "label_smoothing_factor": 0.0,
        "neftune_noise_alpha": None,
        "average_tokens_across_devices": True,
        "ds3_gather_for_generation": True,
        "pad_to_multiple_of": None,
        # the optimizer
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "lr_scheduler_kwargs": None,
        "warmup_steps": config.warmup_steps,
        "optim": "adamw_8bit" if unsloth and config.load_in_4bit else "adamw_torch",
        "weight_decay": config.weight_decay,
        "adam_beta1": config.adam_beta1,
        "adam_beta2": config.adam_beta2,
        "adam_epsilon": 1e-8,
        "max_grad_norm": config.max_grad_norm,
        # device and precision
        "use_cpu": cpu,
        "bf16": autocast == "bf16",
        "fp16": autocast == "fp16",
        "tf32": None,
        "torch_compile": False,
        "gradient_checkpointing": config.use_gradient_checkpointing and not cpu,
        "auto_find_batch_size": False,
        "ddp_find_unused_parameters": False,
        # evaluation and reporting are ours
        "eval_strategy": "no",
        "per_device_eval_batch_size": shape.completions_per_micro_batch,
        "report_to": "none",
        "disable_tqdm": True,
        "log_completions": False,
        "logging_strategy": "steps",
        "logging_steps": config.logging_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        # checkpoints
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": None,  # saving.py removes checkpoints itself, and never the last good one
        "save_only_model": False,
        "load_best_model_at_end": False,
        "restore_callback_states_from_checkpoint": False,
        "push_to_hub": False,
    }


# What a run is: a library that changed one of these behind our back would train something else.
MEANT = (
    "per_device_train_batch_size gradient_accumulation_steps steps_per_generation num_generations num_iterations max_steps seed "
    "shuffle_dataset max_completion_length temperature repetition_penalty beta epsilon epsilon_high loss_type scale_rewards "
    "mask_truncated_completions learning_rate warmup_steps weight_decay adam_beta1 adam_beta2 max_grad_norm use_vllm"
).split()


def refuse_changes(asked: Mapping[str, Any], made: Any, backend: str) -> None:
    """`made`: the GRPOConfig as the trainer keeps it. Raises ConfigError, naming the knobs, where it is not as asked for."""

    def plain(value: Any) -> Any:
        value = getattr(value, "value", value)  # enumerations
        return {True: "group", False: "none"}.get(value, value) if isinstance(value, bool) else value

    changed = [name for name in MEANT if plain(getattr(made, name, asked[name])) != plain(asked[name])]
    if changed:
        found = ", ".join(f"{name} from {asked[name]} to {getattr(made, name)}" for name in changed)
        raise ConfigError(
            f"{backend} changed what was asked for: {found}. Set those as it wants them, or take --backend transformers"
        )


def _vllm_arguments(config: TrainingConfig) -> dict[str, Any]:
    """Generation by vLLM. TRL weighs each token by how likely the trained model finds what vLLM drew, since the two differ."""
    return {
        "use_vllm": config.use_vllm or config.fast_inference,
        "vllm_mode": "colocate" if config.fast_inference else config.vllm_mode,
        "vllm_model_impl": "vllm",
        "vllm_enable_sleep_mode": False,
        "vllm_structured_outputs_regex": None,
        "vllm_server_base_url": None,
        "vllm_server_host": config.vllm_server_host,
        "vllm_server_port": config.vllm_server_port,
        "vllm_server_timeout": config.vllm_server_timeout,
        "vllm_group_port": config.vllm_group_port,
        "vllm_gpu_memory_utilization": config.vllm_gpu_memory_utilization,
        "vllm_max_model_length": config.max_prompt_length + config.max_completion_length,
        "vllm_tensor_parallel_size": 1,
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "sequence_mask",
        "vllm_importance_sampling_clip_max": 3.0,
        "vllm_importance_sampling_clip_min": None,
    }
