"""A second, lenient reading of an answer: its last plan that stands there in one piece, whatever stands around it.

An answer that is a plan by the strict rules (plan.py) is read as that plan. Of every other one:

1. What stands before the last header of the answer's turn is an echo of the prompt; end-of-turn marks and closed reasoning go
   too. Reasoning that is never closed holds no plan.
2. The last code fence, <answer>, <plan> or [PLAN] block that holds a step of the domain is the plan. It must hold nothing else.
3. Without such a block, the last run of lines that are steps is the plan: `(pick a b)`, several of these, `pick(a, b)`, or
   `pick a b` where the domain has such an action with as many parameters; in any case, with a bullet, number or emphasis around.
   Blank lines and `;` comments do not end a run, prose does. Runs without any action of the domain (facts, say) are no plan.
4. A run that is not whole is a fault: the line next to it holds an action of the domain in brackets, begins with one (without
   brackets, where the run has such steps) behind blank lines, is cut off inside one, or goes on with its numbers; or the run
   begins with number 2 or more, behind another one. A step that cannot be read therefore fails the plan, as it does strictly,
   instead of vanishing from it.

What is read is always one plan as the answer has it, in its order, and never empty, so an answer earns what this plan alone
would: prose earns nothing, of several plans only the last counts, and what is wrong in it counts. Time and memory are linear in
the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from grpo_project.pddl.model import Step
from grpo_project.pddl.plan import (
    ANSWER_HEADER,
    MAXIMUM_CHARACTERS,
    WRAPPERS,
    extract_plan,
    render_plan,
    without_end_marks,
    without_reasoning,
)
from grpo_project.pddl.syntax import NAME
from grpo_project.pddl.task import Task

STRICT, LENIENT = "strict", "lenient"
PLAN_READINGS = (STRICT, LENIENT)
DROPPED = {
    "echoed_prompt": "the prompt, repeated",
    "form": "missing brackets and markdown",
    "plans": "plans before or beside the last one",
    "text": "text around the plan",
}

# A bullet or heading, a number, emphasis. Possessive throughout, so that nothing is tried twice.
MARK = r"\s*+(?:(?:[-*•>+]|#{1,6})\s++)?+[`*_]*+(?:(?:(?:step|action)\s++)?+\d++\s*+[.):][`*_]*+\s*+)?+[`*_]*+"
_END = r"\s*+[`*_]*+\s*+[.;,]?+[`*_]*+\s*+"
_STEP_LINE = re.compile(rf"{MARK}\(\s*+({NAME}(?:\s++{NAME})*+)\s*+\){_END}", re.ASCII | re.IGNORECASE)
_CALL_LINE = re.compile(rf"{MARK}({NAME})\s*+\(\s*+((?:{NAME}(?:\s*+,\s*+{NAME})*+)?+)\s*+\){_END}", re.ASCII | re.IGNORECASE)
_BARE_LINE = re.compile(rf"{MARK}({NAME}(?:\s++{NAME})*+){_END}", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[\s\-*•>+#`_]*+(?:(?:step|action)\s++)?+(\d++)\s*+[.):]", re.ASCII | re.IGNORECASE)
_FIRST_WORD = re.compile(rf"{MARK}(\(?+)\s*+((?:{NAME})?+)", re.ASCII | re.IGNORECASE)
_IN_BRACKETS = re.compile(rf"\(\s*+({NAME})", re.ASCII)
_FENCE = "fence"
_MARKED = [marks for kind, marks in WRAPPERS.items() if kind != "(plan"]  # that one is a line, or lines around a run
_BLOCK_MARK = re.compile(
    rf"(?P<{_FENCE}>```(?:[^\S\n]*+[\w.+\-]*+[^\S\n]*+\n)?+)|"
    + "|".join(f"(?P<open{i}>{opening})|(?P<close{i}>{closing})" for i, (opening, closing) in enumerate(_MARKED)),
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class LenientReading:
    """`text`: what the verifier reads instead of the answer; the answer itself where that is a plan or no plan is found in it.

    dropped: sorted names, in DROPPED, of what was left out or written otherwise; () where the text is the answer.
    """

    text: str
    dropped: tuple[str, ...] = ()


class _Run(NamedTuple):
    """Lines first..last (without prose in between), their steps, and whether one of these is an action of the domain."""

    first: int
    last: int
    steps: list[Step]
    known: bool


def read_leniently(task: Task, text: str) -> LenientReading:
    """The answer's plan by the rules of this module. Total: every string gives a LenientReading."""
    if len(text) > MAXIMUM_CHARACTERS or extract_plan(text).steps is not None:
        return LenientReading(text)
    headers = list(ANSWER_HEADER.finditer(text))
    body = without_reasoning(without_end_marks(text[headers[-1].end() :] if headers else text))
    echo = {"echoed_prompt"} if headers and text[: headers[-1].start()].strip() else set()
    if steps := extract_plan(body).steps:
        found = list(steps), set() if echo else {"text"}
    else:
        found = _of_blocks(task, body) or _of_runs(task, body.splitlines())
    plan = render_plan(found[0])
    if not plan or extract_plan(plan).steps is None:  # or it is too long
        return LenientReading(text)
    return LenientReading(plan, tuple(sorted(echo | found[1])))


