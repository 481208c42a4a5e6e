"""Lessons of a warm start: rows with reference plans, tokenised, ordered and batched, with loss on the plan's tokens only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grpo_project.common.random_streams import stream
from grpo_project.data.rows import Row
from grpo_project.errors import DataError
from grpo_project.prompting import render_chat

IGNORED_LABEL = -100
READ_AT_ONCE = 4096  # rows tokenised together
BATCHES_SORTED_TOGETHER = 50


class PlanDataset(torch.utils.data.Dataset[dict[str, np.ndarray]]):
    """Tokenised rows, end to end in one array: 100,000 rows of 100 tokens are 40 MB.

    Row i is tokens[ends[i-1]:ends[i]], of which the first `starts[i]` are the prompt.
    """

    def __init__(self, examples: Sequence[tuple[Sequence[int] | np.ndarray, int]]) -> None:
        self.lengths = np.array([len(ids) for ids, _ in examples], dtype=np.int64)
        self.starts = np.array([start for _, start in examples], dtype=np.int64)
        self.ends = np.cumsum(self.lengths)
        self.tokens = np.concatenate([np.asarray(ids, dtype=np.int32) for ids, _ in examples])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """`input_ids` and `labels` of one length; labels are IGNORED_LABEL up to where the plan begins."""
        ids = self.tokens[self.ends[index] - self.lengths[index] : self.ends[index]]
        labels = ids.copy()
        labels[: self.starts[index]] = IGNORED_LABEL
        return {"input_ids": ids, "labels": labels}


class LengthGroupedOrder(torch.utils.data.Sampler[int]):
    """Row indices such that neighbours, and so batches, have about one length; each epoch holds every row once.

    A function of (seed, epoch) alone: Trainer calls set_epoch, on resume too. Batches follow each other in random order, not
    from long to short.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = stream(self.seed, "sft", "order", self.epoch)
        rows = list(range(len(self.lengths)))
        rng.shuffle(rows)
        reach = self.batch_size * BATCHES_SORTED_TOGETHER
        for start in range(0, len(rows), reach):
            near = sorted(rows[start : start + reach], key=lambda row: int(self.lengths[row]))
            batches = [near[first : first + self.batch_size] for first in range(0, len(near), self.batch_size)]
            rest = batches.pop() if len(batches[-1]) < self.batch_size else []  # last, or it would shift the others' borders
            rng.shuffle(batches)
            yield from (row for batch in [*batches, rest] for row in batch)


def read_examples(roots: Sequence[str], tokenizer: Any, prompt_style: str, longest: int | None = None) -> PlanDataset:
    """All rows of the *.jsonl files under the roots, tokenised.

    A row's own prompt is used where meta.prompt_style says that it has this style; else the problem is rendered again. Raises
    DataError, with file and line, for a row that is no JSON, has no response or no problem, or has more than `longest` tokens.
    """
    examples: list[tuple[np.ndarray, int]] = []
    for root in roots:
        files = sorted(Path(root).glob("*.jsonl"))
        if not files:
            raise DataError(f"{root} holds no *.jsonl file. Make some with script/generate_data.py --prompt_style {prompt_style}")
        for file in files:
            for first, rows in _in_blocks(file):
                pairs = [_prompt_and_response(row, f"{file}:{number}", prompt_style) for number, row in enumerate(rows, first)]
                for offset, (ids, start) in enumerate(tokenize_pairs(tokenizer, pairs)):
                    if start == len(ids) or (longest is not None and len(ids) > longest):
                        raise DataError(
                            f"{file}:{first + offset}: {len(ids)} tokens in all, {start} of the prompt; the model reads {longest}"
                        )
                    examples.append((np.asarray(ids, dtype=np.int32), start))
    return PlanDataset(examples)


def tokenize_pairs(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], int]]:
    """(ids, prompt length) of each (prompt, response): the prompt's tokens as GRPO sees them, then the answer's and its end.

    Raises DataError where the prompt's tokens are no prefix of the whole.
    """
    starts = tokenizer([render_chat(tokenizer, prompt) for prompt, _ in pairs], add_special_tokens=False)["input_ids"]
    wholes = tokenizer([render_chat(tokenizer, *pair) for pair in pairs], add_special_tokens=False)["input_ids"]
    for start, whole, (prompt, _) in zip(starts, wholes, pairs, strict=True):
        if whole[: len(start)] != start:
            raise DataError(f"the tokens of a prompt change when its answer follows; check the chat template: {prompt[:80]!r}")
    return [(whole, len(start)) for start, whole in zip(starts, wholes, strict=True)]


def _in_blocks(file: Path) -> Iterator[tuple[int, list[Any]]]:
    """(number of the first line, parsed lines), READ_AT_ONCE at a time."""
    block: list[Any] = []
    number = 0
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                block.append(json.loads(line))
            except ValueError as error:
                raise DataError(f"{file}:{number}: not a line of JSON: {error}") from None
            if len(block) == READ_AT_ONCE:
                yield number - len(block) + 1, block
                block = []
    if block:
        yield number - len(block) + 1, block


def _prompt_and_response(row: Any, source: str, style: str) -> tuple[str, str]:
    try:
        prompt, response, meta = row["prompt"], row["response"], row["meta"]
        scenario, problem_file = meta["scenario"], meta["problem_file"]
    except (KeyError, TypeError):
        raise DataError(
            f"{source}: a row for a warm start has prompt, response and meta with scenario and problem_file"
        ) from None
    if not (isinstance(prompt, str) and isinstance(response, str) and response):
        raise DataError(f"{source}: prompt and response must be text, and the response not empty")
    if meta.get("prompt_style", "full") == style:
        return prompt, response
    from grpo_project.data.prompts import row_prompt

    whole = Row(prompt, scenario, problem_file, response, None, meta, source, Path(source).parent)
    return row_prompt(whole, style), response


def collate(rows: list[dict[str, np.ndarray]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Right-padded batch, each of shape (rows, longest), longest rounded up to a multiple of 8 so that shapes repeat."""
    longest = -(-max(len(row["input_ids"]) for row in rows) // 8) * 8
    ids = np.full((len(rows), longest), pad_token_id, dtype=np.int64)
    labels = np.full((len(rows), longest), IGNORED_LABEL, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for index, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[index, :length], labels[index, :length], mask[index, :length] = row["input_ids"], row["labels"], 1
    return {name: torch.from_numpy(array) for name, array in (("input_ids", ids), ("labels", labels), ("attention_mask", mask))}
