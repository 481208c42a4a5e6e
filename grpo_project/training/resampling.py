"""--resample_zero_variance: a group whose rewards are all equal gives way to one of another problem, a bounded number of times.

The idea is DAPO's dynamic sampling (Yu et al. 2025, arXiv 2503.14476), with two differences. A group is replaced by one of the
same domain and bucket, so quotas stay exact; and what is still without variance after the last attempt stays in the batch.
The completions that are thrown away were paid for, and are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from grpo_project.common import ranks
from grpo_project.configs.settings import Settings
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.errors import ConfigError

EQUAL = 1e-6  # advantages of equal rewards differ by no more: their mean is rounded


class Resampler:
    """attempts: rounds of replacement per generation. `planner` knows rows, domains and buckets."""

    def __init__(self, attempts: int, planner: BatchPlanner, num_generations: int) -> None:
        self.attempts = attempts
        self._planner = planner
        self._group = num_generations

    def resample(
        self,
        generation: int,
        inputs: list[dict[str, Any]],
        outputs: dict[str, Any],
        generate: Callable[[list[dict[str, Any]]], dict[str, Any]],
        row: Callable[[int], dict[str, Any]],
        pad_token: int,
    ) -> tuple[dict[str, Any], float]:
        """(outputs with as many groups that teach something as could be had, share of groups replaced).

        `inputs`, `outputs`: what TRL scored, whole groups in order. `generate` scores further inputs; `row` gives the input
        of a row index. Draws rows from a stream named by seed, generation batch and attempt.
        """
        size = self._group
        rows = [int(item["row_index"]) for item in inputs[::size]]
        used = set(rows)
        replaced = 0
        for attempt in range(self.attempts):
            idle = [place for place, difference in enumerate(_ranges(outputs, size)) if difference <= EQUAL]
            others = self._planner.replacements(generation, attempt, [rows[place] for place in idle], used)
            pairs = [(place, index) for place, index in zip(idle, others, strict=True) if index is not None]
            if not pairs:
                break
            used.update(index for _, index in pairs)
            fresh = generate([row(index) for _, index in pairs for _ in range(size)])
            for number, difference in enumerate(_ranges(fresh, size)):
                if difference > EQUAL:
                    place, rows[pairs[number][0]] = pairs[number]
                    outputs = splice(outputs, fresh, place * size, number * size, size, pad_token)
                    replaced += 1
        return outputs, replaced / max(len(rows), 1)


def _ranges(outputs: Mapping[str, Any], size: int) -> list[float]:
    """Largest less smallest advantage of each group; 0, up to rounding, where its rewards were all equal."""
    groups = outputs["advantages"].view(-1, size)
    return [float(value) for value in groups.max(1).values - groups.min(1).values]


def splice(old: Mapping[str, Any], new: Mapping[str, Any], at: int, source: int, count: int, pad_token: int) -> dict[str, Any]:
    """`old` with its rows at..at+count-1 taken from rows source.. of `new`. Prompts are padded on the left, all else on the
    right; masks and log-probabilities with 0. `num_items_in_batch` is counted anew."""
    import torch

    total, among = old["completion_ids"].shape[0], new["completion_ids"].shape[0]
    spliced = dict(old)
    for name, value in old.items():
        if not (torch.is_tensor(value) and value.ndim and value.shape[0] == total and name in new):
            continue
        other = new[name]
        if other.shape[0] != among:
            continue
        if value.ndim == 2:
            width = max(value.shape[1], other.shape[1])
            filler = pad_token if name in ("prompt_ids", "completion_ids") else 0
            left = name in ("prompt_ids", "prompt_mask")
            value, other = (_padded(tensor, width, filler, left) for tensor in (value, other))
        spliced[name] = torch.cat([value[:at], other[source : source + count].to(value.dtype), value[at + count :]])
    if "num_items_in_batch" in old:
        spliced["num_items_in_batch"] = spliced["completion_mask"].sum()
    return spliced


def _padded(tensor: Any, width: int, filler: int, left: bool) -> Any:
    import torch

    missing = width - tensor.shape[1]
    return torch.nn.functional.pad(tensor, (missing, 0) if left else (0, missing), value=filler)


def resampler(config: Settings, planner: BatchPlanner) -> Resampler | None:
    """What --resample_zero_variance asks for; None without it. Raises ConfigError with several processes."""
    attempts = config.resample_zero_variance
    if attempts and ranks.world_size() > 1:
        raise ConfigError("--resample_zero_variance works with one process; --skip_zero_variance works with several")
    return Resampler(attempts, planner, config.num_generations) if attempts else None
