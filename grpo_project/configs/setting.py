"""How one setting is declared: a dataclass field that is also a flag, an environment variable and a rule."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from dataclasses import Field, dataclass, field
from enum import Enum
from typing import Any

from grpo_project.errors import ConfigError

BUILT_IN = "built-in default"  # the source of a value that nobody gave
COMMAND_LINE = "command line"
CHECKPOINT = "the run being continued"


class OnResume(Enum):
    """What a continued run may do with a setting."""

    FIXED = "another value would make it another run: its batches, gradients, problems or verdicts would differ"
    FREE = "the checkpoint's value unless another one is given"
    PER_LAUNCH = "asked of one start of the program, never taken from a checkpoint"


FIXED, FREE, PER_LAUNCH = OnResume.FIXED, OnResume.FREE, OnResume.PER_LAUNCH
BY_CARD, NOT_BY_CARD = True, False  # whether the card of a model (planner.json) may propose a value

WHOLE_BELOW = 2**63  # what torch and numpy can count to

KINDS = {
    "str": "TEXT",
    "int": "N",
    "float": "X",
    "bool": "{true,false}",
    "tuple[str, ...]": "NAME",
}  # annotation -> placeholder in --help


@dataclass(frozen=True)
class Nature:
    """All that is known about a setting besides its name, type and default.

    A number lies in [least, most], or strictly beyond `above` and `below`; numbers are finite. `choices`: the only values;
    () where any will do. `flag`: where it is not --<name>. `path`: a folder or file, which may be written in several ways.
    """

    group: str
    on_resume: OnResume
    by_card: bool
    help: str
    choices: Sequence[str] = ()
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    flag: str = ""
    path: bool = False

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value, as the end of a sentence; None where nothing is."""
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if isinstance(value, int) and abs(value) >= WHOLE_BELOW:
            return f"must be below {WHOLE_BELOW}"
        inside = self.least <= value <= self.most and self.above < value < self.below
        return None if inside and math.isfinite(value) else f"must {self._range()}"

    def _range(self) -> str:
        low, high = max(self.least, self.above), min(self.most, self.below)
        if math.isinf(low) and math.isinf(high):
            return "be finite"
        if math.isinf(high):
            return f"be at least {low:g}" if self.least > self.above else f"be above {low:g}"
        brackets = "[" if self.least > self.above else "(", "]" if self.most < self.below else ")"
        return f"lie in {brackets[0]}{_whole(low)}, {_whole(high)}{brackets[1]}"


def _whole(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def setting(default: Any, group: str, on_resume: OnResume, by_card: bool, text: str, **more: Any) -> Any:
    """The field of one setting. Nobody may leave out what a continued run or a model's card may do with it; `more`: as Nature."""
    return field(default=default, metadata={"nature": Nature(group, on_resume, by_card, text, **more)})


def nature_of(spec: Field[Any]) -> Nature:
    """The nature of a field made by `setting`."""
    found: Nature = spec.metadata["nature"]
    return found


def kind_of(spec: Field[Any]) -> str:
    """str, int, float, bool or tuple[str, ...]: the field's type without its None."""
    return str(spec.type).removesuffix(" | None")


def true_or_false(text: str) -> bool:
    """The value of a switch written as text. Raises ValueError for another text."""
    found = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.strip().lower())
    if found is None:
        raise ValueError(text)
    return found


def placeholder(spec: Field[Any]) -> str:
    """What stands for the value in --help."""
    choices = nature_of(spec).choices
    return "{" + ",".join(choices) + "}" if choices else KINDS[kind_of(spec)]


def flag_of_field(spec: Field[Any]) -> str:
    """`--<name>` of a setting, or the flag that was given for it."""
    return nature_of(spec).flag or f"--{spec.name}"


def check_alone(spec: Field[Any], value: Any, source: str = "") -> None:
    """Raises ConfigError, naming flag, value and source, for a value that the setting's own declaration rules out."""
    fault = None if value is None and spec.default is None else nature_of(spec).fault(value)
    if fault is None and isinstance(value, str) and not value.strip() and spec.default != "":
        fault = "must not be empty"
    if fault is not None:
        where = f" (from {source})" if source not in ("", COMMAND_LINE, BUILT_IN) else ""
        shown = reprlib.repr(value) if isinstance(value, int) else repr(value)
        raise ConfigError(f"{flag_of_field(spec)} {fault}, got {shown}{where}")
