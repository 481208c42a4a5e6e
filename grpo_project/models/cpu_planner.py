"""What makes training fast on a CPU, and nothing else: a decoding loop of its own, each prompt read once for its whole group, and
no gradient work that is zero.

Larger models and other devices never come here: they go through `model.generate` and TRL's loss as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from grpo_project.models.shared_prompts import PromptCache, number_prompts, plain_attention

# Rows leave the cache when this share of the batch or less is still writing: each departure copies the cache once.
COMPACT_BELOW = 0.9


# -- decoding ---------------------------------------------------------------------------------------------------------


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode for the time being; only modules that were training go back to training."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
        if training and hasattr(model, "for_training"):
            model.for_training()  # Unsloth's generate turned gradient checkpointing off, and restores it only in training mode


def left_padded(rows: Sequence[list[int]], pad_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, longest) ids and the mask of the same shape: 1 on prompt tokens, 0 on padding, which stands on the left."""
    longest = max(len(row) for row in rows)
    ids = [[pad_id] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def pick_tokens(logits: torch.Tensor, temperature: float | None, draw: torch.Tensor | None) -> torch.Tensor:
    """(rows,) tokens: the most likely ones; or, by (rows,) draws in [0, 1), from the cumulative distribution."""
    if draw is None or temperature is None:
        return logits.argmax(-1)
    # Double precision: over a large vocabulary the sum in single precision misses 1 by more than rare tokens weigh.
    cumulative = torch.softmax(logits.double() / temperature, dim=-1).cumsum(-1)
    return torch.searchsorted(cumulative, (draw * cumulative[:, -1])[:, None], right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


# Told after every token: how many completions it was written to, and those that end before it, as (number in the batch, tokens).
Watch = Callable[[int, list[tuple[int, list[int]]]], None]


@dataclass(frozen=True)
class Decoding:
    """How answers are written: `samples` to each prompt, of at most `max_new_tokens` tokens, each up to one of `stop_ids`.

    `temperature` None: the most likely tokens.
    """

    max_new_tokens: int
    pad_id: int
    stop_ids: list[int]
    samples: int
    temperature: float | None


def decode_in_a_loop(
    model: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    how: Decoding,
    draws: torch.Tensor | torch.Generator | None,
    watch: Watch | None = None,
) -> list[list[int]]:
    """As `model.generate`, with one prefill per prompt, and without the rows that have ended.

    `draws` may be a generator, too: training draws from the stream that its checkpoints keep.
    """
    cache = PromptCache(model, mask, how.samples)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    kept = {"past_key_values": cache.for_model, "use_cache": True}
    last = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, **kept).logits[:, -1]
    last, next_position = (part.repeat_interleave(how.samples, dim=0) for part in (last, positions[:, -1:] + 1))
    written = torch.full((last.shape[0], how.max_new_tokens), how.pad_id, device=ids.device)
    lengths = torch.full((last.shape[0],), how.max_new_tokens, device=ids.device)
    rows = torch.arange(last.shape[0], device=ids.device)  # which completion each row of the batch still writes
    ended = torch.zeros(last.shape[0], dtype=torch.bool, device=ids.device)
    stops = torch.tensor(how.stop_ids, dtype=torch.long, device=ids.device)
    for index in range(how.max_new_tokens):
        draw = draws[rows, index] if isinstance(draws, torch.Tensor) else None
        if isinstance(draws, torch.Generator):
            draw = torch.rand(len(rows), generator=draws, dtype=torch.float64)
        token = pick_tokens(last, how.temperature, draw)
        written[rows, index] = token
        ending = torch.isin(token, stops) & ~ended
        lengths[rows[ending]] = index
        ended = ended | ending
        alive = int((~ended).sum())
        if watch is not None:
            over = rows[ending].tolist()
            watch(alive + len(over), [(row, written[row, :index].tolist()) for row in over])
        if alive == 0 or index == how.max_new_tokens - 1:
            break
        if alive <= COMPACT_BELOW * len(rows):
            keep = (~ended).nonzero()[:, 0]
            cache.keep(keep)
            rows, ended, token, next_position = (part[keep] for part in (rows, ended, token, next_position))
        with cache.attending():
            last = model(input_ids=token[:, None], position_ids=next_position, **kept).logits[:, -1]
        next_position = next_position + 1
    return [row[:length] for row, length in zip(written.tolist(), lengths.tolist(), strict=True)]


def sample_groups(
    model: Any, prompt_ids: Sequence[list[int]], group: int, pad_id: int, stop_id: int, max_new_tokens: int, temperature: float
) -> list[list[int]] | None:
    """Completions up to and with the stop token, in the order of `prompt_ids`, where every prompt stands `group` times in a row.

    None where that is not so, or the model's attention is not plain. Draws from torch's global CPU stream, which checkpoints
    keep.
    """
    firsts = prompt_ids[::group]
    if not plain_attention(model) or [ids for ids in firsts for _ in range(group)] != list(prompt_ids):
        return None
    ids, mask = left_padded(firsts, pad_id, next(model.parameters()).device)
    how = Decoding(max_new_tokens, pad_id, [stop_id], group, temperature)
    with evaluating(model), torch.inference_mode():
        rows = decode_in_a_loop(model, ids, mask, how, torch.default_generator)
    return [row + [stop_id] if len(row) < max_new_tokens else row for row in rows]


# -- gradients --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Regrouping:
    """What a loss allows. `drop_idle`: a completion with advantage 0 has no gradient. `per_completion`: a micro-batch's loss is
    the mean over its completions, so a micro-batch of another size is weighed anew; else it is a sum over the tokens of the
    step."""

    drop_idle: bool
    per_completion: bool


def regroup(micro_batches: list[dict[str, Any]], how: Regrouping) -> list[dict[str, Any]]:
    """The same gradient from less work: completions without any are left out, the others sorted by the longest of their group.

    A group stays together, so that its prompt is read once; sorting lets short completions stand together, without padding to
    the longest. `loss_scale` in each micro-batch makes up for its new size, so that the sum over the step is what it was.
    Shapes: tensors of (rows, ...) are regrouped, scalars are kept. The number of micro-batches stays; each has a row or more.
    """
    count = micro_batches[0]["completion_ids"].shape[0]
    total = count * len(micro_batches)
    by_row = [name for name, value in micro_batches[0].items() if torch.is_tensor(value) and value.shape[:1] == (count,)]
    joined = {name: torch.cat([batch[name] for batch in micro_batches]) for name in by_row}
    lengths = joined["completion_mask"].sum(1)
    kept = torch.arange(total, device=lengths.device)
    if how.drop_idle:
        kept = kept[joined["advantages"] != 0]
    group = number_prompts(joined["prompt_ids"], joined["prompt_mask"])
    longest = torch.zeros_like(lengths).scatter_reduce(0, group[kept], lengths[kept], "amax")  # of each group
    kept = kept[torch.argsort(longest[group[kept]] * total + group[kept], stable=True)]
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
        part["loss_scale"] = len(rows) / count if how.per_completion else 1.0
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
