"""Completions of prompts by a loaded model: greedy or sampled, left-padded, batched by length.

Training randomness is never touched: greedy decoding draws nothing, and every sample has a random stream of its own, named by
seed, prompt and sample number, so that batches do not show in what is drawn (beyond the rounding of a device whose sums depend on
the batch). The model's train/eval mode is put back as it was found.

Two ways lead to the same tokens (a test holds them equal). On a CPU, with plain attention, a loop of our own (cpu_planner.py)
drops finished rows from the batch as it goes and runs one prefill for all samples of a prompt: for the shipped planner that is
half the time of `model.generate`. Everything else goes through `model.generate`, where Unsloth has its fast path. Measured on 2
cores, 0.9 M parameters, 800 prompts of 60-200 tokens, up to 128 new ones: batches of 64 took 8 s, of 128 9 s, of 256 10 s;
`generate` took 14 s with a dynamic cache (batch 64) and 13 s with a static one (batch 128).
With a large vocabulary and long answers, of which none ends early, it is no slower: 135 M random parameters in SmolLM2's shape, 4
prompts of 100 tokens, 256 new ones, one core: 32 and 33 s of its time, `generate` 34 and 35 s; drawn, 8 times 96 tokens: 16 and
17 s, both of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from grpo_project.common import ranks
from grpo_project.common.random_streams import stream
from grpo_project.errors import ModelError
from grpo_project.evaluation.answers import Answer
from grpo_project.models.cpu_planner import (
    Decoding,
    Watch,
    decode_in_a_loop,
    evaluating,
    left_padded,
    pick_tokens,
)
from grpo_project.models.memory import Architecture
from grpo_project.models.shared_prompts import plain_attention
from grpo_project.prompting import PLAIN_CHAT, ChatOptions, Prompt, render_chat, stop_tokens, turns_of

OnAnswer = Callable[[int, int, Answer], None]  # (position of the prompt, position of the sample number, the answer)
CACHE_BYTES = 8 * 2**30  # of keys and values; not measured at run time, so that the same command makes the same batches


def complete_greedy(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    max_new_tokens: int,
    batch_size: int = 64,
    chat: ChatOptions = PLAIN_CHAT,
) -> list[str]:
    """One completion per prompt, same order. `prompts` are user turns; the chat template is applied here, as `chat` says.

    A completion ends before the end-of-sequence token or after `max_new_tokens` (>= 1) tokens; special tokens are left out.
    Raises ValueError when a number is out of range.
    """
    chosen = complete(model, tokenizer, prompts, max_new_tokens, batch_size, chat=chat)
    return [completions[0].text for completions in chosen]


def complete(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    batch_size: int = 64,
    *,
    temperature: float | None = None,
    samples: Sequence[int] = (1,),
    seed: int = 0,
    chat: ChatOptions = PLAIN_CHAT,
    on_answer: OnAnswer | None = None,
    wrote: Callable[[int], None] | None = None,
) -> list[list[Answer]]:
    """One answer per prompt and sample number, in the order of `prompts`; temperature None: the most likely tokens.

    Texts are without special tokens, and the end of an answer is not counted among its tokens. `on_answer` gets each answer, with
    the positions of its prompt and sample number, as soon as it ends; `wrote` hears after every token how many completions
    it was written to. batch_size: completions at a time, at most; fewer where their cache would pass CACHE_BYTES.
    Raises ValueError when a number is out of range.
    """
    for name, number in (("max_new_tokens", max_new_tokens), ("batch_size", batch_size), ("num_samples", len(samples))):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if temperature is not None and not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}; without one the most likely tokens are taken")
    if not prompts:
        return []
    # The template has written every special token already; a second beginning-of-sequence would be one too many.
    turns = [render_chat(tokenizer, prompt, chat=chat) for prompt in prompts]
    encoded = tokenizer(turns, add_special_tokens=False)["input_ids"]
    # Longest first: a batch too large for memory fails at once, and not after an hour.
    order = sorted(range(len(encoded)), key=lambda index: (-len(encoded[index]), index))
    device = next(model.parameters()).device
    stop_ids = stop_tokens(model, tokenizer)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(stop_ids), 0)
    how = Decoding(max_new_tokens, pad_id, stop_ids, len(samples), temperature)
    decode = decode_in_a_loop if device.type == "cpu" and plain_attention(model) else _decode_with_generate
    batches = _Batches(tokenizer, chat, how, encoded, on_answer, wrote)
    # FSDP goes on using the parameters that it gathered from other processes, so they may be no inference tensors.
    without_gradients = torch.no_grad() if ranks.shards_parameters() else torch.inference_mode()
    with evaluating(model), without_gradients:
        while order:
            most = _completions_that_fit(model, len(encoded[order[0]]) + max_new_tokens, batch_size)
            chosen, order = order[: max(1, most // len(samples))], order[max(1, most // len(samples)) :]
            ids, mask = left_padded([encoded[index] for index in chosen], pad_id, device)
            draws = None
            if temperature is not None:
                streams = [stream(seed, "sampling", *turns_of(prompts[index]), number) for index in chosen for number in samples]
                draws = torch.tensor([[own.random() for _ in range(max_new_tokens)] for own in streams], dtype=torch.float64)
                draws = draws.to(device)
            batches.begin(chosen)
            batches.end(decode(model, ids, mask, how, draws, batches.watch))
    return [[batches.answers[index, number] for number in range(len(samples))] for index in range(len(prompts))]


class _Batches:
    """The answers of one batch after another, each handed on as it ends.

    An answer's seconds are its share: those of each token, divided among the completions that it was written to.
    """

    def __init__(
        self,
        tokenizer: Any,
        chat: ChatOptions,
        how: Decoding,
        encoded: Sequence[Sequence[int]],
        on_answer: OnAnswer | None,
        wrote: Callable[[int], None] | None,
    ) -> None:
        self.answers: dict[tuple[int, int], Answer] = {}  # by position of the prompt and of the sample number
        self._tokenizer, self._chat, self._how, self._encoded = tokenizer, chat, how, encoded
        self._on_answer, self._wrote = on_answer, wrote

    def begin(self, chosen: list[int]) -> None:
        """These prompts are answered next."""
        self._chosen, self._seconds, self._last = chosen, 0.0, time.perf_counter()

    def watch(self, writing: int, over: list[tuple[int, list[int]]]) -> None:
        """As Watch."""
        now = time.perf_counter()
        self._seconds, self._last = self._seconds + (now - self._last) / max(1, writing), now
        if self._wrote is not None:
            self._wrote(writing)
        for row, tokens in over:
            self._keep(row, tokens)

    def end(self, rows: Sequence[list[int]]) -> None:
        """All of them are there."""
        for row, tokens in enumerate(rows):
            if (self._chosen[row // self._how.samples], row % self._how.samples) not in self.answers:
                self._keep(row, tokens)

    def _keep(self, row: int, tokens: list[int]) -> None:
        index, number = self._chosen[row // self._how.samples], row % self._how.samples
        text = self._chat.whole_answer(self._tokenizer.decode(tokens, skip_special_tokens=True))
        cut_off = len(tokens) == self._how.max_new_tokens
        answer = Answer(text, len(self._encoded[index]), len(tokens), self._seconds, cut_off)
        self.answers[index, number] = answer
        if self._on_answer is not None:
            self._on_answer(index, number, answer)


def _completions_that_fit(model: Any, tokens: int, batch_size: int) -> int:
    """At most `batch_size` completions of so many tokens with their prompts, and no more than CACHE_BYTES hold."""
    try:
        each = Architecture.of(model.config.to_dict()).cache_bytes_per_token(max(2, next(model.parameters()).element_size()))
    except ModelError:  # a family whose sizes are not known
        return batch_size
    return max(1, min(batch_size, CACHE_BYTES // (each * tokens)))


def _decode_with_generate(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, how: Decoding, draws: torch.Tensor | None, watch: Watch
) -> list[list[int]]:
    """New tokens of each completion, up to and without the stop token; samples of a prompt stand together.

    draws: (completions, max_new_tokens) numbers in [0, 1), or None for greedy.
    """
    from transformers import LogitsProcessorList, StoppingCriteriaList

    processors: dict[str, Any] = {}
    if draws is not None:
        processors["logits_processor"] = LogitsProcessorList([_drawn_token(how.temperature, draws, ids.shape[1])])
    if how.samples > 1:
        ids, mask = (part.repeat_interleave(how.samples, dim=0) for part in (ids, mask))
    written = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=how.max_new_tokens,
        pad_token_id=how.pad_id,
        eos_token_id=how.stop_ids or None,
        repetition_penalty=1.0,  # some hub models ship another value, and greedy must mean the most likely token
        stopping_criteria=StoppingCriteriaList([_watching(watch, how.stop_ids, ids.shape[1])]),
        do_sample=False,  # what is drawn is drawn by the processor, which leaves one token possible
        **processors,
    )
    # Cut at the padded prompt length: every row of a batch begins its answer there.
    return [_until_stop(row, how.stop_ids) for row in written[:, ids.shape[1] :].tolist()]


def _watching(watch: Watch, stop_ids: list[int], prompt_length: int) -> Callable[..., torch.Tensor]:
    """A stopping criterion that stops nothing, and tells of every token."""
    ended: torch.Tensor | None = None

    def look(input_ids: torch.Tensor, scores: Any, **named: Any) -> torch.Tensor:
        nonlocal ended
        before = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device) if ended is None else ended
        ending = torch.isin(input_ids[:, -1], torch.tensor(stop_ids, dtype=torch.long, device=input_ids.device)) & ~before
        ended = before | ending
        over = ending.nonzero()[:, 0].tolist()
        watch(int((~before).sum()), [(row, input_ids[row, prompt_length:-1].tolist()) for row in over])
        return torch.zeros_like(before)

    return look


def _drawn_token(temperature: float | None, draws: torch.Tensor, prompt_length: int) -> Callable[..., torch.Tensor]:
    """A logits processor that leaves one token a row: the one that the row's draw for this position selects."""

    def choose(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        token = pick_tokens(scores, temperature, draws[:, input_ids.shape[1] - prompt_length])
        return torch.full_like(scores, float("-inf")).scatter_(1, token[:, None], 0.0)

    return choose


def _until_stop(row: list[int], stop_ids: list[int]) -> list[int]:
    return row[: next((place for place, token in enumerate(row) if token in stop_ids), None)]
