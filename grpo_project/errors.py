"""Every error of ours. The message is one line that says what was found, where, and what to do.

GrpoProjectError
+- PddlError             a PDDL text is at fault; knows source, line, column and shows the line
|  +- PddlSyntaxError    brackets or tokens
|  +- PddlSemanticError  an undeclared name, a wrong type or arity, a duplicate
|  +- UnsupportedFeature valid PDDL that this suite refuses by name
+- ConfigError           a setting is out of range or contradicts another
+- DataError             a data root, a row or a data file is at fault
+- RunExists             an output folder holds another run
+- BackendMissing        a package or a device that the chosen way needs is not there
+- ValFailed             VAL crashed, was too slow, or cannot read what the builtin validator reads
+- ModelError            a model folder or hub name cannot be loaded
+- MemoryShort           the memory of a GPU ran out
+- RewardError           a user's reward function raised, or returned what is no reward

A wrong answer of a language model is a Verdict, never one of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_LONG_WORD = re.compile(r"(\S{200})\S{300,}")  # such as a damaged file has; no path is longer
_LONGEST, _END = 1800, 400  # characters of a message, and of its end, which says what to do


class GrpoProjectError(Exception):
    """Base of the tree: scripts print the message without a traceback and exit with status 2. Text without end is cut."""

    def __init__(self, message: object = "") -> None:
        text = _LONG_WORD.sub(r"\1...", str(message))
        super().__init__(text if len(text) <= _LONGEST else f"{text[: _LONGEST - _END]} ... {text[-_END:]}")


class PddlError(GrpoProjectError):
    """A PDDL text is at fault. `line` and `column` count from 1; 0 means unknown."""

    def __init__(self, message: str, source: str = "<text>", line: int = 0, column: int = 0, line_text: str = "") -> None:
        self.source = source
        self.line = line
        self.column = column
        self.line_text = line_text
        where = f"{source}:{line}:{column}" if line else source
        shown = f" in: {line_text.strip()[:120]}" if line_text.strip() else ""
        super().__init__(f"{where}: {message}{shown}")


class PddlSyntaxError(PddlError):
    """Brackets or tokens do not form PDDL."""


class PddlSemanticError(PddlError):
    """The text is well formed but names something undeclared, or with the wrong type or arity."""


class UnsupportedFeature(PddlError):
    """Valid PDDL that this suite does not decide; refused by name instead of guessed at."""


class ConfigError(GrpoProjectError, ValueError):
    """A setting is out of range or contradicts another."""


class DataError(GrpoProjectError):
    """A data root, a row or a data file is at fault."""


class RunExists(GrpoProjectError):
    """An output folder already holds a run."""


class BackendMissing(GrpoProjectError):
    """A package or device that the chosen way of training needs is not there."""


class ValFailed(GrpoProjectError):
    """VAL gives no verdict on a plan whose steps the builtin validator can read: a failure of VAL, and not one of the plan.

    `files`: name to text, all that it takes to see it again.
    """

    def __init__(self, message: str, files: Mapping[str, str]) -> None:
        super().__init__(message)
        self.files = files


class ModelError(GrpoProjectError):
    """A model folder or hub name cannot be loaded."""


class MemoryShort(GrpoProjectError):
    """The memory of a GPU ran out; the message says what would need less."""


class RewardError(GrpoProjectError):
    """A user's reward function raised, or returned something else than one finite number for each completion."""


def first_line(error: BaseException, longest: int = 300) -> str:
    """What another library's error says, for a message of one line: its first line with words, or its type's name."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:longest]


def printable(text: str) -> str:
    """With a ? for every sign of another's text that a terminal would obey instead of showing it."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
