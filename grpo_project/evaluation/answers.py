"""Questions and answers of an evaluation, and the journal from which a killed one goes on.

A question is one completion to be had: sample 0 is the greedy one, 1..N are drawn at a temperature. Whoever answers (a local
model, an endpoint, the planner) is a function `(questions, record) -> None` that calls `record(question, answer)` once for each.
A server may refuse a question for good, because it is too long for it: that is counted, and is no plan. What follows from an
answer, such as the verifier's words on it, is a question too, one turn later in the same conversation.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from grpo_project.common.files import append_json_line, json_value, read_lines
from grpo_project.errors import DataError, GrpoProjectError

GREEDY = 0
TOO_LONG, FILTERED, OTHERWISE = "too long for its context", "stopped by its content filter", "otherwise"
UNFINISHED, ONLY_REASONING = "at the limit before any word", "only reasoning"
# What servers call it: OpenAI, vLLM, SGLang, llama.cpp, Mistral, Gemini, Anthropic, TGI; Azure and OpenAI for filters.
_REASONS = {
    TOO_LONG: re.compile(
        r"HTTP 413|context(?! deadline| cancel)|prompt is too long|longer than the maximum|input token|`inputs` tokens",
        re.IGNORECASE,
    ),
    FILTERED: re.compile(r"content.?(filter|management|policy)|moderation", re.IGNORECASE),
    UNFINISHED: re.compile("finish_reason length"),
    ONLY_REASONING: re.compile(ONLY_REASONING),
}
# A server that has answered none of so many questions lacks something that they have in common.
REFUSED_IN_VAIN = 10


class AllRefused(GrpoProjectError):
    """The server answered none of the questions that it was asked, so nothing was measured."""


def reason_in(words: str) -> str:
    """Why there is no answer, from a server's words: TOO_LONG, FILTERED, UNFINISHED, ONLY_REASONING or OTHERWISE."""
    return next((reason for reason, known in _REASONS.items() if known.search(words)), OTHERWISE)


class Key(NamedTuple):
    """Which answer: of the row with this index, the sample of this number, after so many earlier answers of its conversation."""

    row_index: int
    sample: int = GREEDY
    turn: int = 0


@dataclass(frozen=True)
class Question:
    """`row_index` in the table, `sample` number (GREEDY or 1..N), and the user turn.

    earlier: the turns since, in a conversation: answer, the user's reply to it, answer, reply, ...
    turn: how many answers the question follows from, whether or not it shows them.
    """

    row_index: int
    sample: int
    prompt: str
    earlier: tuple[str, ...] = ()
    turn: int = 0

    @property
    def greedy(self) -> bool:
        return self.sample == GREEDY

    @property
    def turns(self) -> tuple[str, ...]:
        """What is asked: the user's turn first, the user's turn last."""
        return (self.prompt, *self.earlier)

    @property
    def key(self) -> Key:
        return Key(self.row_index, self.sample, self.turn)

    def followed_by(self, answer: str, reply: str) -> Question:
        """The next question of the conversation: this one was answered so, and the user replies."""
        return replace(self, earlier=(*self.earlier, answer, reply), turn=self.turn + 1)

    def asked_anew(self, prompt: str) -> Question:
        """The next question, which shows nothing of this one."""
        return replace(self, prompt=prompt, earlier=(), turn=self.turn + 1)


@dataclass(frozen=True)
class Answer:
    """A completion. `seconds`: how long it took; in a batch, its share. `cut_off`: it ended at the limit on tokens.

    Token counts and `cut_off` are None where they are unknown. `refused`: why there is no answer, and will be none: the words in
    which a server refused the question for good, or how it ended without any; else None.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    cut_off: bool | None = None
    refused: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why there is no answer, in one of the words of `reason_in`; None where there is one."""
        return None if self.refused is None else reason_in(self.refused)


Record = Callable[[Question, Answer], None]
Answerer = Callable[[Sequence[Question], Record], None]
FollowUp = Callable[[Question, Answer], Question | None]


class Answers:
    """What was answered, by key; kept as long as the process runs."""

    def __init__(self) -> None:
        self.answers: dict[Key, Answer] = {}

    def add(self, question: Question, answer: Answer) -> None:
        self.answers[question.key] = answer


