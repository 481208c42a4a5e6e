"""All that we override in TRL's and transformers' trainers, with a check at start-up that what it relies on is there.

`planning_trainer` is a function because the base class must be fetched after the backend is loaded: Unsloth rewrites it.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_project.callbacks.timing import StepTimer
from grpo_project.common import ranks
from grpo_project.configs.batches import BatchShape
from grpo_project.configs.training import TrainingConfig
from grpo_project.data.training_data import TrainingData
from grpo_project.errors import BackendMissing, ConfigError, GrpoProjectError, first_line
from grpo_project.models.forecast import out_of_memory
from grpo_project.models.loading import Policy
from grpo_project.prompting import to_messages
from grpo_project.runs import checkpoint
from grpo_project.runs.observer import Observer
from grpo_project.runs.run_folder import RunFolder
from grpo_project.runs.states import RunStates
from grpo_project.training.algorithms import Algorithm, trainer_arguments
from grpo_project.training.algorithms.base import refuse_changes
from grpo_project.training.entropy import EntropySample
from grpo_project.training.resampling import Resampler

if TYPE_CHECKING:  # it loads torch, and Unsloth must be the first to
    from grpo_project.models.cpu_planner import Regrouping
    from grpo_project.training.repair import RepairTurns

logger = logging.getLogger(__name__)

# What we override or call of transformers.Trainer, and of TRL's online trainers. A release that renames one of these must not
# pass in silence: what hung on it would simply stop happening.
OF_TRANSFORMERS = (
    "_get_output_dir _save_checkpoint _load_from_checkpoint _load_optimizer_and_scheduler _load_scaler _load_rng_state"
).split()
OF_TRL = (
    "_get_train_sampler create_model_card _generate_and_score_completions _generate_single_turn _prepare_inputs "
    "_get_per_token_logps_and_entropies _calculate_rewards _get_grad_norm _compute_loss training_step"
).split()
# Method -> the section of a step's time that it is counted to.
TIMED = {
    "_generate_single_turn": "generation",
    "_calculate_rewards": "reward",
    "_get_per_token_logps_and_entropies": "log_probs",
    "_save_checkpoint": "checkpoint",
}


def require_methods(base: type, names: Sequence[str]) -> None:
    """Raises BackendMissing, naming them, for methods that `base` does not have."""
    missing = [name for name in names if not callable(getattr(base, name, None))]
    if missing:
        raise BackendMissing(
            f"{base.__module__}.{base.__name__} has no {', '.join(missing)}, which this suite relies on: "
            "install the versions that requirements.txt pins"
        )


class TransactionalSaving:
    """Mixed in before a Hugging Face Trainer: everything it writes goes aside, and becomes a checkpoint when it is whole.

    `states` go into every checkpoint; `checkpoint_limit`: good checkpoints kept. A save that fails (a full disk) leaves no
    checkpoint and a warning, and training goes on: what it has in memory is worth more than stopping.
    """

    states = RunStates({})
    checkpoint_limit = 3
    _saving_aside: Path | None = None

    def _get_output_dir(self, trial: Any) -> str:
        if self._saving_aside is not None:
            return str(self._saving_aside.parent)
        return str(super()._get_output_dir(trial))  # type: ignore[misc]

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        _load_to_numbered_cpus()
        trainer: Any = self  # its state is the checkpoint's by now, with the --save_steps and --logging_steps of then
        trainer.state.save_steps, trainer.state.logging_steps = trainer.args.save_steps, trainer.args.logging_steps
        with _reading(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with _reading(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]

    def _load_scaler(self, checkpoint: Any) -> None:
        with _reading(checkpoint):
            super()._load_scaler(checkpoint)  # type: ignore[misc]

    def _load_rng_state(self, checkpoint: Any) -> None:
        with _reading(checkpoint):
            super()._load_rng_state(checkpoint)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        trainer: Any = self
        run, step, main = Path(trainer.args.output_dir), trainer.state.global_step, trainer.accelerator.is_main_process
        failure = attempt(lambda: checkpoint.begin(run, step) if main else None)
        if not ranks.any_rank(failure is not None):
            self._saving_aside = checkpoint.aside_folder(run, step)
            failure = attempt(lambda: super(TransactionalSaving, self)._save_checkpoint(model, trial))  # type: ignore[misc]
            aside, self._saving_aside = self._saving_aside, None
            if not ranks.any_rank(failure is not None) and main:
                failure = attempt(lambda: self._finish(aside, run, step))
        if ranks.any_rank(failure is not None) and main:
            checkpoint.abandon(run, step)
            last = checkpoint.newest_good(run)
            logger.warning(
                "the checkpoint of step %d could not be written (%s); training goes on, and %s",
                step,
                failure or "another process failed",
                f"{last.name} stays the one to go on from" if last else "there is none to go on from yet",
            )

    def _finish(self, aside: Path, run: Path, step: int) -> None:
        self.states.save(aside)
        checkpoint.commit(run, step)
        checkpoint.rotate(run, self.checkpoint_limit)


@contextmanager
def _reading(checkpoint: Any) -> Iterator[None]:
    """Raises ConfigError for a file that its manifest calls whole and a library cannot use; memory that ran out is not that."""
    try:
        yield
    except Exception as error:  # the boundary: torch, pickle, safetensors and peft have no error in common
        if out_of_memory(error) or isinstance(error, GrpoProjectError):
            raise
        what = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(f"{checkpoint} cannot be loaded ({what}): go on from another checkpoint") from error


def planning_trainer(base: type) -> type:
    """A subclass of `base`, TRL's trainer as it stands after the backend was loaded.

    Takes more keyword arguments: `row_sampler` yields row indices in training order; `observers` hear of completions, entropies
    and gradients; `timer` gets the seconds; `states` and `checkpoint_limit` as TransactionalSaving; `resampler` for
    --resample_zero_variance; `penalties` makes a logits processor for each generation. `shortcuts`: whether the small planner's
    own ways on a CPU may be taken (models/cpu_planner.py); `regrouping` and `with_log_probabilities` as in Algorithm;
    `entropy_sample`: the answers to measure where the loss computes no entropies. `sampled_at_once`: completions, whole
    groups. `repair`: the rollouts of --repair_turns.

    Raises BackendMissing where `base` lacks a method that is overridden here.
    """
    require_methods(base, (*OF_TRANSFORMERS, *OF_TRL))
    import torch

    class PlanningTrainer(TransactionalSaving, base):  # type: ignore[misc,valid-type]
        _buffered_inputs: Any

        def __init__(
            self,
            *args: Any,
            row_sampler: Any,
            observers: Observer,
            timer: StepTimer,
            states: RunStates,
            checkpoint_limit: int = 3,
            resampler: Resampler | None = None,
            penalties: Callable[[], Any] | None = None,
            shortcuts: bool = False,
            regrouping: Regrouping | None = None,
            with_log_probabilities: bool = True,
            entropy_sample: EntropySample | None = None,
            sampled_at_once: int | None = None,
            repair: RepairTurns | None = None,
            **kwargs: Any,
        ) -> None:
            self._row_sampler = row_sampler
            self._observers = observers
            self._timer = timer
            self.states = states
            self.checkpoint_limit = checkpoint_limit
            self._resampler = resampler
            self._penalties = penalties
            self._shortcuts = shortcuts
            self._regrouping = regrouping
            self._with_log_probabilities = with_log_probabilities
            self._entropy_sample = entropy_sample or EntropySample(0)
            self._sampled_at_once = sampled_at_once
            self._unmeasured: Mapping[str, Any] | None = None  # a micro-batch whose entropies nobody was told
            self._heard: Any = None  # of the micro-batch whose loss is computed: 0 on what was heard, 1 on what was written
            super().__init__(*args, **kwargs)
            if repair is not None:  # not by the constructor, which calls every rollout function an experiment
                self.rollout_func = repair
            self._group = self.num_generations
            self.accelerator.backward = timer.timed("backward", self.accelerator.backward)

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return self._row_sampler

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Our own results.md and planner.json stand in for TRL's card, which would be rewritten at every checkpoint."""

        @property
        def _alone_on_a_cpu(self) -> bool:
            return self._shortcuts and self.accelerator.device.type == "cpu" and self.accelerator.num_processes == 1

        # -- generation ---------------------------------------------------------------------------------------------

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            outputs = self._scored(inputs)
            if not self.model.training:
                return outputs
            if self._resampler is not None:
                outputs = self._resampled(inputs, outputs)
            with self._timer.section("logging"):
                self._observers.completions_generated([int(item["row_index"]) for item in inputs], outputs)
            return outputs

        def _scored(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            self.rows_in_generation = [int(item["row_index"]) for item in inputs]
            found: dict[str, Any] = super()._generate_and_score_completions(inputs)
            return found

        def answers(self, prompt_ids: list[list[int]], group: int) -> list[list[int]]:
            """One completion to each prompt, every one of which stands `group` times in a row: what a rollout is made of."""
            self._group = group
            try:
                return list(self._generate_single_turn(prompt_ids, None, {}, group)[0])
            finally:
                self._group = self.num_generations

        def _resampled(self, inputs: list[dict[str, Any]], outputs: dict[str, Any]) -> dict[str, Any]:
            assert self._resampler is not None  # asked by the caller
            outputs, share = self._resampler.resample(
                self.state.global_step // self.num_iterations,
                inputs,
                outputs,
                self._scored,
                lambda index: self.train_dataset[index],
                self._tokenizer.pad_token_id,
            )
            self._metrics["train"]["resampled_groups"].append(share)
            return outputs

        def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
            size = self._sampled_at_once or len(prompt_ids)
            if self.use_vllm or len(prompt_ids) <= size:
                return self._sample(prompt_ids, *args, **kwargs)
            parts = [self._sample(prompt_ids[at : at + size], *args, **kwargs) for at in range(0, len(prompt_ids), size)]
            if not self._with_log_probabilities:
                return list(itertools.chain(*parts))
            return list(itertools.chain(*(ids for ids, _ in parts))), None  # only vLLM brings log-probabilities

        def _sample(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
            truncated = (self.args.top_p, self.args.top_k, self.args.min_p) != (1.0, 0, None)
            # Our loop knows the temperature only.
            neutral = self._penalties is None and not self.args.generation_kwargs and not truncated
            if neutral and self._alone_on_a_cpu and not self.use_vllm and len(self.eos_token_ids) == 1:
                from grpo_project.models.cpu_planner import sample_groups

                sampled = sample_groups(
                    self.model,
                    prompt_ids,
                    self._group,
                    self._tokenizer.pad_token_id,
                    self.eos_token_ids[0],
                    self.max_completion_length,
                    self.temperature,
                )
                if sampled is not None:
                    return (sampled, None) if self._with_log_probabilities else sampled
            if self._penalties is not None:
                from grpo_project.models.penalties import penalised

                with penalised(self.accelerator.unwrap_model(self.model_wrapped), self._penalties):
                    return super()._generate_single_turn(prompt_ids, *args, **kwargs)
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)

        # -- gradients ----------------------------------------------------------------------------------------------

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            """TRL's loss tells the entropies of its answers. Unsloth's computes none, so a sample of them is measured here,
            after the backward pass: before it the activations of the loss are still in memory."""
            loss = super().training_step(*args, **kwargs)
            unmeasured, self._unmeasured = self._unmeasured, None
            if unmeasured is not None:
                with self._timer.section("entropy"):
                    self._measure_entropies(unmeasured)
            if self.beta == 0.0:
                self._metrics["train"].pop("kl", None)  # Unsloth's, which is 0 for want of a reference
            return loss

        def _measure_entropies(self, inputs: Mapping[str, Any]) -> None:
            from grpo_project.training.entropy import answer_entropies

            answers = inputs["completion_mask"]
            rows = self._entropy_sample.rows(self.state.global_step, len(answers))
            if not rows:
                return
            ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)[rows]
            mask = torch.cat([inputs["prompt_mask"], answers], dim=1)[rows]
            kept = answers.shape[1]
            vocabulary = self.model.get_output_embeddings().weight.shape[0]
            entropies = answer_entropies(self.model_wrapped, ids, mask, kept, self.temperature, vocabulary)
            totals = self.accelerator.reduce(torch.stack([entropies.sum(), answers[rows].float().sum()]), reduction="sum")
            self._metrics["train"]["entropy"].append((totals[0] / totals[1].clamp(min=1.0)).item())
            self._observers.entropies_computed(ids, mask, kept, entropies)

        def _prepare_inputs(self, generation_batch: Any) -> Any:
            before = self._buffered_inputs
            inputs = super()._prepare_inputs(generation_batch)
            self._unmeasured = inputs if self.model.training else None
            if self._regrouping is None or not self._alone_on_a_cpu or not self.model.training or self._buffered_inputs is before:
                return inputs
            from grpo_project.models.cpu_planner import regroup

            self._buffered_inputs = regroup(self._buffered_inputs, self._regrouping)
            return self._buffered_inputs[self._step % self.args.steps_per_generation]

        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            """TRL's (model, input_ids, attention_mask, logits_to_keep, ...); with entropies only on the way to the loss."""
            if self._alone_on_a_cpu:
                from grpo_project.models.shared_prompts import forward_with_shared_prompts, shares_prompts

                if shares_prompts(args[0]):
                    args = (functools.partial(forward_with_shared_prompts, args[0]), *args[1:])
            found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
            if kwargs.get("compute_entropy") and len(args) >= 4 and self.model.training and found[1] is not None:
                _, ids, mask, kept = args[:4]
                if self._heard is not None:
                    mask = torch.cat([mask[:, :-kept], mask[:, -kept:] * self._heard], dim=1)
                self._unmeasured = None
                self._observers.entropies_computed(ids, mask, kept, found[1].detach())
            return found

        def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
            norm = super()._get_grad_norm(*args, **kwargs)
            self._observers.gradient_computed(norm)
            return norm

        def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> Any:
            if "loss_scale" not in inputs:
                self._heard = inputs.get("tool_mask")
                return super()._compute_loss(model, inputs)
            from grpo_project.models.cpu_planner import trim_padding

            inputs = dict(inputs)
            scale = inputs.pop("loss_scale")
            inputs = trim_padding(inputs)
            self._heard = inputs.get("tool_mask")
            return super()._compute_loss(model, inputs) * scale

    for name, section in TIMED.items():
        setattr(PlanningTrainer, name, _timed(getattr(PlanningTrainer, name), section))
    return PlanningTrainer


