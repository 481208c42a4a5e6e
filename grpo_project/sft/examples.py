"""SFT examples: rows with reference plans, tokenised, ordered and batched, with loss on the plan's tokens only."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import torch

from grpo_project.common.random_streams import stream
from grpo_project.data.asked_words import in_asked_words
from grpo_project.data.origin import Origin
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import Row, stream_rows
from grpo_project.errors import DataError
from grpo_project.pddl import extract_plan
from grpo_project.pddl.plan import reasoning_of
from grpo_project.prompting import PLAIN_CHAT, ChatOptions, Prompt, render_chat, render_plan
from grpo_project.runs.identity import hash_of

IGNORED_LABEL = -100
READ_AT_ONCE = 4096  # rows tokenised together
BATCHES_SORTED_TOGETHER = 50
MOST_GAPS = 6  # of positions within a row


class PlanDataset(torch.utils.data.Dataset[dict[str, np.ndarray]]):
    """Tokenised rows, end to end in one array: a million rows of 100 tokens are 420 MB, also while they come in.

    Row i is tokens[ends[i-1]:ends[i]], of which the first `starts[i]` are the prompt. `examples`: (ids, prompt length) of each.
    """

    def __init__(self, examples: Iterable[tuple[Sequence[int], int]]) -> None:
        tokens, lengths, starts = array("i"), array("q"), array("q")
        for ids, start in examples:
            tokens.extend(ids)
            lengths.append(len(ids))
            starts.append(start)
        self.tokens, self.lengths, self.starts = map(np.asarray, (tokens, lengths, starts))
        self.ends = np.cumsum(self.lengths)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that is learned from, in order."""
        return hash_of([hashlib.sha256(part.data).hexdigest() for part in (self.tokens, self.lengths, self.starts)])

    @property
    def repeats(self) -> int:
        """Rows whose prompt and plan an earlier row has word by word."""
        starts = self.ends - self.lengths
        return len(self) - len({hash(self.tokens[start:end].tobytes()) for start, end in zip(starts, self.ends, strict=True)})

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
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

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


def read_examples(
    roots: Sequence[str | Origin], tokenizer: Any, prompt_style: str, longest: int | None = None, chat: ChatOptions = PLAIN_CHAT
) -> PlanDataset:
    """All rows of the data roots, tokenised; a root may come with all that its rows share.

    A row's own prompt is used where meta.prompt_style says that it has this style; else the problem is rendered again. A plan
    with words that the vocabulary lacks is learned as we write plans. Raises DataError as `stream_rows` does, and, with file and
    line, for a row without a response, with more than `longest` tokens, or with such words in its plan still.
    """
    return PlanDataset(chain.from_iterable(_tokenized(root, tokenizer, prompt_style, longest, chat) for root in roots))


def _tokenized(
    root: str | Origin, tokenizer: Any, prompt_style: str, longest: int | None, chat: ChatOptions
) -> Iterator[tuple[list[int], int]]:
    rows = stream_rows(root)
    while block := list(islice(rows, READ_AT_ONCE)):
        pairs = [_prompt_and_response(row, prompt_style) for row in block]
        found = tokenize_pairs(tokenizer, pairs, chat)
        for row, (prompt, response), (ids, start) in zip(block, pairs, found, strict=True):
            if tokenizer.unk_token_id in ids[start:] and (unread := _unread_words(tokenizer, response)):
                # As another tool wrote it: in capitals, numbered, with a comment.
                steps = extract_plan(response).steps
                plan = render_plan(steps) if steps and not reasoning_of(response) else ""
                if not plan or _unread_words(tokenizer, plan):
                    raise DataError(f"{row.source}: the model's vocabulary lacks {unread[0]!r} of the response.{_advice(unread)}")
                ((ids, start),) = tokenize_pairs(tokenizer, [(prompt, plan)], chat)
            if start == len(ids) or (longest is not None and len(ids) > longest):
                raise DataError(f"{row.source}: {len(ids)} tokens in all, {start} of the prompt; the model reads {longest}")
            yield ids, start


def _unread_words(tokenizer: Any, response: str) -> list[str]:
    """The words of a response that the vocabulary has no token for."""
    words = re.findall(r"\s?\S+", response)
    return [word.strip() for word in words if tokenizer.unk_token_id in tokenizer(word, add_special_tokens=False)["input_ids"]]