def ask(
    questions: Sequence[Question],
    answerer: Answerer,
    known: Answers | None = None,
    follow_up: FollowUp = lambda question, answer: None,
) -> dict[Key, Answer]:
    """Every answer by its key. Those that are known are not asked for again; new ones become known at once.

    follow_up: the question that follows from an answer, or None. The answerer gets all questions of one turn together.

    Raises ValueError where the answerer leaves one out; AllRefused where a server answers none, or none of the first
    REFUSED_IN_VAIN for another reason than its context or filter.
    """
    known = known or Answers()
    answers = known.answers
    held: list[tuple[Question, Answer]] = []  # refusals, until something is answered: they may all come from a wrong setting

    def record(question: Question, answer: Answer) -> None:
        held.append((question, answer))
        if answer.refused is not None and not answers:
            if sum(one.refusal not in (TOO_LONG, FILTERED) for _, one in held) >= REFUSED_IN_VAIN:
                raise _all_refused(held)
            return
        for each, found in held:
            known.add(each, found)
        held.clear()

    found: dict[Key, Answer] = {}
    turn = list(questions)
    while turn:
        left = [question for question in turn if question.key not in answers]
        if left:
            answerer(left, record)
        if held:
            raise _all_refused(held)
        missing = sum(question.key not in answers for question in turn)
        if missing:
            raise ValueError(f"{missing} of {len(turn)} questions got no answer")
        found |= {question.key: answers[question.key] for question in turn}
        next_turn = (follow_up(question, answers[question.key]) for question in turn)
        turn = [question for question in next_turn if question is not None]
    return found


def _all_refused(held: Sequence[tuple[Question, Answer]]) -> AllRefused:
    return AllRefused(
        f"the server answered none of the first {len(held)} requests ({held[-1][1].refused}). Nothing was measured: see --model, "
        "--max_completion_length and --request_fields"
    )


class Journal(Answers):
    """Answers on disk as they come: a first line with the settings, then a line an answer. A context manager.

    A journal belongs to one process at a time and to one evaluation. Raises DataError where it is in use, was begun with other
    settings, or holds what is no answer; a torn last line is dropped.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.path = path
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no file that a journal can be kept in; name another")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = open(path, "a+", encoding="utf-8")  # held as long as the journal
        try:
            self._take()
            self._read(json.loads(json.dumps(settings)))  # as it would come back from disk
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.close()

    def add(self, question: Question, answer: Answer) -> None:
        """Writes one answer and hands it to the operating system."""
        append_json_line(self.path, {**question.key._asdict(), **asdict(answer)})
        super().add(question, answer)

    def remove(self) -> None:
        """Deletes the journal: its answers are in the result now."""
        self.path.unlink(missing_ok=True)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(f"{self.path} is in use by another process; wait for it, or name another file") from None

    def _read(self, settings: Mapping[str, Any]) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):  # killed while it wrote its last line
            self._lock.truncate(len(whole))
        lines = read_lines(self.path)
        if not lines:
            append_json_line(self.path, {"settings": settings})
            return
        found = _settings_of(lines[0])
        if found is None:
            raise DataError(f"{self.path} is no journal of answers; name another file")
        for key in sorted({*found, *settings}):
            if found.get(key) != settings.get(key):
                was, now = found.get(key), settings.get(key)
                raise DataError(
                    f"{self.path} holds answers of an evaluation with {key} = {was!r}, now it is {now!r}: repeat the old command "
                    "line to go on, delete the file to begin anew, or name another file"
                )
        for number, line in enumerate(lines[1:], 2):
            try:
                entry = json_value(line)
                # A journal from before conversations has no turns.
                answered = Key(entry.pop("row_index"), entry.pop("sample"), entry.pop("turn", 0))
                self.answers[answered] = Answer(**entry)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise DataError(f"{self.path}:{number}: no answer of an evaluation; delete the file to begin anew") from error


def _settings_of(line: bytes) -> dict[str, Any] | None:
    try:
        settings = json_value(line)["settings"]
    except (ValueError, TypeError, KeyError):
        return None
    return settings if isinstance(settings, dict) else None
