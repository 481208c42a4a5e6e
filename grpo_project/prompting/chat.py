"""A prompt and its answer as the model reads them: the one place that calls a chat template."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import cycle
from types import MappingProxyType
from typing import Any

from grpo_project.common.files import json_object
from grpo_project.errors import ConfigError, first_line
from grpo_project.pddl.plan import open_reasoning, reasoning_of

logger = logging.getLogger(__name__)

# What a call of apply_chat_template says itself, here and in TRL.
NOT_THE_TEMPLATES = frozenset(
    "conversation tools documents chat_template add_generation_prompt continue_final_message tokenize padding truncation "
    "max_length return_tensors return_dict return_assistant_tokens_mask tokenizer_kwargs".split()
)
PROBE, ANSWER = "(a problem to probe with)", "(an answer to probe with)"
CLOCK = "strftime_now"  # how transformers gives templates the time: a function of a format
STANDING_CLOCK = datetime(2024, 7, 26)  # what Llama 3's own template writes where it is given no clock

# Beside jinja2's own errors; the first for what it compiles to no Python, as a `break` outside of a loop.
_BY_TEMPLATES = (SyntaxError, AssertionError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError)

Prompt = str | Sequence[str]  # a user turn, or the turns of a conversation: user, assistant, user, ..., user


@dataclass(frozen=True)
class ChatOptions:
    """What stands around a prompt; None leaves it to the template. `chat_template_kwargs`: a JSON object, as text.

    What `fit_chat` finds out of a tokenizer's template: `system_in_user`, it has no system turn, so that text stands before the
    user's; `opened`, the tag of a reasoning block that prompts leave open, in which every answer begins; `closing`, the token of
    the next user turn, where nothing else ends an answer (GLM-4.5); `clock_stands`, it writes the date or time and is told one
    and the same, or a run would be another one tomorrow.
    Raises ConfigError for arguments that are no JSON object, or not the template's.
    """

    system_prompt: str | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: str | None = None
    system_in_user: bool = False
    opened: str = ""
    closing: str = ""
    clock_stands: bool = False
    arguments: Mapping[str, Any] = field(init=False, compare=False, repr=False)  # of the template

    def __post_init__(self) -> None:
        for name, kind in (("system_prompt", str), ("enable_thinking", bool), ("chat_template_kwargs", str)):
            value = getattr(self, name)
            if not isinstance(value, (kind, type(None))):  # of a model's card
                raise ConfigError(f"{name} must be {'text' if kind is str else 'true or false'}, got {value!r}")
        flag = "--chat_template_kwargs"
        arguments = json_object(self.chat_template_kwargs or "{}", flag)
        if "enable_thinking" in arguments:
            raise ConfigError(f"{flag} holds enable_thinking: say it with --enable_thinking")
        for name in sorted(NOT_THE_TEMPLATES & arguments.keys()):
            raise ConfigError(f"{flag} holds {name}, which is no argument of a template: leave it out")
        if self.enable_thinking is not None:
            arguments["enable_thinking"] = self.enable_thinking
        if self.clock_stands:
            arguments[CLOCK] = STANDING_CLOCK.strftime
        object.__setattr__(self, "arguments", MappingProxyType(arguments))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ChatOptions:
        """From settings by their names; what is missing is left to the template."""
        return cls(settings.get("system_prompt"), settings.get("enable_thinking"), settings.get("chat_template_kwargs"))

    def asked(self) -> dict[str, Any]:
        """The settings that are not left to the template, by name."""
        named = {name: getattr(self, name) for name in ("system_prompt", "enable_thinking", "chat_template_kwargs")}
        return {name: value for name, value in named.items() if value is not None}

    def whole_answer(self, text: str) -> str:
        """An answer with the tag that its prompt left open, without which its reasoning would be read as a plan."""
        return self.opened + text


PLAIN_CHAT = ChatOptions()


def to_messages(prompt: Prompt, response: str | None = None, chat: ChatOptions = PLAIN_CHAT) -> list[dict[str, str]]:
    """A system turn where `chat` has one, the turns of the prompt and, where there is a response, one assistant turn."""
    system = chat.system_prompt
    first, *later = turns_of(prompt)
    if chat.system_in_user:
        first, system = f"{system}\n\n{first}", None
    messages = [{"role": "system", "content": system}] if system is not None else []
    turns = [first, *later, *([response] if response is not None else [])]
    return messages + [{"role": role, "content": turn} for role, turn in zip(cycle(("user", "assistant")), turns, strict=False)]


def turns_of(prompt: Prompt) -> tuple[str, ...]:
    """The turns of a prompt, the user's first and last."""
    return (prompt,) if isinstance(prompt, str) else tuple(prompt)


