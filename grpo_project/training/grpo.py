"""Our subclass of TRL's GRPOTrainer, and every knob of GRPOConfig by name.

`make_trainer_class` is a function because the base class must be fetched after the backend is loaded: Unsloth rewrites it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_project.callbacks.timing import StepTimer
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError
from grpo_project.training.resampling import Resampler
from grpo_project.training.saving import TransactionalSaving

if TYPE_CHECKING:  # it loads transformers, and Unsloth must be the first to
    from grpo_project.callbacks.diagnosis import Diagnosis

# Completions per micro-batch. On a CPU a small one stays in the cache: 192 at once took 2.5 s where 48 at a time took 1.4 s.
CPU_COMPLETIONS = 48
GPU_COMPLETIONS = 8

# TRL's method -> the section its time is counted to. Wrapped where the base class has it; Unsloth keeps these names.
TIMED_METHODS = {
    "_generate_single_turn": "generation",
    "_calculate_rewards": "reward",
    "_get_per_token_logps_and_entropies": "log_probs",
    "_save_checkpoint": "checkpoint",
}


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

    `backend`: unsloth or transformers. `autocast`: bf16, fp16 or nothing, as training/backend.py decided for the model.
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


def make_trainer_class(base: type) -> type:
    """A subclass of `base` (trl.GRPOTrainer, as it stands after the backend was loaded).

    Takes more keyword arguments: `sampler`, which yields row indices in training order, and `timer`; `resampler` for
    --resample_zero_variance; `penalties`, which makes a logits processor for each generation; `write_state(folder)`, which adds
    a file to every checkpoint while it is being written; `diagnosis`, which sees what is trained on. On the plain transformers
    backend (`lean=True`) it also decodes with our own loop on a CPU and leaves out gradient work that is zero.
    """

    class PlanningTrainer(TransactionalSaving, base):  # type: ignore[misc,valid-type]
        _buffered_inputs: Any

        def __init__(
            self,
            *args: Any,
            sampler: Any,
            timer: StepTimer,
            lean: bool,
            resampler: Resampler | None = None,
            write_state: Callable[[Path], None] | None = None,
            penalties: Callable[[], Any] | None = None,
            diagnosis: Diagnosis | None = None,
            **kwargs: Any,
        ) -> None:
            self._row_sampler = sampler
            self._resampler = resampler
            self._write_state = write_state
            self._penalties = penalties
            self._diagnosis = diagnosis
            self._timer = timer
            self._lean = lean
            super().__init__(*args, **kwargs)
            self.accelerator.backward = timer.timed("backward", self.accelerator.backward)

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return self._row_sampler

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Our own results.md and planner.json stand in for TRL's card, which would be rewritten at every checkpoint."""

        def _save_rng_state(self, output_dir: str) -> None:
            """The curriculum's state goes where the random state goes: into the folder being written, before it is complete."""
            super()._save_rng_state(output_dir)
            if self._write_state is not None and self.args.should_save:
                self._write_state(Path(output_dir))

        # -- generation ---------------------------------------------------------------------------------------------

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            outputs: dict[str, Any] = super()._generate_and_score_completions(inputs)
            if not self.model.training:
                return outputs
            if self._resampler is not None:
                outputs = self._resampled(inputs, outputs)
            if self._diagnosis is not None:
                with self._timer.section("logging"):
                    self._diagnosis.generated([int(item["row_index"]) for item in inputs], outputs)
            return outputs

        def _resampled(self, inputs: list[dict[str, Any]], outputs: dict[str, Any]) -> dict[str, Any]:
            assert self._resampler is not None  # asked by the caller
            outputs, share = self._resampler.resample(
                self.state.global_step // self.num_iterations,
                inputs,
                outputs,
                super()._generate_and_score_completions,
                lambda index: self.train_dataset[index],
                self._tokenizer.pad_token_id,
            )
            self._metrics["train"]["resampled_groups"].append(share)
            return outputs

        def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
            neutral = self._penalties is None and not self.args.generation_kwargs  # our loop knows the temperature only
            if neutral and self._lean and self.accelerator.device.type == "cpu" and self.accelerator.num_processes == 1:
                decoded = self._decode_in_a_loop(prompt_ids)
                if decoded is not None:
                    return decoded, None
            if self._penalties is not None:
                from grpo_project.training.penalties import penalised

                with penalised(self.accelerator.unwrap_model(self.model_wrapped), self._penalties):
                    return super()._generate_single_turn(prompt_ids, *args, **kwargs)
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)

        def _decode_in_a_loop(self, prompt_ids: list[list[int]]) -> list[list[int]] | None:
            """Completions up to and with the stop token, in the order of `prompt_ids`; None where the loop does not fit.

            Draws from torch's global CPU stream, which checkpoints keep.
            """
            import torch

            from grpo_project.training import generation

            group = self.num_generations
            if len(self.eos_token_ids) != 1 or not generation._plain_attention(self.model):
                return None
            firsts = prompt_ids[::group]
            if [ids for ids in firsts for _ in range(group)] != list(prompt_ids):
                return None
            pad, (stop,) = self._tokenizer.pad_token_id, self.eos_token_ids
            ids, mask = generation._left_padded(firsts, pad, self.accelerator.device)
            with generation._evaluating(self.model), torch.inference_mode():
                rows = generation._decode_in_a_loop(
                    self.model,
                    ids,
                    mask,
                    self.max_completion_length,
                    pad,
                    [stop],
                    group,
                    self.temperature,
                    torch.default_generator,
                )
            return [row + [stop] if len(row) < self.max_completion_length else row for row in rows]

        # -- gradient work ------------------------------------------------------------------------------------------

        def _prepare_inputs(self, generation_batch: Any) -> Any:
            before = self._buffered_inputs
            inputs = super()._prepare_inputs(generation_batch)
            if not self._lean or not self.model.training or self._buffered_inputs is before:
                return inputs
            if self.accelerator.num_processes > 1:  # TRL gathers a figure per row: every process needs as many
                return inputs
            self._buffered_inputs = regroup(self._buffered_inputs, self.beta, self.loss_type)
            return self._buffered_inputs[self._step % self.args.steps_per_generation]

        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            """TRL's (model, input_ids, attention_mask, logits_to_keep, ...); with entropies only on the way to the loss."""
            found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
            if self._diagnosis is not None and kwargs.get("compute_entropy") and len(args) >= 4 and self.model.training:
                _, ids, mask, keep = args[:4]
                if found[1] is not None:
                    self._diagnosis.scored(ids, mask, keep, found[1].detach())
            return found

        def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
            norm = super()._get_grad_norm(*args, **kwargs)
            if self._diagnosis is not None:
                self._diagnosis.gradient(norm)
            return norm

        def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> Any:
            if "loss_scale" not in inputs:
                return super()._compute_loss(model, inputs)
            inputs = dict(inputs)
            scale = inputs.pop("loss_scale")
            return super()._compute_loss(model, trim_padding(inputs)) * scale

    for name, section in TIMED_METHODS.items():
        if hasattr(PlanningTrainer, name):
            setattr(PlanningTrainer, name, _timed(getattr(PlanningTrainer, name), section))
    return PlanningTrainer


