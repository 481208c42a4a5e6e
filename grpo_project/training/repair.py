"""--repair_turns: a completion that fails goes back with the verifier's words, and the whole conversation is one rollout.

A completion is then answer, verdict, answer, ... in one row of tokens. What the verifier says is under `env_mask`, TRL's mask of
tokens that the model only heard: they enter no loss, no advantage and no count of completion tokens. The reward is that of the
last plan, less a price for every repair.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_project.configs.settings import Settings
from grpo_project.evaluation.conversation import words_on_failure
from grpo_project.pddl import Task
from grpo_project.prompting import ChatOptions
from grpo_project.prompting.chat import between_answers
from grpo_project.rewards.trl import LAST_ANSWER, TURN


@dataclass(frozen=True)
class RepairTurns:
    """TRL's `rollout_func`. task: of a row index. turns: most repairs of a completion, at least 1. detail: how much of a verdict
    is told, one of DETAILS. limit: tokens of a completion, all its answers and what was heard between them together.
    prompt_style: of the prompts, and so of the words."""

    task: Callable[[int], Task]
    turns: int
    detail: str
    plan_reading: str
    chat: ChatOptions
    limit: int
    prompt_style: str

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """Of each prompt its ids, those of its conversation, the mask of what the model wrote, its last answer as text and how
        many repairs came before that. A conversation ends with a plan that succeeds, after the last turn, with an answer that
        was cut off, and where the next verdict would leave no token for an answer."""
        rows, ends = trainer.rows_in_generation, frozenset(trainer.eos_token_ids)
        asked = trainer._tokenize_prompts(prompts)[0]
        written = [list(ids) for ids in trainer.answers(asked, trainer.num_generations)]
        masks = [[1] * len(ids) for ids in written]
        last = [self._text(trainer, ids) for ids in written]
        turn_of = [0] * len(written)
        for turn in range(1, self.turns + 1):
            heard = {
                index: self._feedback(trainer, rows[index], last[index])
                for index, before in enumerate(turn_of)
                if before == turn - 1 and written[index][-1] in ends
            }
            going = {index: words for index, words in heard.items() if words and len(written[index]) + len(words) < self.limit}
            if not going:
                break
            so_far = [asked[index] + written[index] + words for index, words in going.items()]
            for (index, words), answer in zip(going.items(), trainer.answers(so_far, 1), strict=True):
                answer = list(answer)[: self.limit - len(written[index]) - len(words)]
                written[index] += words + answer
                masks[index] += [0] * len(words) + [1] * len(answer)
                last[index], turn_of[index] = self._text(trainer, answer), turn
        found = {"prompt_ids": asked, "completion_ids": written, "logprobs": None}
        return found | {"env_mask": masks, LAST_ANSWER: last, TURN: turn_of}

    @staticmethod
    def _text(trainer: Any, ids: list[int]) -> str:
        return str(trainer.processing_class.decode(ids, skip_special_tokens=True))

    def _feedback(self, trainer: Any, row_index: int, answer: str) -> list[int]:
        """What stands between a failed answer and the next; [] behind one that succeeds."""
        text = self.chat.whole_answer(answer)
        words = words_on_failure(self.task(row_index), text, self.detail, self.plan_reading, self.prompt_style)
        return [] if words is None else list(_ids(trainer.processing_class, words, self.chat))


@functools.lru_cache(4096)
def _ids(tokenizer: Any, words: str, chat: ChatOptions) -> tuple[int, ...]:
    return tuple(tokenizer(between_answers(tokenizer, words, chat), add_special_tokens=False)["input_ids"])


def repair_turns(config: Settings, task: Callable[[int], Task], chat: ChatOptions, style: str) -> RepairTurns | None:
    """What --repair_turns asks for; None without it. style: that of the prompts."""
    if not config.repair_turns:
        return None
    limit = config.max_completion_length
    return RepairTurns(task, config.repair_turns, config.repair_detail, config.plan_reading, chat, limit, style)
