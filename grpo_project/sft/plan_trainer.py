"""TRL's SFTTrainer for demonstrations: our examples, our order of rows and our checkpoints; its loss, its way through the steps.

`plan_trainer` is a function because the base class must be fetched after the backend is loaded: Unsloth rewrites it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from grpo_project.models.loading import Policy
from grpo_project.runs.states import RunStates
from grpo_project.sft.config import SftConfig
from grpo_project.sft.examples import LengthGroupedOrder, PlanDataset, collate
from grpo_project.sft.optimizer import MuonAndAdamW
from grpo_project.training.algorithms.base import refuse_changes
from grpo_project.training.trainer import OF_TRANSFORMERS, TransactionalSaving, require_methods

OF_TRL = ("_get_train_sampler", "_load_from_checkpoint", "create_model_card")
CHECKPOINTS_KEPT = 2


def plan_trainer(
    config: SftConfig, policy: Policy, dataset: PlanDataset, steps: int, states: RunStates, callbacks: Sequence[Any]
) -> Any:
    """A trainer of `steps` optimizer steps. `states` go into every checkpoint.

    Raises BackendMissing where TRL lacks a method that is overridden here, ConfigError for settings that a library would change.
    """
    import trl
    from datasets import Dataset
    from transformers import PrinterCallback, ProgressCallback

    config_class, trainer_class = (getattr(trl, name) for name in ("SFTConfig", "SFTTrainer"))
    require_methods(trainer_class, (*OF_TRANSFORMERS, *OF_TRL))

    class PlanTrainer(TransactionalSaving, trainer_class):  # type: ignore[misc,valid-type]
        checkpoint_limit = CHECKPOINTS_KEPT

        def __init__(self, **how: Any) -> None:
            self.states = states
            super().__init__(**how)
            self.remove_callback(PrinterCallback)
            self.remove_callback(ProgressCallback)

        def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedOrder:
            return LengthGroupedOrder(dataset.lengths, config.batch_size, config.seed)

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Our own training_record.json and planner.json stand in for TRL's card."""

    def batch(rows: list[dict[str, int]]) -> dict[str, Any]:
        chosen = [dataset[row["row_index"]] for row in rows]
        return collate(chosen, policy.tokenizer.pad_token_id, config.position_gaps_below, config.seed)

    asked = arguments(config, policy, steps)
    muon = MuonAndAdamW(policy.model, asked["learning_rate"], config.weight_decay) if config.optimizer == "muon" else None
    trainer = PlanTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        args=config_class(**asked),
        train_dataset=Dataset.from_dict({"row_index": range(len(dataset))}),  # the tokens stay where they are
        data_collator=batch,
        callbacks=list(callbacks),
        **({} if muon is None else {"optimizers": (muon, None)}),
    )
    refuse_changes(asked, trainer.args, policy.name)
    return trainer


def arguments(config: SftConfig, policy: Policy, steps: int) -> dict[str, Any]:
    """Keyword arguments of TRL's SFTConfig. What is learned is left to no default: TRL's and Unsloth's differ, and both move."""
    cpu, unsloth = not torch.cuda.is_available(), policy.name == "unsloth"
    return {
        "output_dir": config.output_dir,
        # what is learned: examples come tokenised, with their loss on the answer alone, and none is cut
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "packing": False,
        "padding_free": False,
        "completion_only_loss": False,  # the labels say it already
        # TRL's own loss over pieces of the answer's tokens: the scores of a whole batch over a large vocabulary never exist at
        # once. Unsloth has a kernel of its own for that.
        "loss_type": "nll" if unsloth else "chunked_nll",
        "shuffle_dataset": False,
        "remove_unused_columns": False,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "max_steps": steps,
        "seed": config.seed,
        "data_seed": config.seed,
        "label_smoothing_factor": 0.0,
        "neftune_noise_alpha": None,
        "use_liger_kernel": False,
        # the optimizer
        "optim": "adamw_8bit" if unsloth and not cpu and config.load_in_4bit else "adamw_torch",
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "adam_beta1": 0.9,
        "adam_beta2": 0.98,
        "adam_epsilon": 1e-8,
        "max_grad_norm": 1.0,
        # how it runs
        "use_cpu": cpu,
        "dataloader_pin_memory": not cpu,
        "bf16": policy.autocast == "bf16" or (config.bf16 and not policy.autocast),
        "fp16": policy.autocast == "fp16",
        "torch_compile": config.compile,
        "gradient_checkpointing": config.use_gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        # reporting and evaluation are ours
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_strategy": "steps",
        "logging_steps": config.logging_steps,
        # checkpoints; trainer.py removes them itself, and never the last good one
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": None,
    }
