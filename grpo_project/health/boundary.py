"""Where a prompt ends and its answer begins, read from the tokens themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_project.pddl.plan import END_OF_TURN
from grpo_project.prompting.chat import PLAIN_CHAT, PROBE, ChatOptions, opening, render_chat

SLACK = 8  # tokens: where two parts of a template meet, text can be cut into tokens in several ways
SHORTEST_ECHO = 8  # tokens of the prompt's end at the start of an answer, where the template has no opening to know it by


@dataclass(frozen=True)
class Answer:
    """One completion as it is trained on. `prompt` is without its `padding`; `tokens` are those under the completion mask."""

    domain: str
    prompt: tuple[int, ...]
    padding: int
    tokens: tuple[int, ...]
    advantage: float


class Boundary:
    """What stands where the prompt ends and the answer begins. `ends`: the tokens that end a turn."""

    def __init__(self, tokenizer: Any, ends: Iterable[int], chat: ChatOptions = PLAIN_CHAT) -> None:
        self._tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab()
        self.ends = frozenset(ends) | {vocabulary[mark] for mark in END_OF_TURN if mark in vocabulary}
        self.opening = opening(tokenizer, chat)
        asked = tokenizer(render_chat(tokenizer, PROBE, chat=chat), add_special_tokens=False)["input_ids"]
        if not self.text(asked).endswith(self.opening):
            self.opening = ""  # this tokenizer does not give back what it was given, so text says nothing of its prompts
        self._width = len(tokenizer(self.opening, add_special_tokens=False)["input_ids"]) if self.opening else 0

    def text(self, tokens: Sequence[int]) -> str:
        """With special tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def count_ends(self, tokens: Iterable[int]) -> Counter[str]:
        """The tokens that end a turn, by name."""
        return Counter(str(self._tokenizer.convert_ids_to_tokens(token)) for token in tokens if token in self.ends)

    def tell_ends(self, tokens: Iterable[int]) -> str:
        """`1个<eos>`, in the guide's words."""
        found = self.count_ends(tokens) or Counter({str(self._tokenizer.eos_token): 0})
        return ", ".join(f"{count}个{name}" for name, count in found.items())

    def opens(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt ends as the chat template opens an answer."""
        return not self.opening or self.text(prompt[-(self._width + SLACK) :]).endswith(self.opening)

    def leaks(self, answer: Answer) -> bool:
        """Whether the answer begins with the chat header, or with a piece of the prompt up to its end."""
        header = self.opening.strip()
        if header and self.text(answer.tokens[: self._width + SLACK]).lstrip().startswith(header):
            return True
        prompt, tokens = answer.prompt, answer.tokens
        shortest = self._width or SHORTEST_ECHO
        return any(
            token == prompt[-1] and size >= shortest and tokens[:size] == prompt[-size:]
            for size, token in enumerate(tokens[: len(prompt)], 1)
        )
