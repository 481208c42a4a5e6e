"""Completions of prompts by a loaded model: greedy or sampled, left-padded, batched by length.

Training randomness is never touched: greedy decoding draws nothing, and every sample has a random stream of its own, named by
seed, prompt and sample number, so that batches do not show in what is drawn (beyond the rounding of a device whose sums depend on
the batch). The model's train/eval mode is put back as it was found.

Two ways lead to the same tokens (a test holds them equal). On a CPU, with plain attention, a loop of our own (cpu_planner.py)
drops finished rows from the batch as it goes and runs one prefill for all samples of a prompt: for the shipped planner that is
half the time of `model.generate`. Everything else goes through `model.generate`, where Unsloth has its fast path. Measured on 2
cores, 0.9 M parameters, 800 prompts of 60-200 tokens, up to 128 new ones: batches of 64 took 8 s, of 128 9 s, of 256 10 s;
`generate` took 14 s with a dynamic cache (batch 64) and 13 s with a static one (batch 128).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from grpo_project.common import ranks
from grpo_project.common.random_streams import stream
from grpo_project.evaluation.answers import Answer
from grpo_project.models.cpu_planner import Decoding, decode_in_a_loop, evaluating, left_padded, pick_tokens, plain_attention
from grpo_project.prompting import PLAIN_CHAT, ChatOptions, Prompt, render_chat, stop_tokens, turns_of

Progress = Callable[[int, int], None]  # (completions done, completions in all)


def complete_greedy(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    max_new_tokens: int,
    batch_size: int = 64,
    progress: Progress | None = None,
    chat: ChatOptions = PLAIN_CHAT,
) -> list[str]:
    """One completion per prompt, same order. `prompts` are user turns; the chat template is applied here, as `chat` says.

    A completion ends before the end-of-sequence token or after `max_new_tokens` (>= 1) tokens; special tokens are left out.
    Raises ValueError when a number is out of range.
    """
    chosen = complete(model, tokenizer, prompts, max_new_tokens, batch_size, progress, chat=chat)
    return [completions[0].text for completions in chosen]


def complete(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    batch_size: int = 64,
    progress: Progress | None = None,
    *,
    temperature: float | None = None,
    samples: Sequence[int] = (1,),
    seed: int = 0,
    chat: ChatOptions = PLAIN_CHAT,
    on_batch: Callable[[list[int], list[list[Answer]]], None] | None = None,
) -> list[list[Answer]]:
    """One answer per prompt and sample number, in the order of `prompts`; temperature None: the most likely tokens.

    Texts are without special tokens, and the end of an answer is not counted among its tokens. `on_batch` gets the prompts'
    positions and their answers as soon as a batch is done. Raises ValueError when a number is out of range.
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
    completions: list[list[Answer]] = [[] for _ in prompts]
    prompts_per_batch = max(1, batch_size // len(samples))
    total = len(prompts) * len(samples)
    # FSDP goes on using the parameters that it gathered from other processes, so they may be no inference tensors.
    without_gradients = torch.no_grad() if ranks.shards_parameters() else torch.inference_mode()
    with evaluating(model), without_gradients:
        for start in range(0, len(order), prompts_per_batch):
            chosen = order[start : start + prompts_per_batch]
            ids, mask = left_padded([encoded[index] for index in chosen], pad_id, device)
            draws = None
            if temperature is not None:
                streams = [stream(seed, "sampling", *turns_of(prompts[index]), number) for index in chosen for number in samples]
                draws = torch.tensor([[own.random() for _ in range(max_new_tokens)] for own in streams], dtype=torch.float64)
                draws = draws.to(device)
            began = time.perf_counter()
            rows = decode(model, ids, mask, how, draws)
            texts = [chat.whole_answer(text) for text in tokenizer.batch_decode(rows, skip_special_tokens=True)]
            seconds = (time.perf_counter() - began) / len(rows)
            for position, index in enumerate(chosen):
                own_rows = range(position * len(samples), (position + 1) * len(samples))
                completions[index] = [
                    Answer(texts[row], len(encoded[index]), len(rows[row]), seconds, len(rows[row]) == max_new_tokens)
                    for row in own_rows
                ]
            if on_batch is not None:
                on_batch(chosen, [completions[index] for index in chosen])
            if progress is not None:
                progress(min(total, (start + len(chosen)) * len(samples)), total)
    return completions


def _decode_with_generate(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, how: Decoding, draws: torch.Tensor | None
) -> list[list[int]]:
    """New tokens of each completion, up to and without the stop token; samples of a prompt stand together.

    draws: (completions, max_new_tokens) numbers in [0, 1), or None for greedy.
    """
    processors: dict[str, Any] = {}
    if draws is not None:
        from transformers import LogitsProcessorList

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
        do_sample=False,  # what is drawn is drawn by the processor, which leaves one token possible
        **processors,
    )
    # Cut at the padded prompt length: every row of a batch begins its answer there.
    return [_until_stop(row, how.stop_ids) for row in written[:, ids.shape[1] :].tolist()]


def _drawn_token(temperature: float | None, draws: torch.Tensor, prompt_length: int) -> Callable[..., torch.Tensor]:
    """A logits processor that leaves one token a row: the one that the row's draw for this position selects."""

    def choose(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        token = pick_tokens(scores, temperature, draws[:, input_ids.shape[1] - prompt_length])
        return torch.full_like(scores, float("-inf")).scatter_(1, token[:, None], 0.0)

    return choose


def _until_stop(row: list[int], stop_ids: list[int]) -> list[int]:
    return row[: next((place for place, token in enumerate(row) if token in stop_ids), None)]
