"""Looser ways to read a plan out of an answer, to find out what a strict reading costs.

They are for diagnosis. A reward under a loose reading pays for what stands around the plan, and a policy finds that out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from grpo_project.pddl import Task
from grpo_project.pddl.model import Step
from grpo_project.pddl.plan import open_reasoning, without_reasoning
from grpo_project.prompting import render_plan

_NAME = r"[A-Za-z][\w\-]*"
_MARK = r"\s*(?:[-*•>]\s+)?(?:(?:step\s+)?\d+\s*[.):]\s*)?[`*_]*"  # a bullet, a number, emphasis
_END = r"[`*_]*\s*[.;,]?\s*"
_STEP_LINE = re.compile(rf"{_MARK}\(\s*({_NAME}(?:\s+{_NAME})*)\s*\){_END}", re.ASCII | re.IGNORECASE)
_CALL_LINE = re.compile(rf"{_MARK}({_NAME})\s*\(\s*({_NAME}(?:\s*,\s*{_NAME})*)?\s*\){_END}", re.ASCII | re.IGNORECASE)
_BARE_LINE = re.compile(rf"{_MARK}({_NAME}(?:\s+{_NAME})*){_END}", re.ASCII | re.IGNORECASE)
_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_ACTION = re.compile(rf"\(\s*({_NAME})")


class Reading(NamedTuple):
    """`what` it forgives, and the text that the verifier then reads."""

    what: str
    read: Callable[[Task, str], str]


def step_lines(text: str) -> list[Step]:
    """The lines that are one step each, with a bullet or number in front at most; all others are left out."""
    found = (_STEP_LINE.fullmatch(line) for line in text.splitlines())
    return [tuple(match[1].lower().split()) for match in found if match]


def _strict(task: Task, text: str) -> str:
    return text


def _step_lines(task: Task, text: str) -> str:
    return render_plan(step_lines(without_reasoning(text)))


def _last_fence(task: Task, text: str) -> str:
    blocks = _FENCE.findall(without_reasoning(text))
    return blocks[-1] if blocks else text


def _whole_steps(task: Task, text: str) -> str:
    return text[: text.rfind(")") + 1]


def _known_names(task: Task, text: str) -> str:
    return _ACTION.sub(lambda match: f"({_known(task, match[1])}", text)


def _no_brackets(task: Task, text: str) -> str:
    """Lines `pickup b1` and `pickup(b1)`; a line counts where it begins with an action of the domain."""
    steps = []
    for line in without_reasoning(text).splitlines():
        if match := _STEP_LINE.fullmatch(line) or _BARE_LINE.fullmatch(line):
            words = match[1].lower().split()
        elif match := _CALL_LINE.fullmatch(line):
            words = [match[1].lower(), *re.findall(_NAME, (match[2] or "").lower())]
        else:
            continue
        if words[0] in task.domain.actions:
            steps.append(tuple(words))
    return render_plan(steps)


def _inside_reasoning(task: Task, text: str) -> str:
    return render_plan(step_lines(text)) if open_reasoning(text) else text


def _loosest(task: Task, text: str) -> str:
    if open_reasoning(text):
        text = _inside_reasoning(task, text)
    lines = without_reasoning(text).splitlines()
    renamed = (re.sub(rf"^({_MARK}\(?\s*)({_NAME})", lambda m: m[1] + _known(task, m[2]), line, flags=re.I) for line in lines)
    return _no_brackets(task, "\n".join(renamed))


def _known(task: Task, name: str) -> str:
    """The one action whose name is the same but for case, - and _; the name as it is where there is none."""
    plain = re.sub(r"[-_]", "", name.lower())
    same = [action for action in task.domain.actions if re.sub(r"[-_]", "", action) == plain]
    return same[0] if len(same) == 1 else name


READINGS = {
    "strict": Reading("as the reward reads it", _strict),
    "last_fence": Reading("text around the last code fence", _last_fence),
    "step_lines": Reading("lines that are no step", _step_lines),
    "whole_steps": Reading("what stands behind the last whole step", _whole_steps),
    "known_names": Reading("case, - and _ in the names of actions", _known_names),
    "no_brackets": Reading("missing brackets, and lines that are no step", _no_brackets),
    "inside_reasoning": Reading("reasoning that is never closed: its steps are the plan", _inside_reasoning),
    "loosest": Reading("all of these", _loosest),
}
