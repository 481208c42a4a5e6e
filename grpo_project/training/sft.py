"""Warm start: supervised training of the planner on reference plans, loss on the plan's tokens only.

The rows are tokenised once with the same chat template that GRPO and evaluation use. Hugging Face's Trainer does the rest; its
checkpoints make a long training resumable.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from grpo_project.core.files import write_json_atomically
from grpo_project.core.run_folder import describe_environment
from grpo_project.errors import DataError, ModelError
from grpo_project.prompting import render_chat
from grpo_project.training.tokenizer import build_planner_tokenizer

IGNORED_LABEL = -100


@dataclass(frozen=True)
class SftConfig:
    """Settings of one warm start. Sizes count tokens or parameters; `max_minutes` None means no limit."""

    data_roots: tuple[str, ...]
    output_dir: str
    base_model: str | None = None
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 384
    max_steps: int = -1
    epochs: float = 1.0
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    seed: int = 1
    save_steps: int = 500
    logging_steps: int = 50
    bf16: bool = False
    resume: bool = False


class PlanDataset(torch.utils.data.Dataset[dict[str, list[int]]]):
    """Tokenised rows: `input_ids` and `labels` of equal length, labels IGNORED_LABEL before the plan."""

    def __init__(self, examples: list[tuple[list[int], int]]) -> None:
        self.examples = examples
        self.lengths = [len(ids) for ids, _ in examples]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        ids, start = self.examples[index]
        return {"input_ids": ids, "labels": [IGNORED_LABEL] * start + ids[start:]}


def read_examples(roots: tuple[str, ...], tokenizer: Any, prompt_style: str) -> PlanDataset:
    """All rows of *.jsonl under the roots that have a response and a prompt of the given style, tokenised.

    Raises DataError where a row lacks them, with file and line.
    """
    examples: list[tuple[list[int], int]] = []
    for root in roots:
        files = sorted(Path(root).glob("*.jsonl"))
        if not files:
            raise DataError(f"{root} holds no *.jsonl file. Make some with script/generate_data.py --prompt_style {prompt_style}.")
        for file in files:
            prompts: list[str] = []
            wholes: list[str] = []
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    row = json.loads(line)
                    if "response" not in row or row["meta"].get("prompt_style", "full") != prompt_style:
                        raise DataError(f"{file}:{number}: expected a row with a response and a {prompt_style} prompt.")
                    prompts.append(render_chat(tokenizer, row["prompt"]))
                    wholes.append(render_chat(tokenizer, row["prompt"], row["response"]))
            prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
            whole_ids = tokenizer(wholes, add_special_tokens=False)["input_ids"]
            for start, ids in zip(prompt_ids, whole_ids, strict=True):
                if ids[: len(start)] != start:
                    raise DataError(f"{file}: the tokens of a prompt change when its answer follows; check the chat template.")
                examples.append((ids, len(start)))
    return PlanDataset(examples)


def collate(rows: list[dict[str, list[int]]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Right-padded batch of shape (rows, longest), rounded up to a multiple of 8 so that shapes repeat."""
    longest = -(-max(len(row["input_ids"]) for row in rows) // 8) * 8
    ids = torch.full((len(rows), longest), pad_token_id)
    labels = torch.full((len(rows), longest), IGNORED_LABEL)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[index, :length] = torch.tensor(row["input_ids"])
        labels[index, :length] = torch.tensor(row["labels"])
        mask[index, :length] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


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
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(model_config)


class _TokenRate(TrainerCallback):
    """Adds tokens per second to the progress bar's line."""

    def __init__(self, tokens_per_step: float) -> None:
        self.tokens_per_step = tokens_per_step
        self.started: tuple[float, int] | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.started is None:
            self.started = (time.perf_counter(), state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs is not None and self.started is not None and state.global_step > self.started[1]:
            seconds = time.perf_counter() - self.started[0]
            logs["tokens_per_second"] = round(self.tokens_per_step * (state.global_step - self.started[1]) / seconds)


def train_sft(config: SftConfig) -> int:
    """Trains, and writes the model folder to output_dir/model. Returns 0."""
    set_seed(config.seed)
    if config.base_model:
        try:
            tokenizer = AutoTokenizer.from_pretrained(config.base_model)
            model = AutoModelForCausalLM.from_pretrained(config.base_model, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise ModelError(f"{config.base_model} cannot be loaded: {str(error).splitlines()[0]}") from error
        tokenizer.padding_side = "left"
    else:
        tokenizer = build_planner_tokenizer()
        model = new_planner(config, tokenizer)
    dataset = read_examples(config.data_roots, tokenizer, "compact")
    tokens = sum(dataset.lengths)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(dataset)} rows, {tokens} tokens; model with {parameters / 1e6:.2f} M parameters, vocabulary {len(tokenizer)}")
    arguments = TrainingArguments(
        output_dir=config.output_dir,
        per_device_train_batch_size=config.batch_size,
        max_steps=config.max_steps,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        lr_scheduler_type="cosine",
        adam_beta2=0.98,
        max_grad_norm=1.0,
        logging_steps=config.logging_steps,
        save_steps=config.save_steps,
        save_total_limit=2,
        train_sampling_strategy="group_by_length",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        bf16=config.bf16,
        seed=config.seed,
        data_seed=config.seed,
        dataloader_num_workers=0,
        remove_unused_columns=False,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        data_collator=lambda rows: collate(rows, tokenizer.pad_token_id),
        callbacks=[_TokenRate(float(np.mean(dataset.lengths)) * config.batch_size)],
    )
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=True if config.resume else None)
    seconds = time.perf_counter() - began
    folder = Path(config.output_dir) / "model"
    save_planner(model, tokenizer, folder)
    losses = [{"step": row["step"], "loss": row["loss"]} for row in trainer.state.log_history if "loss" in row]
    write_json_atomically(
        folder / "training_record.json",
        {
            "config": asdict(config),
            "rows": len(dataset),
            "tokens": tokens,
            "parameters": parameters,
            "steps": trainer.state.global_step,
            "wall_seconds": round(seconds, 1),
            "final_loss": losses[-1]["loss"] if losses else None,
            "losses": losses[:: max(1, len(losses) // 50)],
            "environment": describe_environment(Path(__file__).resolve().parents[2]),
        },
    )
    print(f"{trainer.state.global_step} steps in {seconds / 60:.1f} minutes. Model: {folder}")
    return 0


def save_planner(model: Any, tokenizer: Any, folder: Path) -> None:
    """Hugging Face files and planner.json, which says how this model wants its prompts."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json_atomically(folder / "planner.json", {"prompt_style": "compact"})