def read_answer(task: Task, text: str, plan_reading: str) -> str:
    """What the verifier reads of an answer under one of PLAN_READINGS."""
    return read_leniently(task, text).text if plan_reading == LENIENT else text


def written_step(line: str) -> Step | None:
    """The step that a line is, written `(pick a b)`, `pick(a, b)` or `pick a b`, marks around it aside; None for other lines."""
    if match := _STEP_LINE.fullmatch(line) or _BARE_LINE.fullmatch(line):
        return tuple(match[1].lower().split())
    if match := _CALL_LINE.fullmatch(line):
        return (match[1].lower(), *re.findall(NAME, match[2].lower()))
    return None


def bracketed_step(line: str) -> Step | None:
    """The step that a line is, written `(pick a b)`, marks around it aside; None for other lines."""
    match = _STEP_LINE.fullmatch(line)
    return tuple(match[1].lower().split()) if match else None


def _of_blocks(task: Task, body: str) -> tuple[list[Step], set[str]] | None:
    """The steps of the last block with a step ([] where it is no plan), and what stands around it; None without such a block."""
    for start, inside, behind, end in sorted(_blocks(body), reverse=True):
        content = body[inside:behind]
        lines = content.splitlines()
        runs = _runs(task, lines)
        if not runs:
            continue
        steps = list(extract_plan(content).steps or ())
        dropped = set() if steps else {"form"}
        if not steps and len(runs) == 1 and all(_blank(line) for line in lines[: runs[0].first] + lines[runs[0].last + 1 :]):
            steps = runs[0].steps
        return steps, dropped | _around(task, [*body[:start].splitlines(), *body[end:].splitlines()])
    return None


def _blocks(body: str) -> Iterator[tuple[int, int, int, int]]:
    """Where each closed block and its content begin and end: (start, inside, behind, end)."""
    opened: dict[str, re.Match[str]] = {}
    for mark in _BLOCK_MARK.finditer(body):
        name = mark.lastgroup or ""
        kind = name.removeprefix("open").removeprefix("close")
        if kind in opened and not name.startswith("open"):
            opening = opened.pop(kind)
            yield opening.start(), opening.end(), mark.start(), mark.end()
        elif not name.startswith("close"):
            opened[kind] = mark


def _of_runs(task: Task, lines: Sequence[str]) -> tuple[list[Step], set[str]]:
    """The steps of the last run ([] where there is none, or it is not whole), and what stands around it."""
    runs = _runs(task, lines)
    if not runs or not _whole(task, lines, runs):
        return [], set()
    run = runs[-1]
    own = extract_plan("\n".join(lines[run.first : run.last + 1])).steps
    dropped = set() if own == tuple(run.steps) else {"form"}
    return run.steps, dropped | _around(task, [*lines[: run.first], *lines[run.last + 1 :]])


def _runs(task: Task, lines: Sequence[str]) -> list[_Run]:
    """The runs of lines that are steps, an action of the domain among them."""
    runs: list[_Run] = []
    going_on = False
    for number, line in enumerate(lines):
        if _blank(line):
            continue
        steps = _steps(task, line)
        known = any(step[0] in task.domain.actions for step in steps)
        if steps and going_on:
            run = runs[-1]
            run.steps.extend(steps)
            runs[-1] = run._replace(last=number, known=run.known or known)
        elif steps:
            runs.append(_Run(number, number, list(steps), known))
        going_on = bool(steps)
    return [run for run in runs if run.known]


def _steps(task: Task, line: str) -> Sequence[Step]:
    """The steps of a line that is nothing else; () for other lines."""
    step = written_step(line)
    if step is None:
        return extract_plan(line).steps or () if "(" in line else ()
    if "(" in line:
        return (step,)
    action = task.domain.actions.get(step[0])
    return (step,) if action is not None and len(action.parameters) == len(step) - 1 else ()


def _whole(task: Task, lines: Sequence[str], runs: Sequence[_Run]) -> bool:
    """Rule 4 for the last run."""
    run, actions = runs[-1], task.domain.actions
    own = [line for line in lines[run.first : run.last + 1] if not _blank(line)]
    number = _NUMBER.match(own[0])
    if number and int(number[1][:9]) > 1 and len(runs) > 1:
        return False
    before = next((i for i in range(run.first - 1, -1, -1) if not _blank(lines[i])), None)
    behind = next((i for i in range(run.last + 1, len(lines)) if not _blank(lines[i])), None)
    for place in (before, behind):
        if place is None:
            continue
        line, touches = lines[place], place in (run.first - 1, run.last + 1)
        if number and _NUMBER.match(line):
            return False
        if touches and any(name.lower() in actions for name in _IN_BRACKETS.findall(line)):
            return False
        first = _FIRST_WORD.match(line)
        bracket, word = (first[1], first[2].lower()) if first else ("", "")
        if bracket and ")" not in line and (place == run.last + 1 or any(name.startswith(word) for name in actions)):
            return False
        if word in actions and (bracket or any("(" not in one for one in own)):
            return False
    return True


def _around(task: Task, lines: Sequence[str]) -> set[str]:
    """What the lines that are left out hold."""
    found = {"plans"} if _runs(task, lines) else set()
    return found | ({"text"} if any(not _blank(line) and not _steps(task, line) for line in lines) else set())


def _blank(line: str) -> bool:
    """Neither step nor prose: an empty line or a comment."""
    return not line.strip() or line.lstrip().startswith(";")
