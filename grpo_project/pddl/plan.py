"""From raw model text to plan steps, or a format fault. Strict and total: never an exception, never a guess.

What is accepted: one or several steps "(name argument ...)" separated by white space; `;` comments to the end of the line;
a step number or time stamp before a step ("3.", "3:", "0.5:") and a duration after it ("[1]"); upper case; text inside one
closed <think> block before the answer; one code fence around the whole plan. Everything else is a format fault: prose is never
skipped, since VAL would silently read the rest as an empty plan and a reward would pay for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from grpo_project.pddl.model import Step

MAXIMUM_CHARACTERS = 1_000_000
MAXIMUM_STEPS = 10_000

_REASONING = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"\A```[ \t]*(?:pddl|lisp|plan|text)?[ \t]*\n(.*?)\n?```\Z", re.DOTALL | re.IGNORECASE)
_COMMENT = re.compile(r";[^\n]*")
_STEP = re.compile(
    r"\s*(?:\d+(?:\.\d+)?\s*[:.)]\s*)?"  # a step number or a time stamp
    r"\(\s*([A-Za-z][\w\-]*(?:\s+[A-Za-z][\w\-]*)*)\s*\)"  # (name argument ...)
    r"(?:\s*\[\s*\d+(?:\.\d+)?\s*\])?\s*"  # a duration
)


@dataclass(frozen=True)
class Extraction:
    """`steps` (lower case) or, where the text is no plan, None and the `fault`.

    `cut_off`: the text ends inside a step, as an answer does that ran into its token limit.
    """

    steps: tuple[Step, ...] | None
    fault: str | None = None
    cut_off: bool = False


def extract_plan(text: str) -> Extraction:
    """Total: every string gives an Extraction. An empty text (or only comments) is the empty plan."""
    if len(text) > MAXIMUM_CHARACTERS:
        return Extraction(None, f"the answer is longer than {MAXIMUM_CHARACTERS} characters")
    body = text.strip()
    reasoning = _REASONING.match(body)
    if reasoning:
        body = body[reasoning.end() :].strip()
    fence = _FENCE.match(body)
    if fence:
        body = fence.group(1)
    body = _COMMENT.sub("", body).strip()
    steps: list[Step] = []
    position = 0
    while position < len(body):
        match = _STEP.match(body, position)
        if match is None:
            rest = body[position : position + 40]
            cut_off = rest.lstrip().startswith("(") and ")" not in body[position:]
            return Extraction(None, f"step {len(steps) + 1}: expected '(action ...)', found {rest!r}", cut_off)
        if len(steps) >= MAXIMUM_STEPS:
            return Extraction(None, f"more than {MAXIMUM_STEPS} steps")
        steps.append(tuple(match.group(1).lower().split()))
        position = match.end()
    return Extraction(tuple(steps))
