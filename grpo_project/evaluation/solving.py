"""Verified plans for problems from whoever answers: the greedy answer, its repairs, then drawn answers in doubling waves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from grpo_project.configs.reward import RewardConfig
from grpo_project.errors import GrpoProjectError
from grpo_project.evaluation.answers import Answer, Answerer, Answers, Key, Question, Record, ask
from grpo_project.evaluation.conversation import Repair
from grpo_project.evaluation.strategies import waves
from grpo_project.pddl import Task, Verdict, validate_text
from grpo_project.rewards.score import score


class OutOfTime(GrpoProjectError):
    """The time for all problems is over."""


@dataclass(frozen=True)
class Attempt:
    """An answer to one problem, and what the verifier says of it."""

    key: Key
    answer: Answer
    verdict: Verdict


def nearest(attempts: Sequence[Attempt]) -> Attempt | None:
    """The first that succeeds, else the first with the highest dense reward, refused ones last. None where there is none."""

    def merit(attempt: Attempt) -> tuple[bool, bool, float]:
        return attempt.verdict.success, attempt.answer.refused is None, score(attempt.verdict, RewardConfig()).total

    return max(attempts, key=merit, default=None)


def attempts_of(row_index: int, task: Task, answers: Mapping[Key, Answer]) -> list[Attempt]:
    """What was answered to a row, in the order of samples and turns."""
    own = sorted(key for key in answers if key.row_index == row_index)
    return [Attempt(key, answers[key], validate_text(task, answers[key].text)) for key in own]


def solve(
    prompts: Sequence[str],
    answerer: Answerer,
    repair: Repair,
    best_of: int,
    known: Answers,
    seconds: float = math.inf,
    on_wave: Callable[[int, int], None] = lambda left, questions: None,
    on_answer: Callable[[], None] = lambda: None,
) -> None:
    """Asks for up to `best_of` answers to every prompt, each repaired as `repair` says, until a plan of each is verified.

    Answers become known as they come, also where this raises: OutOfTime when `seconds` are over (no question is asked from then
    on; what is under way is waited for), or what the answerer raises. on_wave: before the questions of a turn are asked, how many
    problems are unsolved and how many questions there are; on_answer: after each answer.
    """
    end = time.monotonic() + seconds
    unsolved = set(range(len(prompts)))

    def timed(questions: Sequence[Question], record: Record) -> None:
        left = len(questions)

        def keep(question: Question, answer: Answer) -> None:
            nonlocal left
            record(question, answer)
            on_answer()
            left -= 1
            if left:
                check_time()

        check_time()
        on_wave(len(unsolved), left)
        answerer(questions, keep)

    def check_time() -> None:
        if time.monotonic() >= end:
            raise OutOfTime(f"the {seconds:g} seconds are over (--seconds)")

    for wave in waves(best_of):
        questions = [Question(index, sample, prompts[index]) for index in sorted(unsolved) for sample in wave]
        found = ask(questions, timed, known, repair)
        unsolved -= {
            key.row_index for key, answer in found.items() if validate_text(repair.task(key.row_index), answer.text).success
        }
        if not unsolved:
            return
