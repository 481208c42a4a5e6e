"""A prompt that is read once for all its completions: while they are written, and when their gradient is taken.

The completions of a group have their prompt in common, and prompts here are longer than plans. What is computed is the same up to
rounding. Prefix Grouper (arXiv 2506.05433) does it for gradients, Hydragen (arXiv 2402.05099) for decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

CACHE_TOKENS = 32  # tokens that a cache grows by at a time
ATTENTION = "shared_prompts"  # the name under which transformers finds the attention of the cache that decodes


def plain_attention(model: Any) -> bool:
    """Whether every layer attends to all that came before, by the attention function that transformers looks up by name."""
    kinds = getattr(model.config, "layer_types", None) or ["full_attention"]
    windowed = getattr(model.config, "use_sliding_window", True) and getattr(model.config, "sliding_window", None)
    looked_up = getattr(model, "_supports_attention_backend", False) and model.config._attn_implementation == "sdpa"
    return looked_up and all(kind == "full_attention" for kind in kinds) and not windowed


# -- decoding ---------------------------------------------------------------------------------------------------------


class PromptCache:
    """Keys and values while `samples` completions of each prompt are written: of the prompts once, of the completions by row.

    `for_model` is what the model is given as `past_key_values`: first with the prompts, then, within `attending`, one token at a
    time for the rows prompt by prompt, of which `keep` leaves some.

    Measured on one core that other work shared, any-names-planner, 8 completions of up to 64 tokens to each of 32 prompts of 110
    to 200 tokens: 3.5 s; 6.3 s where each completion has its prompt again in the cache, with transformers' attention.
    """

    def __init__(self, model: Any, mask: torch.Tensor, samples: int) -> None:
        from transformers import DynamicCache

        self.for_model = DynamicCache(config=model.config)
        self._layers = [_growing_layer() for _ in self.for_model.layers]
        self.for_model.layers = list(self._layers)
        self._model = model
        self._samples = samples
        rows = torch.arange(len(mask) * samples, device=mask.device)
        self._prompt, self._seat = rows // samples, rows % samples  # of each row that is still written
        self._attended = False
        self._hidden = (mask == 0)[:, None, None, :]  # (prompts, 1, 1, tokens): padding

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Every layer of the model attends through this cache for the time being."""
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        config, before = self._model.config, self._model.config._attn_implementation
        ALL_ATTENTION_FUNCTIONS.register(ATTENTION, self._attend)
        config._attn_implementation = ATTENTION
        try:
            yield
        finally:
            config._attn_implementation = before
        if not self._attended:  # a library has put its own attention into the layers: what they computed is without the prompts
            raise RuntimeError(f"{type(self._model).__name__} does not attend by the function that its config names")

    def keep(self, rows: torch.Tensor) -> None:
        """Only these of the rows go on, by their present places; a prompt without any goes as well."""
        prompts, self._prompt = torch.unique(self._prompt[rows], return_inverse=True)
        self._seat, self._hidden = self._seat[rows], self._hidden[prompts]
        for layer in self._layers:
            layer.keep(rows, prompts)

    def _attend(self, module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **how: Any) -> Any:
        """As transformers' attention functions: (rows, heads, 1, width) of queries, against (rows, key heads, tokens, width) of
        the completions so far and against the prompts, to (rows, 1, heads, width)."""
        self._attended = True
        layer = self._layers[module.layer_idx]
        query = query[:, :, 0].unflatten(1, (key.shape[1], -1)) * (how.get("scaling") or query.shape[-1] ** -0.5)
        to_prompt = self._by_prompt(query) @ layer.prompt_keys.transpose(-1, -2)
        to_prompt = to_prompt.masked_fill(self._hidden, torch.finfo(to_prompt.dtype).min)
        scores = torch.cat([self._by_row(to_prompt), query @ key.transpose(-1, -2)], dim=-1)
        weights = torch.softmax(scores, dim=-1)
        of_prompt, own = weights.split([layer.prompt_keys.shape[-2], key.shape[-2]], dim=-1)
        found = own @ value + self._by_row(self._by_prompt(of_prompt) @ layer.prompt_values)
        return found.flatten(1, 2)[:, None], None

    def _by_prompt(self, rows: torch.Tensor) -> torch.Tensor:
        """(rows, key heads, queries, width) to (prompts, key heads, samples x queries, width); 0 where a row has ended."""
        if self._samples == 1:
            return rows
        seats = rows.new_zeros(len(self._hidden), self._samples, *rows.shape[1:])
        seats[self._prompt, self._seat] = rows
        return seats.transpose(1, 2).flatten(2, 3)

    def _by_row(self, prompts: torch.Tensor) -> torch.Tensor:
        """The way back."""
        return (
            prompts if self._samples == 1 else prompts.unflatten(2, (self._samples, -1)).transpose(1, 2)[self._prompt, self._seat]
        )