def _advice(unread: Sequence[str]) -> str:
    from grpo_project.models.tokenizer import REASONING_MARKS  # not before: Unsloth must be the first to import transformers

    if {word.strip() for word in REASONING_MARKS}.isdisjoint(unread):
        return ""
    return " An older planner learns to reason with --prompt_style compact (or schemas), which brings today's vocabulary"


def _prompt_and_response(row: Row, style: str) -> tuple[Prompt, str]:
    if not row.response:
        raise DataError(f"{row.source}: no response, but a demonstration has a plan there")
    own = row.meta.get("prompt_style", "full")
    if row.turns and own != style:
        raise DataError(f"{row.source}: turns in the words of the {own} prompt, but the model reads {style}: generate them again")
    if own == style:
        return (row.prompt, *row.turns) if row.turns else row.prompt, row.response
    asked = in_asked_words(row, style)[0]
    return row_prompt(asked, style), asked.response or ""


def tokenize_pairs(
    tokenizer: Any, pairs: Sequence[tuple[Prompt, str]], chat: ChatOptions = PLAIN_CHAT
) -> list[tuple[list[int], int]]:
    """(ids, prompt length) of each (prompt, response): the prompt's tokens as GRPO sees them, then the answer's and its end.

    The two are taken apart where a token would reach over the border, which an answer after that prompt cannot begin with.
    """
    prompts = [render_chat(tokenizer, prompt, chat=chat) for prompt, _ in pairs]
    texts = [render_chat(tokenizer, *pair, chat=chat) for pair in pairs]
    starts, wholes = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompts, texts))
    for index, (start, whole) in enumerate(zip(starts, wholes, strict=True)):
        if whole[: len(start)] != start:
            answer = texts[index][len(prompts[index]) :]
            wholes[index] = start + tokenizer(answer, add_special_tokens=False)["input_ids"]
    return [(whole, len(start)) for start, whole in zip(starts, wholes, strict=True)]


def positions_with_gaps(ids: np.ndarray, below: int, seed: int) -> np.ndarray:
    """Positions of a row's tokens, rising, below `below`: in half of the rows with gaps at one to six places, else 0, 1, 2, ...

    What lies between two gaps stays together, as in PoSE (Zhu et al. 2023, arXiv 2309.10400): a model that has met every distance
    up to `below` in short examples is not lost in a long prompt. A function of the row's tokens and the seed alone.
    """
    rng = stream(seed, "sft", "positions", hashlib.sha256(ids.tobytes()).hexdigest())
    positions = np.arange(len(ids), dtype=np.int64)
    room = below - len(ids)
    if room <= 0 or len(ids) < 2 or rng.random() < 0.5:
        return positions
    places = rng.sample(range(1, len(ids)), min(rng.randint(1, MOST_GAPS), len(ids) - 1))
    left = rng.randint(0, room)
    for place in places:
        gap = rng.randint(0, left)
        positions[place:] += gap
        left -= gap
    return positions


def collate(rows: list[dict[str, np.ndarray]], pad_token_id: int, gaps_below: int = 0, seed: int = 0) -> dict[str, torch.Tensor]:
    """Right-padded batch, each of shape (rows, longest), longest rounded up to a multiple of 8 so that shapes repeat.

    gaps_below: with `position_ids` of `positions_with_gaps`; 0: without, and the model counts for itself.
    """
    longest = -(-max(len(row["input_ids"]) for row in rows) // 8) * 8
    ids = np.full((len(rows), longest), pad_token_id, dtype=np.int64)
    labels = np.full((len(rows), longest), IGNORED_LABEL, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for index, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[index, :length], labels[index, :length], mask[index, :length] = row["input_ids"], row["labels"], 1
    found = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    if gaps_below:
        found["position_ids"] = np.zeros((len(rows), longest), dtype=np.int64)
        for index, row in enumerate(rows):
            own = row["input_ids"]
            found["position_ids"][index, : len(own)] = positions_with_gaps(own, gaps_below, seed)
    return {name: torch.from_numpy(array) for name, array in found.items()}
