"""Our subclass of TRL's GRPOTrainer.

`make_trainer_class` is a function because the base class must be fetched after the backend is loaded: Unsloth rewrites it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_project.callbacks.timing import StepTimer
from grpo_project.training.resampling import Resampler
from grpo_project.training.saving import TransactionalSaving

if TYPE_CHECKING:  # it loads transformers, and Unsloth must be the first to
    from grpo_project.health.diagnosis import Diagnosis

# TRL's method -> the section its time is counted to. Wrapped where the base class has it; Unsloth keeps these names.
TIMED_METHODS = {
    "_generate_single_turn": "generation",
    "_calculate_rewards": "reward",
    "_get_per_token_logps_and_entropies": "log_probs",
    "_save_checkpoint": "checkpoint",
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
                from grpo_project.models.penalties import penalised

                with penalised(self.accelerator.unwrap_model(self.model_wrapped), self._penalties):
                    return super()._generate_single_turn(prompt_ids, *args, **kwargs)
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)

        def _decode_in_a_loop(self, prompt_ids: list[list[int]]) -> list[list[int]] | None:
            """Completions up to and with the stop token, in the order of `prompt_ids`; None where the loop does not fit.

            Draws from torch's global CPU stream, which checkpoints keep.
            """
            import torch

            from grpo_project.models import generation

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

        def _prepare_inputs(self, generation: Any) -> Any:
            before = self._buffered_inputs
            inputs = super()._prepare_inputs(generation)
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