def _timed(method: Any, section: str) -> Any:
    import functools

    @functools.wraps(method)
    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._timer.section(section):
            return method(self, *args, **kwargs)

    return timed


# TRL averages the loss of a micro-batch over its completions for these, and over all tokens of the step for dapo.
PER_COMPLETION_LOSSES = ("grpo", "dr_grpo")


def regroup(micro_batches: list[dict[str, Any]], beta: float, loss_type: str) -> list[dict[str, Any]]:
    """The same gradient from less work: completions without any are left out, the others sorted by length.

    Without a KL term a completion whose advantage is 0 (its whole group earned the same) has no gradient; with one, all stay.
    Sorting lets short completions stand together, without padding to the longest. `loss_scale` in each micro-batch makes up
    for its new size, so that the sum over the step is what it was. bnpo averages over a micro-batch's own tokens: left alone.
    Shapes: tensors of (rows, ...) are regrouped, scalars are kept. The number of micro-batches stays; each has a row or more.
    """
    import torch

    if loss_type not in (*PER_COMPLETION_LOSSES, "dapo"):
        return micro_batches
    count = micro_batches[0]["completion_ids"].shape[0]
    total = count * len(micro_batches)
    by_row = [
        name for name, value in micro_batches[0].items() if torch.is_tensor(value) and value.ndim and value.shape[0] == count
    ]
    joined = {name: torch.cat([batch[name] for batch in micro_batches]) for name in by_row}
    lengths = joined["completion_mask"].sum(1)
    kept = torch.arange(total, device=lengths.device)
    if beta == 0.0:
        kept = kept[joined["advantages"] != 0]
    kept = kept[torch.argsort(lengths[kept], stable=True)]
    missing = len(micro_batches) - len(kept)
    if missing > 0:
        # Every backward pass needs a row. One without a gradient changes nothing; no row may stand in two places.
        idle = torch.argsort(lengths, stable=True)
        idle = idle[~torch.isin(idle, kept)]
        kept = torch.cat([idle[:missing], kept])
    # Even shares by tokens would be fairer still; by rows is simple, and the long ones end up in one micro-batch either way.
    shares = torch.tensor_split(kept, len(micro_batches))
    regrouped = []
    for batch, rows in zip(micro_batches, shares, strict=True):
        part = {**batch, **{name: joined[name][rows] for name in by_row}}
        part["loss_scale"] = len(rows) / count if loss_type in PER_COMPLETION_LOSSES else 1.0
        regrouped.append(part)
    return regrouped


def trim_padding(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Without the columns that are padding in every row: prompts lose them on the left, completions on the right.

    Shapes: (rows, tokens); whatever else has the completion's width (old and reference log-probabilities) is cut with it.
    """
    trimmed = dict(inputs)
    prompt = int(inputs["prompt_mask"].sum(1).max())
    width = inputs["completion_mask"].shape[1]
    completion = max(1, int(inputs["completion_mask"].sum(1).max()))
    for name in ("prompt_ids", "prompt_mask"):
        trimmed[name] = inputs[name][:, inputs[name].shape[1] - prompt :]
    for name, value in inputs.items():
        if name not in ("prompt_ids", "prompt_mask") and getattr(value, "ndim", 0) == 2 and value.shape[1] == width:
            trimmed[name] = value[:, :completion]
    return trimmed
