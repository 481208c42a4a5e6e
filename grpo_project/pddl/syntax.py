"""Text to nested lists, with positions. Iterative, so that depth is bounded by a clear message and not by Python's stack."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import NoReturn, Union

from grpo_project.errors import PddlError, PddlSyntaxError

# Formulas are walked recursively after this point; real PDDL nests below 20.
MAXIMUM_NESTING = 100

# What VAL can read in a plan: of objects, constants and actions, other names are refused.
NAME = r"[A-Za-z_][A-Za-z0-9_\-]*+"
IS_NAME = re.compile(NAME).fullmatch
_LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}
_TOKEN = re.compile(r";[^\r\n]*|[()]|[^\s();]+")


@dataclass(slots=True)  # not frozen: one is made for every word of a problem, and that would take three times as long
class Symbol:
    """One word, lower case (PDDL is case-insensitive), and its offset in the text."""

    text: str
    offset: int


@dataclass(slots=True)
class Group:
    """A bracketed list and the offset of its opening bracket."""

    items: tuple[Node, ...]
    offset: int

    @property
    def head(self) -> str:
        """The first word, or "" where the list is empty or begins with a list."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Symbol) else ""


Node = Union[Symbol, Group]


class Source:
    """A text and its name, able to say where an offset lies."""

    def __init__(self, text: str, name: str = "<text>") -> None:
        self.text = text.removeprefix("\ufeff")  # a byte order mark
        self.name = name

    def fail(self, offset: int, message: str, kind: type[PddlError] = PddlSyntaxError) -> NoReturn:
        """Raises `kind` with line and column (both from 1) and the line itself."""
        line = self.text.count("\n", 0, offset) + 1
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        line_text = self.text[start : end if end >= 0 else len(self.text)]
        raise kind(message, self.name, line, offset - start + 1, line_text)


def read_group(source: Source) -> Group:
    """The one top-level bracketed list of a PDDL file. Raises PddlSyntaxError with the position of the fault."""
    stack: list[tuple[int, list[Node]]] = []
    result: Group | None = None
    # Lower case at once. A few letters (the Turkish I with a dot) grow by it, which would move every offset behind them.
    lowered = source.text.lower()
    text = lowered if len(lowered) == len(source.text) else source.text.translate(_LOWER)
    for match in _TOKEN.finditer(text):
        token, offset = match.group(), match.start()
        if token[0] == ";":
            continue
        if token[0] == "#":
            source.fail(offset, f"'{token[:40]}' is no name: a comment begins with ; in PDDL")
        if result is not None:
            if token == ")":  # published domains carry surplus closing brackets at their end, and VAL reads them
                continue
            source.fail(offset, f"'{token[:40]}' stands after the end of the definition")
        if token == "(":
            if len(stack) >= MAXIMUM_NESTING:
                source.fail(offset, f"brackets nest deeper than {MAXIMUM_NESTING} levels")
            stack.append((offset, []))
        elif token == ")":
            if not stack:
                source.fail(offset, "a closing bracket without an opening one")
            start, items = stack.pop()
            group = Group(tuple(items), start)
            if stack:
                stack[-1][1].append(group)
            else:
                result = group
        elif not stack:
            source.fail(offset, f"expected '(define ...', found '{token[:40]}'")
        else:
            stack[-1][1].append(Symbol(token, offset))
    if stack:
        source.fail(stack[-1][0], "this bracket is never closed")
    if result is None:
        source.fail(0, "the text holds no definition")
    return result
