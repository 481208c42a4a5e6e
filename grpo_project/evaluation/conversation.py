"""A conversation of attempts and verdicts: an answer that fails goes back with the verifier's words, as often as is wanted.

Evaluation, script/solve.py and training share its words; for the first two it gives a `follow_up` of `answers.ask`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grpo_project.errors import ConfigError
from grpo_project.evaluation.answers import Answer, Question
from grpo_project.pddl import Task, validate_text
from grpo_project.pddl.explanation import DETAILS
from grpo_project.pddl.lenient import STRICT, read_answer
from grpo_project.pddl.plan import without_reasoning
from grpo_project.prompting import PROMPT_STYLES, render_failure

# Where an answer was nothing but reasoning: some servers refuse an empty turn.
NO_WORDS = "..."


@dataclass(frozen=True)
class Repair:
    """What follows from an answer: a question with the verdict in words, while the plan fails and `turns` are left.

    task: the task of a row index. detail: how much of the verdict is told, one of DETAILS. drawn: whether drawn answers are
    repaired as well as the greedy one. plan_reading: how an answer is read, one of PLAN_READINGS. prompt_style: of the question,
    and so of the words.
    A refused question ends its conversation. Raises ConfigError for what cannot be.
    """

    task: Callable[[int], Task]
    turns: int
    detail: str = DETAILS[-1]
    drawn: bool = True
    plan_reading: str = STRICT
    prompt_style: str = PROMPT_STYLES[0]

    def __post_init__(self) -> None:
        if self.turns < 0:
            raise ConfigError(f"--repair_turns must be at least 0, got {self.turns}")
        if self.detail not in DETAILS:
            raise ConfigError(f"--repair_detail must be one of {', '.join(DETAILS)}, got {self.detail!r}")

    def __call__(self, question: Question, answer: Answer) -> Question | None:
        if question.turn >= self.turns or answer.refused is not None or not (question.greedy or self.drawn):
            return None
        words = words_on_failure(self.task(question.row_index), answer.text, self.detail, self.plan_reading, self.prompt_style)
        if words is None:
            return None
        # Reasoning does not go back: chat templates drop that of earlier turns too, and it would fill the context.
        return question.followed_by(without_reasoning(answer.text) or NO_WORDS, words)


def words_on_failure(task: Task, text: str, detail: str, plan_reading: str, prompt_style: str) -> str | None:
    """The user turn that answers `text`: what the verifier says of it, and what is wanted now; None where it succeeds.

    In the words of the prompt: a small planner knows no others.
    """
    read = read_answer(task, text, plan_reading)
    verdict = validate_text(task, read)
    return None if verdict.success else render_failure(task, read, verdict, detail, prompt_style)
