"""Looser ways to read a plan out of an answer, to find out what a strict reading costs.

They are for diagnosis. A reward under a loose reading pays for what stands around the plan, and a policy finds that out. The one
that is safe to be trained under is `lenient` (pddl/lenient.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from grpo_project.pddl import Task
from grpo_project.pddl.lenient import LENIENT, MARK, bracketed_step, read_answer, written_step
from grpo_project.pddl.model import Step
from grpo_project.pddl.plan import open_reasoning, render_plan, without_reasoning
from grpo_project.pddl.syntax import NAME

_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_ACTION = re.compile(rf"\(\s*({NAME})")


class Reading(NamedTuple):
    """`what` it forgives, and the text that the verifier then reads."""

    what: str
    read: Callable[[Task, str], str]


def step_lines(text: str) -> list[Step]:
    """The lines that are one step each, with a bullet or number in front at most; all others are left out."""
    return [step for line in text.splitlines() if (step := bracketed_step(line))]


def _strict(task: Task, text: str) -> str:
    return text


def _lenient(task: Task, text: str) -> str:
    return read_answer(task, text, LENIENT)


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
    steps = map(written_step, without_reasoning(text).splitlines())
    return render_plan(step for step in steps if step and step[0] in task.domain.actions)


def _inside_reasoning(task: Task, text: str) -> str:
    return render_plan(step_lines(text)) if open_reasoning(text) else text


def _loosest(task: Task, text: str) -> str:
    if open_reasoning(text):
        text = _inside_reasoning(task, text)
    lines = without_reasoning(text).splitlines()
    renamed = (re.sub(rf"^({MARK}\(?\s*)({NAME})", lambda m: m[1] + _known(task, m[2]), line, flags=re.I) for line in lines)
    return _no_brackets(task, "\n".join(renamed))


def _known(task: Task, name: str) -> str:
    """The one action whose name is the same but for case, - and _; the name as it is where there is none."""
    plain = re.sub(r"[-_]", "", name.lower())
    same = [action for action in task.domain.actions if re.sub(r"[-_]", "", action) == plain]
    return same[0] if len(same) == 1 else name


READINGS = {
    "strict": Reading("as the reward reads it", _strict),
    "lenient": Reading("what stands around the last plan in one piece, brackets, markdown", _lenient),
    "last_fence": Reading("text around the last code fence", _last_fence),
    "step_lines": Reading("lines that are no step", _step_lines),
    "whole_steps": Reading("what stands behind the last whole step", _whole_steps),
    "known_names": Reading("case, - and _ in the names of actions", _known_names),
    "no_brackets": Reading("missing brackets, and lines that are no step", _no_brackets),
    "inside_reasoning": Reading("reasoning that is never closed: its steps are the plan", _inside_reasoning),
    "loosest": Reading("all of these", _loosest),
}