def _timed(method: Any, section: str) -> Any:
    @functools.wraps(method)
    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._timer.section(section):
            return method(self, *args, **kwargs)

    return timed


def make_trainer(
    algorithm: Algorithm,
    config: TrainingConfig,
    policy: Policy,
    data: TrainingData,
    shape: BatchShape,
    folder: RunFolder,
    **parts: Any,
) -> Any:
    """TRL's trainer with ours on top. `parts`: further arguments of its constructor.

    Raises ConfigError for settings that a library would change in silence.
    """
    from datasets import Dataset
    from transformers import PrinterCallback, ProgressCallback

    from grpo_project.models.penalties import penalties_of

    config_class, trainer_class = algorithm.classes()  # at the last moment: with Unsloth loaded these are its rewritten ones
    arguments = trainer_arguments(
        algorithm, config_class, config, shape, policy.device, policy.name, str(folder.path), policy.autocast, policy.chat
    )
    try:
        made = config_class(**arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"TRL's {config_class.__name__} refuses these settings: {first_line(error)}") from error
    plain = policy.name == "transformers"
    trainer = planning_trainer(trainer_class)(
        model=policy.model,
        processing_class=policy.tokenizer,
        args=made,
        train_dataset=Dataset.from_dict(
            {
                "prompt": [to_messages(prompt, chat=policy.chat) for prompt in data.prompts],
                "row_index": list(range(len(data.prompts))),
            }
        ),
        checkpoint_limit=config.save_total_limit,
        penalties=penalties_of(config),
        shortcuts=plain,
        regrouping=algorithm.regrouping(config) if plain else None,
        with_log_probabilities=algorithm.with_log_probabilities,
        entropy_sample=EntropySample(config.seed, config.diagnose_steps),
        sampled_at_once=shape.completions_sampled_at_once,
        **parts,
    )
    refuse_changes(arguments, trainer.args, policy.name)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def whole_weights(trainer: Any) -> dict[str, Any] | None:
    """The whole model as a state dict where processes hold shards of it (FSDP, ZeRO-3); None where each holds all of it.

    Every process must ask; only rank 0's answer is sure to be complete.
    """
    if not ranks.shards_parameters():
        return None
    sharded = trainer.deepspeed if trainer.is_deepspeed_enabled else trainer.model
    found: dict[str, Any] = trainer.accelerator.get_state_dict(sharded)
    return found


@functools.cache
def _load_to_numbered_cpus() -> None:
    """accelerate names the device of several CPU processes cpu:0, cpu:1; torch.load knows no such place without this."""
    from torch.serialization import register_package

    def restore(storage: Any, location: str) -> Any:
        return storage if location.startswith("cpu:") else None

    register_package(15, lambda storage: None, restore)


def attempt(action: Callable[[], Any]) -> Exception | None:
    """What a full disk and the like made of an action, None where it went well. A mistake of ours is raised."""
    from safetensors import SafetensorError

    try:
        action()
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have their own words for a full disk
        logger.debug("writing failed", exc_info=True)
        return error
    return None
