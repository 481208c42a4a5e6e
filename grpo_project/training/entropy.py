"""The entropy of answers, for a loss that computes none: Unsloth's. One forward pass of a few answers is what it costs."""

from __future__ import annotations

from typing import Any

from grpo_project.common.random_streams import stream
from grpo_project.errors import BackendMissing

ONE_IN = 8  # answers; a forward pass of all of them would cost about a tenth of a step


class EntropySample:
    """Which answers of a step are measured: all in the first `whole_steps` of a run, where answers without entropy stop it;
    later one in ONE_IN, drawn from `seed`. A continued run draws the same."""

    def __init__(self, seed: int, whole_steps: int = 0) -> None:
        self._seed = seed
        self._whole_steps = whole_steps
        self._step, self._seen = -1, 0

    def rows(self, step: int, count: int) -> list[int]:
        """Indices below `count`, the size of the next micro-batch; `step`: optimizer steps done. A step has at least one."""
        if step != self._step:
            self._step, self._seen = step, 0
        first, self._seen = self._seen, self._seen + count
        if step < self._whole_steps:
            return list(range(count))
        wanted = -(-self._seen // ONE_IN) + (-first // ONE_IN)  # both rounded up
        return sorted(stream("entropy", self._seed, step, first).sample(range(count), wanted))


def answer_entropies(model: Any, ids: Any, mask: Any, kept: int, temperature: float, vocabulary: int) -> Any:
    """(rows, kept) nats at `temperature`, 0 where `mask` is. `ids` and `mask`: (rows, tokens), whose last `kept` are the answers.

    Row by row and without padding: then neither memory nor the position of a token depends on the other rows.
    Raises BackendMissing where the model does not give logits over `vocabulary` tokens: Unsloth's can give other tensors.
    """
    import torch

    found = torch.zeros((len(ids), kept), device=ids.device)
    for row, there in enumerate(mask.bool()):
        answer = there[-kept:]
        length = int(answer.sum())
        if length == 0:  # --mask_truncated_completions took it out of the loss
            continue
        with torch.no_grad():
            output = model(input_ids=ids[row][there][None], use_cache=False, logits_to_keep=length + 1)
            logits = output.logits[0, -length - 1 : -1]
            if tuple(logits.shape) != (length, vocabulary):
                raise BackendMissing(
                    f"the model gave a tensor of {tuple(logits.shape)} for the logits of {length} tokens of {vocabulary}: "
                    "install the versions that requirements.txt pins"
                )
            log_probabilities = torch.log_softmax(logits.float() / temperature, dim=-1)
            found[row, answer] = -(log_probabilities.exp() * log_probabilities).sum(-1)
    return found
