"""Warm start: supervised training on reference plans, from scratch or from a model, loss on the plan's tokens only.

The rows are tokenised once, by the chat template that GRPO and evaluation use. Hugging Face's Trainer does the rest. What batch
comes when is a function of (seed, epoch), so a run that was stopped goes on from its newest checkpoint to the weights it would
have reached anyway. Not so with `compile`: compiled code rounds in its own way from run to run.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed

from grpo_project.common.files import write_json_atomically
from grpo_project.configs.model_card import MODEL_CARD
from grpo_project.data.rows import Row, RowTable, read_rows
from grpo_project.errors import ConfigError, RunExists
from grpo_project.models.depth_upscaling import with_more_layers
from grpo_project.models.tokenizer import build_planner_tokenizer
from grpo_project.runs.run_folder import describe_environment
from grpo_project.sft.examples import LengthGroupedOrder, collate, read_examples
from grpo_project.sft.optimizer import MuonAndAdamW

MODEL_FOLDER = "model"
OPTIMIZERS = ("muon", "adamw")
LOSSES_KEPT = 60  # points of the loss curve in the record


@dataclass(frozen=True)
class SftConfig:
    """Settings of one warm start. Sizes count tokens or parameters; `max_steps` -1 means that `epochs` decides.

    `base_model` None: a new planner of the given size; else the size is that model's, with `add_layers` more.
    `resume_from_checkpoint`: None, `auto` (the newest whole checkpoint of output_dir; none: from the start) or a checkpoint's
    folder. `eval_every` 0: no evaluation.
    """

    data_roots: tuple[str, ...]
    output_dir: str
    base_model: str | None = None
    add_layers: int = 0
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 384
    max_steps: int = -1
    epochs: float = 1.0
    batch_size: int = 64
    optimizer: str = "muon"
    learning_rate: float = 6e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    seed: int = 1
    save_steps: int = 500
    logging_steps: int = 50
    bf16: bool = False
    compile: bool = False
    resume_from_checkpoint: str | None = None
    eval_data: str | None = None
    eval_every: int = 0
    eval_samples: int = 100

    def __post_init__(self) -> None:
        for name in ("hidden_size", "layers", "heads", "intermediate_size", "batch_size", "save_steps", "logging_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden_size % (2 * self.heads):
            raise ConfigError(f"--hidden_size {self.hidden_size} must be an even multiple of --heads {self.heads}")
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"--optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if not self.learning_rate > 0:
            raise ConfigError(f"--learning_rate must be above 0, got {self.learning_rate}")
        if self.max_steps < 1 and self.max_steps != -1:
            raise ConfigError(f"--max_steps must be at least 1, got {self.max_steps}")
        if not self.epochs > 0:
            raise ConfigError(f"--epochs must be above 0, got {self.epochs}")
        if self.add_layers < 0 or (self.add_layers and self.base_model is None):
            raise ConfigError("--add_layers adds 1 or more layers to --base_model; a new planner takes --layers")
        if (
            self.compile
            and not torch.cuda.is_available()
            and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++")))
        ):
            raise ConfigError(
                "--compile needs a C++ compiler, and neither g++ nor clang++ is here: install one or leave --compile out"
            )
        if self.eval_every < 0 or self.eval_samples < 1:
            raise ConfigError("--eval_every must be 0 (never) or more, and --eval_samples at least 1")
        if self.eval_every and self.eval_data is None:
            raise ConfigError("--eval_every needs the problems to evaluate on: add --eval_data, data/test for instance")


def new_planner(config: SftConfig, tokenizer: Any) -> LlamaForCausalLM:
    """A randomly initialised Llama of the configured size, embeddings tied."""
    model_config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        # The default of 0.02 is made for thousands of dimensions; here it leaves attention nearly uniform and its gradients tiny.
        initializer_range=config.hidden_size**-0.5,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(model_config)


def newest_checkpoint(output_dir: Path) -> Path | None:
    """The whole checkpoint with the most steps; one without trainer_state.json, written last, was torn and does not count."""
    found = [path for path in output_dir.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _checkpoint_to_resume(config: SftConfig) -> Path | None:
    output = Path(config.output_dir)
    asked = config.resume_from_checkpoint
    if asked is None:
        if output.is_dir() and any(output.iterdir()):
            raise RunExists(
                f"{output} is not empty. Go on with it by --resume_from_checkpoint auto, or choose another --output_dir"
            )
        return None
    if asked == "auto":
        return newest_checkpoint(output)
    if not (Path(asked) / "trainer_state.json").is_file():
        raise ConfigError(
            f"--resume_from_checkpoint {asked}: no whole checkpoint is there; `auto` takes the newest of --output_dir"
        )
    return Path(asked)


class _TokenRate(TrainerCallback):
    """Adds tokens per second, prompts included, to what is logged: wall clock since the first step, less evaluations."""

    def __init__(self, tokens_per_step: float) -> None:
        self.tokens_per_step = tokens_per_step
        self.began: float | None = None
        self.steps = 0
        self.seconds_evaluating = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.began is None:
            self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps += 1

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs is not None and self.steps:
            logs["tokens_per_second"] = self.rate()

    def rate(self) -> int:
        """Tokens per second; 0 before the first step."""
        if self.began is None:
            return 0
        return round(self.tokens_per_step * self.steps / (time.perf_counter() - self.began - self.seconds_evaluating))


class _HeldOutSuccess(TrainerCallback):
    """Greedy success on held-out problems every so many steps, one printed line each. Draws nothing from any random state."""

    def __init__(self, config: SftConfig, tokenizer: Any, style: str, max_new_tokens: int, rate: _TokenRate) -> None:
        self.table: RowTable = read_rows(config.eval_data or "")
        self.indices = [i for name in self.table.domains for i in self.table.indices_of(name)[: config.eval_samples]]
        self.every, self.tokenizer, self.style, self.max_new_tokens = config.eval_every, tokenizer, style, max_new_tokens
        self.rate = rate
        self.history: list[dict[str, Any]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step % self.every and state.global_step != state.max_steps:
            return
        began = time.perf_counter()
        from grpo_project.data.prompts import row_prompt
        from grpo_project.evaluation import evaluate
        from grpo_project.models.generation import complete_greedy

        def complete(rows: list[Row]) -> list[str]:
            return complete_greedy(model, self.tokenizer, [row_prompt(row, self.style) for row in rows], self.max_new_tokens)

        result = evaluate(self.table, self.indices, complete)
        rates = {name: round(result.rate(name), 4) for name in result.domains}
        self.history.append({"step": state.global_step, "greedy_success": rates, "problems": len(self.indices)})
        shown = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items())
        print(f"\nstep {state.global_step}: held-out success, greedy: {shown} ({result.seconds:.0f} s)", flush=True)
        self.rate.seconds_evaluating += time.perf_counter() - began


class _PlanTrainer(Trainer):
    """Hugging Face's, with our order of rows."""

    def __init__(self, *, order: LengthGroupedOrder, **how: Any) -> None:
        self.order = order  # first: the base class may already ask for it
        super().__init__(**how)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedOrder:
        return self.order


