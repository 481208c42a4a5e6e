"""Sampling penalties that count the answer and never the prompt. All are off unless asked for.

The repetition penalty of transformers counts prompt tokens: every name in the problem would be penalised before the plan begins,
and the end token, which no prompt repeats, would gain by comparison. Presence and frequency penalties it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from grpo_project.configs.rules import not_neutral
from grpo_project.configs.settings import Settings


class AnswerPenalties(LogitsProcessor):
    """Lowers the logits of tokens that a row's answer already holds, before the temperature. For one call of `generate`.

    A token that is there n > 0 times: its logit is divided by `repetition` where positive and multiplied where negative, then
    loses `presence` + n x `frequency`. Whatever stands before the first call is the prompt, with its padding.
    """

    def __init__(self, repetition: float, presence: float, frequency: float) -> None:
        self._repetition, self._presence, self._frequency = repetition, presence, frequency
        self._prompt_width: int | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """input_ids (rows, tokens so far), scores (rows, vocabulary) -> new scores of the same shape."""
        if self._prompt_width is None:
            self._prompt_width = input_ids.shape[1]
        answer = input_ids[:, self._prompt_width :]
        counts = torch.zeros_like(scores).scatter_add_(1, answer, torch.ones_like(answer, dtype=scores.dtype))
        repeated = torch.where(scores > 0, scores / self._repetition, scores * self._repetition)
        penalised = repeated - self._presence - self._frequency * counts
        return torch.where(counts > 0, penalised, scores)  # type: ignore[return-value]


def penalties_of(config: Settings) -> Callable[[], AnswerPenalties] | None:
    """Makes a fresh processor for every call of `generate`; None where every penalty is neutral."""
    values = (config.repetition_penalty, config.presence_penalty, config.frequency_penalty)
    return None if values == (1.0, 0.0, 0.0) else lambda: AnswerPenalties(*values)


@contextmanager
def penalised(model: Any, make: Callable[[], AnswerPenalties]) -> Iterator[None]:
    """Inside, `model.generate` samples under the penalties: TRL has no argument to hand a logits processor through."""
    own = model.__dict__.get("generate")  # Unsloth sets one on the instance
    generate = model.generate
    model.generate = lambda *args, **kwargs: generate(*args, logits_processor=LogitsProcessorList([make()]), **kwargs)
    try:
        yield
    finally:
        if own is None:
            del model.generate
        else:
            model.generate = own


def off_policy_warning(config: Settings) -> str | None:
    """What to know before sampling from another distribution than the one that is trained; None where that is not so."""
    flags = not_neutral(config)
    if not flags:
        return None
    what = f"{', '.join(flags)}: completions are no longer drawn from the policy whose log-probabilities are trained"
    if config.use_vllm or config.fast_inference:
        return (
            f"{what}. TRL weighs each by how much likelier that policy finds it (vllm_importance_sampling_correction); what is "
            "never drawn stays unseen all the same"
        )
    return (
        f"{what}, so the gradient is biased. TRL's importance correction (vllm_importance_sampling_correction) applies to vLLM "
        "generation only (--use_vllm), not here; --temperature explores without this bias"
    )