def _growing_layer() -> Any:
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):
        """First the prompts, which stay aside; then tokens of the completions, written in place: `keys` and `values` are views of
        the first tokens of `_room`, which has space for more. transformers' own copies everything at every token."""

        keys: torch.Tensor
        values: torch.Tensor
        prompt_keys: torch.Tensor
        prompt_values: torch.Tensor
        _room: list[torch.Tensor]

        def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self.prompt_keys, self.prompt_values = key_states.contiguous(), value_states.contiguous()
                self._room = []
                return key_states, value_states
            if not self._room:
                self._show([states[:, :, :0] for states in (key_states, value_states)], 0)
            length, total = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
            if self._room[0].shape[-2] < total:
                space = (0, 0, 0, total - length + CACHE_TOKENS)
                self._room = [torch.nn.functional.pad(states, space) for states in (self.keys, self.values)]
            for room, new in zip(self._room, (key_states, value_states), strict=True):
                room[:, :, length:total] = new
            self._show(self._room, total)
            return self.keys, self.values

        def keep(self, rows: torch.Tensor, prompts: torch.Tensor) -> None:
            self.prompt_keys, self.prompt_values = self.prompt_keys[prompts], self.prompt_values[prompts]
            if self._room:
                self._show([room[rows] for room in self._room], self.keys.shape[-2])

        def _show(self, room: list[torch.Tensor], length: int) -> None:
            self._room = room
            self.keys, self.values = (states[:, :, :length] for states in room)

    return GrowingLayer()


# -- gradients --------------------------------------------------------------------------------------------------------


def number_prompts(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(rows,) numbers from 0: the same where (rows, tokens) prompts and their masks are the same."""
    found: torch.Tensor = torch.unique(torch.cat([ids, mask.to(ids.dtype)], dim=1), dim=0, return_inverse=True)[1]
    return found


def shares_prompts(model: Any) -> bool:
    """Whether `forward_with_shared_prompts` may stand for `model`: its cache holds all of a prompt, and nothing is recomputed."""
    return plain_attention(model) and not getattr(model, "is_gradient_checkpointing", False)


def forward_with_shared_prompts(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, **others: Any
) -> Any:
    """As `model(...)` for (rows, tokens) of left-padded prompts and then completions of `logits_to_keep - 1` tokens: an output
    whose `logits` are (rows, logits_to_keep, vocabulary), and the same gradient up to rounding.

    A prompt that stands in several rows is read once; its keys and values are repeated, and their gradients add up.
    """
    from transformers import DynamicCache

    width = input_ids.shape[1] - logits_to_keep + 1
    prompt_of_row = number_prompts(input_ids[:, :width], attention_mask[:, :width])
    count = int(prompt_of_row.max()) + 1
    if count == len(input_ids) or others.keys() - {"use_cache"}:
        return model(input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=logits_to_keep, **others)
    rows = torch.arange(len(prompt_of_row), device=input_ids.device)
    first = torch.zeros(count, dtype=torch.long, device=input_ids.device).scatter(0, prompt_of_row, rows)  # any row that has it
    positions = (attention_mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    kept: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    ids, mask, places = (part[first, :width] for part in (input_ids, attention_mask, positions))
    before = model(input_ids=ids, attention_mask=mask, position_ids=places, logits_to_keep=1, **kept).logits
    # Not by cache.batch_select_indices or [prompt_of_row]: their gradients are added up by several threads in no fixed order.
    layers: list[Any] = list(cache.layers)
    for layer in layers:
        layer.keys, layer.values = (states.index_select(0, prompt_of_row) for states in (layer.keys, layer.values))
    output = model(input_ids=input_ids[:, width:], attention_mask=attention_mask, position_ids=positions[:, width:], **kept)
    output.logits = torch.cat([before.index_select(0, prompt_of_row), output.logits], dim=1)
    return output
