"""The reward function in TRL's calling convention. Plain Python: a fault of ours raises, it never becomes a reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import mul
from typing import Any, NamedTuple, Protocol

from grpo_project.configs.reward import RewardConfig
from grpo_project.pddl import Task, Verdict, validate_text
from grpo_project.prompting import PLAIN_CHAT, ChatOptions
from grpo_project.prompting.content import content_text
from grpo_project.rewards.registry import NamedReward, preset_reward
from grpo_project.rewards.score import succeeded
from grpo_project.rewards.verifier import Verifier


class TaskTable(Protocol):
    """What the reward needs of a row table: the compiled task of row i. `rows` is read only for users' functions."""

    @property
    def rows(self) -> Sequence[Any]: ...

    def task(self, row_index: int) -> Task: ...


class ScoredCompletion(NamedTuple):
    """A completion for row `row_index`: `rewards` has each reward's value by name, `total` is their weighted sum, less the price
    of the repairs. `text`: its last answer; `turn`: how many repairs came before that."""

    row_index: int
    text: str
    verdict: Verdict
    total: float
    rewards: Mapping[str, float]
    turn: int = 0

    @property
    def success(self) -> bool:
        """By the verdict, whatever the rewards are."""
        return succeeded(self.verdict)


# Columns that rollouts of several turns bring along (training/repair.py).
LAST_ANSWER, TURN = "last_answer", "turn"
VERDICTS_REMEMBERED = 16_384  # a group repeats its answers more and more as a policy sharpens

Observer = Callable[[list[ScoredCompletion]], None]


def completion_text(completion: str | Sequence[dict[str, Any]]) -> str:
    """TRL hands over a string, or, for conversational prompts, a list of messages; the assistant's text either way.

    Raises TypeError for content that is no text.
    """
    if isinstance(completion, str):
        return completion
    return "".join(content_text(message.get("content")) for message in completion)


def make_reward_function(
    table: TaskTable,
    rewards: Sequence[NamedReward] | RewardConfig,
    observer: Observer | None = None,
    verify: Verifier = validate_text,
    chat: ChatOptions = PLAIN_CHAT,
    repair_price: float = 0.0,
) -> Callable[..., list[float]]:
    """A function (prompts, completions, **columns) -> one total per completion, same order: the weighted sum of `rewards`.

    One preset of weight 1 gives totals in [-1, 1]. The problem of each completion is found by the `row_index` column. `observer`
    sees every scored batch, for logging. `verify` gives the verdict on a raw answer; its answers are remembered. `chat`: what
    stood around the prompts. Of a conversation the last answer counts, less `repair_price` for every repair before it.
    Raises KeyError without that column, ValueError where its length differs, and RewardError for a user's function that fails.
    """
    named = (preset_reward(rewards),) if isinstance(rewards, RewardConfig) else tuple(rewards)
    if not named or len({reward.name for reward in named}) < len(named):
        raise ValueError(f"one reward or more, each of its own name; got {[reward.name for reward in named]}")
    names, weights = [reward.name for reward in named], [reward.weight for reward in named]
    only_presets = all(reward.is_preset for reward in named)

    @lru_cache(VERDICTS_REMEMBERED)
    def verdict_of(row_index: int, text: str) -> Verdict:
        return verify(table.task(row_index), text)

    def planning_reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        indices = [int(row_index) for row_index in columns["row_index"]]
        if len(indices) != len(completions):
            raise ValueError(f"{len(completions)} completions came with {len(indices)} row indices")
        if LAST_ANSWER in columns:
            completions = [[{"role": "assistant", "content": text}] for text in columns.pop(LAST_ANSWER)]
        turns = columns.get(TURN, [0] * len(indices))
        texts = [chat.whole_answer(completion_text(completion)) for completion in completions]
        verdicts = [verdict_of(row_index, text) for row_index, text in zip(indices, texts, strict=True)]
        columns |= {"row_index": indices, "verdict": verdicts}
        if not only_presets:
            rows = [table.rows[row_index] for row_index in indices]
            columns |= {"scenario": [row.scenario for row in rows], "problem_file": [row.problem_file for row in rows]}
        # One tuple for each completion: its value under every reward.
        values = list(zip(*(reward.values(prompts, completions, **columns) for reward in named), strict=True))
        totals = [sum(map(mul, weights, own)) - repair_price * turn for own, turn in zip(values, turns, strict=True)]
        if observer is not None:
            by_name = [dict(zip(names, own, strict=True)) for own in values]
            observer(list(map(ScoredCompletion, indices, texts, verdicts, totals, by_name, turns)))
        return totals

    return planning_reward
