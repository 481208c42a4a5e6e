"""Curricula by name: the built-in ones, and a function or a class in a user's file.

    --curriculum path/to/file.py:name

`name` is a weights function (step, max_steps) -> weights, or a class or function that is called with the CurriculumInputs, or
with nothing, and gives an object with the methods of base.Curriculum; schedules.BaseCurriculum has all of them but `weights`.
"""

from __future__ import annotations

import functools
import inspect
import json
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from grpo_project.common.user_code import file_of, is_user_code, load_function, what_failed
from grpo_project.curriculum.adaptive import AdaptiveCurriculum
from grpo_project.curriculum.base import Curriculum, EvaluationOutcome, GroupOutcome
from grpo_project.curriculum.frontier import FrontierCurriculum, LevelRows
from grpo_project.curriculum.manager import setup_fixed_curriculum_manager
from grpo_project.curriculum.schedules import Schedule, WeightsFunction, uniform
from grpo_project.errors import ConfigError

FLAG = "--curriculum"


@dataclass(frozen=True)
class CurriculumInputs:
    """What a curriculum may be made from. `bucket_rows`: {domain: {bucket: row indices}}. `weights_function`: that of `step`.

    `levels`: {domain: {bucket: {difficulty score: row indices}}}. `target_pass_rates`: {domain: in (0, 1)}, where one was set.
    """

    bucket_rows: Mapping[str, Mapping[str, Sequence[int]]]
    weights_function: WeightsFunction
    levels: LevelRows = field(default_factory=dict)
    target_pass_rates: Mapping[str, float] = field(default_factory=dict)


CurriculumFactory = Callable[[CurriculumInputs], Curriculum]

CURRICULA: Mapping[str, CurriculumFactory] = MappingProxyType(
    {
        "step": lambda inputs: Schedule("step", inputs.weights_function),
        "uniform": lambda inputs: uniform(inputs.bucket_rows),
        "stage": lambda inputs: setup_fixed_curriculum_manager(),
        "adaptive": lambda inputs: AdaptiveCurriculum(inputs.bucket_rows),
        "frontier": lambda inputs: FrontierCurriculum(inputs.levels, inputs.target_pass_rates),
    }
)
# What the protocol asks for, read off it.
PROTOCOL = (*Curriculum.__annotations__, *(name for name in vars(Curriculum) if not name.startswith("_")))


def make_curriculum(spec: str, inputs: CurriculumInputs) -> Curriculum:
    """The curriculum that `spec` names, at its start. One from a user's file has `spec` as its name.

    Raises ConfigError, in one line, for an unknown name and for a file, class or function that cannot be used.
    """
    if not is_user_code(spec):
        return _built_in(spec)(inputs)
    found = load_function(spec, FLAG)
    if _is_weights_function(found):
        return Schedule(spec, told_in_one_line(spec, found))
    return _made_by_user(spec, found, inputs)


def weights_function_of(spec: str, get_curriculum_weights: WeightsFunction) -> WeightsFunction | None:
    """The function (step, max_steps) -> weights that is all there is to the curriculum: `get_curriculum_weights` for step, the
    user's own for a weights function in a file; None for every other. Raises ConfigError as `make_curriculum` does."""
    if not is_user_code(spec):
        _built_in(spec)
        return get_curriculum_weights if spec == "step" else None
    found = load_function(spec, FLAG)
    return told_in_one_line(spec, found) if _is_weights_function(found) else None


def _built_in(name: str) -> CurriculumFactory:
    if name not in CURRICULA:
        raise ConfigError(f"{FLAG} must be one of {', '.join(CURRICULA)}, or path/to/file.py:name; got {name!r}")
    return CURRICULA[name]


def _takes(found: Callable[..., Any], *arguments: Any) -> bool:
    """Whether `found` can be called with so many arguments; also where it does not tell."""
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _is_weights_function(found: Callable[..., Any]) -> bool:
    return not isinstance(found, type) and _takes(found, 0, 1)


def _made_by_user(spec: str, make: Callable[..., Any], inputs: CurriculumInputs) -> Curriculum:
    arguments = next((given for given in ((inputs,), ()) if _takes(make, *given)), None)
    if arguments is None:
        raise ConfigError(
            f"{FLAG} {spec} takes neither (step, max_steps), as a weights function does, nor (inputs) or nothing, as a "
            "class or function that makes a curriculum does"
        )
    try:
        made = make(*arguments)
        missing = [name for name in PROTOCOL if name != "name" and not hasattr(made, name)]
    except (Exception, SystemExit) as error:  # a fault of the user's file, told in one line
        raise ConfigError(f"{FLAG} {spec} fails at its start: {what_failed(error, file_of(spec, FLAG))}") from error
    if missing:
        raise ConfigError(
            f"{FLAG} {spec} gives {type(made).__name__} without {', '.join(missing)}: derive it from "
            "grpo_project.curriculum.schedules.BaseCurriculum, or let it take (step, max_steps) and return weights"
        )
    users = UsersCurriculum(spec, made)
    users.state_dict()  # asked now, and not at the first checkpoint
    return users


def told_in_one_line(spec: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's `function`; whatever it raises becomes a ConfigError that names `spec`, the call and the line of its file."""
    file = file_of(spec, FLAG) if is_user_code(spec) else None

    @functools.wraps(function)
    def told(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:
            when = f" at step {arguments[0]}" if arguments and isinstance(arguments[0], int) else ""
            raise ConfigError(f"{FLAG} {spec}: {function.__name__}{when} raised {what_failed(error, file)}") from error

    return told


class UsersCurriculum:
    """A user's curriculum, `made`, under the name of its `spec`: a fault of any of its methods ends in one line that names it."""

    def __init__(self, spec: str, made: Any) -> None:
        made.name = self.name = spec
        self.made = made
        self.uses_groups, self.uses_evaluations = bool(made.uses_groups), bool(made.uses_evaluations)

    def _ask(self, method: str, *arguments: Any) -> Any:
        return told_in_one_line(self.name, getattr(self.made, method))(*arguments)

    def weights(self, step: int, max_steps: int) -> Mapping[str, Any]:
        return self._ask("weights", step, max_steps)  # type: ignore[no-any-return]

    def observe_groups(self, groups: Sequence[GroupOutcome]) -> None:
        self._ask("observe_groups", groups)

    def observe_evaluation(self, outcome: EvaluationOutcome) -> None:
        self._ask("observe_evaluation", outcome)

    def observe_collapse(self, domain: str) -> None:
        self._ask("observe_collapse", domain)

    def metrics(self) -> dict[str, Any]:
        found = self._ask("metrics")
        if not isinstance(found, Mapping):
            raise ConfigError(f"{FLAG} {self.name}: metrics gives {reprlib.repr(found)}; return a dict")
        return dict(found)

    def state_dict(self) -> dict[str, Any]:
        """As the user's class gives it. Raises ConfigError where JSON would not give it back."""
        state = self._ask("state_dict")
        try:
            exact = json.loads(json.dumps(state, allow_nan=False)) == state
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{FLAG} {self.name}: state_dict gives {reprlib.repr(state)}, which is no JSON: {error}") from None
        if not exact:
            shown = reprlib.repr(state)
            raise ConfigError(f"{FLAG} {self.name}: state_dict gives {shown}, which JSON changes: use lists and text keys")
        return state  # type: ignore[no-any-return]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._ask("load_state_dict", state)
