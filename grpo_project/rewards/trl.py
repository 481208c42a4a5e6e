"""The reward function in TRL's calling convention. Plain Python: a fault of ours raises, it never becomes a reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from grpo_project.configs.reward import RewardConfig
from grpo_project.pddl import Task, Verdict, validate_text
from grpo_project.rewards.score import RewardParts, score


class TaskTable(Protocol):
    """What the reward needs of a row table: the compiled task of row i."""

    def task(self, row_index: int) -> Task: ...


@dataclass(frozen=True)
class ScoredCompletion:
    row_index: int
    text: str
    verdict: Verdict
    parts: RewardParts


VERDICTS_REMEMBERED = 16_384  # a group repeats its answers more and more as a policy sharpens

Observer = Callable[[list[ScoredCompletion]], None]
Judge = Callable[[Task, str], Verdict]


def completion_text(completion: str | Sequence[dict[str, Any]]) -> str:
    """TRL hands over a string, or, for conversational prompts, a list of messages; the assistant's text either way."""
    if isinstance(completion, str):
        return completion
    return "".join(str(message.get("content") or "") for message in completion)


def make_reward_function(
    table: TaskTable, config: RewardConfig, observer: Observer | None = None, judge: Judge = validate_text
) -> Callable[..., list[float]]:
    """A function (prompts, completions, **columns) -> one reward in [-1, 1] per completion, same order.

    The problem of each completion is found by the `row_index` column. `observer` sees every scored batch, for logging.
    `judge` gives the verdict on a raw answer; its answers are remembered.
    Raises KeyError without that column and ValueError where its length differs.
    """

    @lru_cache(VERDICTS_REMEMBERED)
    def verdict_of(row_index: int, text: str) -> Verdict:
        return judge(table.task(row_index), text)

    def planning_reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        indices = columns["row_index"]
        if len(indices) != len(completions):
            raise ValueError(f"{len(completions)} completions came with {len(indices)} row indices")
        scored = []
        for row_index, completion in zip(indices, completions, strict=True):
            text = completion_text(completion)
            verdict = verdict_of(int(row_index), text)
            scored.append(ScoredCompletion(int(row_index), text, verdict, score(verdict, config)))
        if observer is not None:
            observer(scored)
        return [item.parts.total for item in scored]

    return planning_reward
