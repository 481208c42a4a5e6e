"""Answers from a model loaded here, for an evaluation or script/solve.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from grpo_project.evaluation.answers import Answer, Answerer, Question, Record
from grpo_project.models.generation import complete
from grpo_project.models.loading import Policy
from grpo_project.prompting import render_chat


def local_answerer(
    policy: Policy,
    max_new_tokens: int,
    batch_size: int,
    temperature: float,
    seed: int,
    wrote: Callable[[int], None] | None = None,
) -> Answerer:
    """Greedy questions first, then samples, in batches of up to `batch_size` completions; each answer is recorded as it ends, and
    `wrote` hears after every token how many answers it was written to.

    Which batches there are does not show in the answers, so that a continued evaluation ends where an unbroken one does. A
    question that leaves too little room in the model's context is refused, as a server would.
    """
    described = policy.model.config
    positions = getattr(getattr(described, "text_config", None) or described, "max_position_embeddings", None)

    def refusal(question: Question) -> str | None:
        if positions is None:
            return None
        text = render_chat(policy.tokenizer, question.turns, chat=policy.chat)
        tokens = len(policy.tokenizer(text, add_special_tokens=False)["input_ids"])
        if tokens + max_new_tokens <= positions:
            return None
        return f"{tokens} tokens and {max_new_tokens} new ones (--max_completion_length) do not fit a context of {positions}"

    def answer(questions: Sequence[Question], record: Record) -> None:
        # Samples of one prompt share its prefill, so questions that want the same sample numbers go together.
        wanted: dict[tuple[int, tuple[str, ...]], list[Question]] = defaultdict(list)
        for question in questions:
            if (refused := refusal(question)) is not None:
                record(question, Answer("", refused=refused))
                continue
            wanted[question.row_index, question.turns].append(question)
        groups: dict[tuple[int, ...], list[list[Question]]] = defaultdict(list)
        for own in wanted.values():
            greedy = [question for question in own if question.greedy]
            drawn = [question for question in own if not question.greedy]
            for part in filter(None, (greedy, drawn)):
                groups[tuple(question.sample for question in part)].append(part)
        for numbers in sorted(groups):
            members = groups[numbers]

            def keep(position: int, sample: int, found: Answer, members: list[list[Question]] = members) -> None:
                record(members[position][sample], found)

            complete(
                policy.model,
                policy.tokenizer,
                [part[0].turns for part in members],
                max_new_tokens,
                batch_size,
                temperature=None if members[0][0].greedy else temperature,
                samples=numbers,
                seed=seed,
                chat=policy.chat,
                on_answer=keep,
                wrote=wrote,
            )

    return answer