def render_chat(tokenizer: Any, prompt: Prompt, response: str | None = None, chat: ChatOptions = PLAIN_CHAT) -> str:
    """The text that the model sees: the chat template, up to where the answer begins, or with the answer and its end.

    The second begins with the first, also where a template puts something before an answer only when it asks for one, as the
    empty reasoning block of a model that is not to think. Reasoning in an answer is kept as it is, where templates of models that
    think would take it out or write it otherwise.
    """
    asked = _apply(tokenizer, to_messages(prompt, None, chat), True, chat)
    if response is None:
        return asked
    if reasoning_of(response):
        behind = _apply(tokenizer, to_messages(prompt, ANSWER, chat), False, chat).rpartition(ANSWER)[2]
        return asked + response.removeprefix(chat.opened) + behind + chat.closing
    whole = _apply(tokenizer, to_messages(prompt, response, chat), False, chat)
    place = whole.rfind(response.strip())
    return (whole if whole.startswith(asked) or place < 0 else asked + whole[place:]) + chat.closing


def between_answers(tokenizer: Any, words: str, chat: ChatOptions = PLAIN_CHAT) -> str:
    """What stands between the end token of an answer and the next answer, where the user replies with `words`."""
    behind = render_chat(tokenizer, (PROBE, ANSWER, words), chat=chat).partition(ANSWER)[2]
    end = end_of_answer(tokenizer, chat)
    return behind.removeprefix("" if end is None else str(tokenizer.convert_ids_to_tokens(end)))


def end_of_answer(tokenizer: Any, chat: ChatOptions = PLAIN_CHAT) -> int | None:
    """The token of its own that the chat template writes behind an answer; None where it writes none."""
    return _first_token_of_its_own(tokenizer, render_chat(tokenizer, PROBE, ANSWER, chat).rpartition(ANSWER)[2])


def _first_token_of_its_own(tokenizer: Any, text: str) -> int | None:
    whole = {tokenizer.eos_token_id, *tokenizer.added_tokens_decoder}
    return next((token for token in tokenizer(text, add_special_tokens=False)["input_ids"] if token in whole), None)


def _closing(tokenizer: Any, chat: ChatOptions) -> str:
    """As in ChatOptions. Such a template's models stop where the user's turn would begin."""
    if _apply(tokenizer, to_messages(PROBE, ANSWER, chat), False, chat).rpartition(ANSWER)[2].strip():
        return ""
    conversation = _apply(tokenizer, to_messages((PROBE, ANSWER, PROBE), None, chat), False, chat)
    token = _first_token_of_its_own(tokenizer, conversation.partition(ANSWER)[2].partition(PROBE)[0])
    return "" if token is None else str(tokenizer.convert_ids_to_tokens(token))


def opening(tokenizer: Any, chat: ChatOptions = PLAIN_CHAT) -> str:
    """What the template puts between the user's turn and the answer; "" where it cannot be told apart."""
    asked, plain = (_apply(tokenizer, to_messages(PROBE, None, chat), asks, chat) for asks in (True, False))
    return asked[len(plain) :] if asked.startswith(plain) else ""


