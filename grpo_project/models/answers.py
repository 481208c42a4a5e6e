"""Answers from a model loaded here, for an evaluation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from grpo_project.evaluation.answers import Answer, Answerer, Question, Record
from grpo_project.models.generation import complete
from grpo_project.models.loading import Policy


def local_answerer(policy: Policy, max_new_tokens: int, batch_size: int, temperature: float, seed: int) -> Answerer:
    """Greedy questions first, then samples, in batches of `batch_size` completions; each batch is recorded when it is done.

    Which batches there are does not show in the answers, so that a continued evaluation ends where an unbroken one does.
    """

    def answer(questions: Sequence[Question], record: Record) -> None:
        # Samples of one prompt share its prefill, so questions that want the same sample numbers go together.
        wanted: dict[int, list[Question]] = defaultdict(list)
        for question in questions:
            wanted[question.row_index].append(question)
        groups: dict[tuple[int, ...], list[list[Question]]] = defaultdict(list)
        for own in wanted.values():
            greedy = [question for question in own if question.greedy]
            drawn = [question for question in own if not question.greedy]
            for part in filter(None, (greedy, drawn)):
                groups[tuple(question.sample for question in part)].append(part)
        for numbers in sorted(groups):
            members = groups[numbers]

            def keep(chosen: list[int], batch: list[list[Answer]], members: list[list[Question]] = members) -> None:
                for position, answers in zip(chosen, batch, strict=True):
                    for question, found in zip(members[position], answers, strict=True):
                        record(question, found)

            complete(
                policy.model,
                policy.tokenizer,
                [part[0].prompt for part in members],
                max_new_tokens,
                batch_size,
                temperature=None if members[0][0].greedy else temperature,
                samples=numbers,
                seed=seed,
                chat=policy.chat,
                on_batch=keep,
            )

    return answer