def train_sft(config: SftConfig) -> int:
    """Trains, and writes the model folder to output_dir/model. Returns 0.

    Raises RunExists for an output folder in use, ConfigError, DataError and ModelError as the parts do.
    """
    checkpoint = _checkpoint_to_resume(config)
    set_seed(config.seed)
    if config.base_model:
        from grpo_project.models.loading import load_policy

        policy = load_policy(config.base_model, training=True, seed=config.seed, backend="transformers")
        model, tokenizer, card = policy.model, policy.tokenizer, {"prompt_style": policy.prompt_style, **policy.card}
        if config.add_layers:
            model = with_more_layers(model, config.add_layers)
    else:
        tokenizer = build_planner_tokenizer()
        model, card = new_planner(config, tokenizer), {"prompt_style": "compact"}
    if not torch.cuda.is_available():
        model.set_attn_implementation("eager")  # a step takes a fifth less: sdpa's backward pass is slow for small heads on CPUs
    style = card["prompt_style"]
    dataset = read_examples(config.data_roots, tokenizer, style, getattr(model.config, "max_position_embeddings", None))
    tokens = int(dataset.lengths.sum())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(dataset)} rows, {tokens} tokens; model with {parameters / 1e6:.2f} M parameters, vocabulary {len(tokenizer)}")
    rate = _TokenRate(float(np.mean(dataset.lengths)) * config.batch_size)
    longest_plan = int((dataset.lengths - dataset.starts).max())
    held_out = _HeldOutSuccess(config, tokenizer, style, longest_plan, rate) if config.eval_every else None
    trainer = _PlanTrainer(
        order=LengthGroupedOrder(dataset.lengths, config.batch_size, config.seed),
        model=model,
        args=_arguments(config),
        train_dataset=dataset,
        data_collator=lambda rows: collate(rows, tokenizer.pad_token_id),
        callbacks=[rate, held_out] if held_out else [rate],
        optimizers=(MuonAndAdamW(model, config.learning_rate, config.weight_decay) if config.optimizer == "muon" else None, None),
    )
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds, tokens_per_second = time.perf_counter() - began, rate.rate()
    folder = Path(config.output_dir) / MODEL_FOLDER
    save_planner(model, tokenizer, folder, card)
    losses = [{"step": row["step"], "loss": float(row["loss"])} for row in trainer.state.log_history if "loss" in row]
    record = {
        "config": asdict(config) | {"data_roots": [Path(root).name for root in config.data_roots]},
        "data": [_manifest(Path(root)) for root in config.data_roots],
        "rows": len(dataset),
        "tokens": tokens,
        "parameters": parameters,
        "steps": trainer.state.global_step,
        "resumed_at_step": int(checkpoint.name.rpartition("-")[2]) if checkpoint else None,
        "wall_seconds": round(seconds, 1),
        "tokens_per_second": tokens_per_second,
        "final_loss": losses[-1]["loss"] if losses else None,
        "losses": losses[:: max(1, len(losses) // LOSSES_KEPT)],
        "held_out": held_out.history if held_out else [],
        "environment": describe_environment(Path(__file__).resolve().parents[2]),
    }
    del record["config"]["output_dir"]  # says nothing about the model
    write_json_atomically(folder / "training_record.json", record)
    print(f"{trainer.state.global_step} steps in {seconds / 60:.1f} minutes. Model: {folder}")
    return 0


def _arguments(config: SftConfig) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=config.output_dir,
        per_device_train_batch_size=config.batch_size,
        max_steps=config.max_steps,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        lr_scheduler_type="cosine",
        optim="adamw_torch",
        adam_beta2=0.98,
        max_grad_norm=1.0,
        logging_steps=config.logging_steps,
        save_steps=config.save_steps,
        save_total_limit=2,
        report_to="none",
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        bf16=config.bf16,
        torch_compile=config.compile,
        seed=config.seed,
        data_seed=config.seed,
        dataloader_num_workers=0,
        remove_unused_columns=False,
    )


def _manifest(root: Path) -> Any:
    """How the data of a root were made, where script/generate_data.py left its note; else None."""
    path = root / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def save_planner(model: Any, tokenizer: Any, folder: Path, card: dict[str, Any]) -> None:
    """Hugging Face files and planner.json, which says how this model wants its prompts."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json_atomically(folder / MODEL_CARD, card)