def fit_chat(tokenizer: Any, asked: ChatOptions) -> ChatOptions:
    """`asked` as this tokenizer's template can render it: without thinking, where it has the switch and nobody asked for it.

    Raises ConfigError for --enable_thinking where the template has no such switch, and for a template that fails or whose prompts
    and answers cannot be trained on (`_refuse_unsound`).
    """
    name = name_of_template(tokenizer)

    def shown(options: ChatOptions) -> str:
        return render_chat(tokenizer, PROBE, chat=options)

    def other_time(options: ChatOptions) -> str:
        later = replace(options, clock_stands=True)
        return _apply(
            tokenizer, to_messages(PROBE, None, later), True, later, STANDING_CLOCK.replace(2001, 2, 3, 4, 5, 6).strftime
        )

    chat = replace(asked, system_prompt=None)
    if shown(replace(chat, clock_stands=True)) != other_time(chat):
        chat = replace(chat, clock_stands=True)
        logger.warning("%s writes the time: it is told %s, always, so that prompts stay the same", name, STANDING_CLOCK.date())
    plain = shown(chat)
    thinking, without = (shown(replace(chat, enable_thinking=value)) for value in (True, False))
    given = json_object(chat.chat_template_kwargs or "{}", "--chat_template_kwargs")
    others = {name: json.dumps({key: value for key, value in given.items() if key != name}) for name in given}
    unread = [name for name in others if shown(replace(chat, chat_template_kwargs=others[name])) == plain]
    if thinking == without and asked.enable_thinking is not None:
        raise ConfigError(f"--enable_thinking: {name} has no such switch, its prompts are the same either way: leave it out")
    if unread:
        logger.warning("--chat_template_kwargs: %s makes the same prompts without %s", name, ", ".join(unread))
    if thinking != without and asked.enable_thinking is None:
        chat = replace(chat, enable_thinking=False)
    chat = replace(chat, closing=_closing(tokenizer, chat))
    _refuse_unsound(tokenizer, chat, name)
    chat = replace(chat, system_prompt=asked.system_prompt)
    if asked.system_prompt is not None:
        try:
            reason = "" if asked.system_prompt.strip() in shown(chat) else "it leaves it out"
        except ConfigError as error:
            reason = first_line(error.__cause__ or error)
        if reason:
            logger.warning("--system_prompt: %s takes no system turn (%s); the text stands before the user's", name, reason)
            chat = replace(chat, system_in_user=True)
    return replace(chat, opened=open_reasoning(opening(tokenizer, chat) or shown(chat)))


def name_of_template(tokenizer: Any) -> str:
    """For people."""
    return f"the chat template of {getattr(tokenizer, 'name_or_path', '') or 'the tokenizer'}"


def _refuse_unsound(tokenizer: Any, chat: ChatOptions, name: str) -> None:
    """Raises ConfigError unless a prompt holds the user's words, its answer follows where it ends, and a token ends that."""
    asked, plain = (_apply(tokenizer, to_messages(PROBE, None, chat), asks, chat) for asks in (True, False))
    before, answer, behind = _apply(tokenizer, to_messages(PROBE, ANSWER, chat), False, chat).rpartition(ANSWER)
    if PROBE not in asked:
        fault = "leaves out what the user says, as those do that take content as a list of parts: take one for plain text"
    elif not answer:
        fault = "leaves out what the assistant says, so that nothing could be learned: repair it"
    elif not before.startswith((asked, plain)) or PROBE not in before:
        fault = "writes a prompt otherwise once its answer follows: repair it"
    elif asked == plain and before.strip() != asked.strip():
        header = before[len(asked) :].strip()
        fault = f"ignores add_generation_prompt: a prompt ends without the {header!r} that stands before an answer: repair it"
    elif end_of_answer(tokenizer, chat) is None:
        fault = (
            f"ends an answer with {behind[:40]!r}, which is no token that could stop generation, so that every answer would run "
            f"on to its limit: let it write {tokenizer.eos_token} there"
        )
    else:
        return
    raise ConfigError(f"{name} {fault}, or take another model")


def _apply(tokenizer: Any, messages: list[dict[str, str]], asks: bool, chat: ChatOptions, clock: Any = None) -> str:
    """Raises ConfigError (one line) for a template that does not parse or fails."""
    from jinja2 import TemplateError

    arguments = {**chat.arguments, **({CLOCK: clock} if clock else {})}
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks, **arguments))
    except (TemplateError, *_BY_TEMPLATES) as error:
        name = name_of_template(tokenizer)
        raise ConfigError(f"{name} fails: {first_line(error)}. Repair it, or look at --chat_template_kwargs") from error
