"""Why an answer earns nothing, in finer words than the five verdict classes, and what helps against each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from grpo_project.evaluation.readings import step_lines
from grpo_project.pddl import Verdict, extract_plan
from grpo_project.pddl.plan import open_reasoning


class Reason(NamedTuple):
    """What is the matter, and what to try."""

    label: str
    advice: str


_LONGER = "raise --max_completion_length"
_FIRST_PLANS = "train it on plans first (script/train_sft.py)"
SUCCEEDED = "success"
REASONS = {
    SUCCEEDED: Reason("the plan succeeds", ""),
    "empty_answer": Reason("the answer is empty", "see that the model starts to write: --min_new_tokens, and its chat template"),
    "thinking": Reason("it ends inside its reasoning", f"{_LONGER}, or ask for no reasoning with --enable_thinking false"),
    "only_thinking": Reason(
        "nothing stands behind its reasoning", f"{_FIRST_PLANS}, or say in --system_prompt where a plan belongs"
    ),
    "cut_off": Reason("it ends in the middle of a step, as an answer does at its limit on tokens", _LONGER),
    "prose": Reason("prose stands around the plan", f"ask for steps alone with --system_prompt, or {_FIRST_PLANS}"),
    "malformed": Reason("a step is not written as (action argument ...)", _FIRST_PLANS),
    "no_step": Reason("no line of it is a step", f"{_FIRST_PLANS}; look whether it is asked in the style it was trained on"),
    "unknown_action": Reason("wrong action names", f"{_FIRST_PLANS}; look whether its prompt shows the domain (--prompt_style)"),
    "arguments": Reason("an action has too few or too many arguments", _FIRST_PLANS),
    "unknown_object": Reason("wrong objects or types", f"{_FIRST_PLANS}; look at --prompt_style"),
    "empty_plan": Reason("the plan has no step", "--min_new_tokens holds the end back; easier problems bring plans back"),
    "precondition_violation": Reason("a precondition does not hold", "easier problems (--curriculum), or train on more plans"),
    "safety_constraints_violation": Reason("a constraint is broken", "begin without constraints, or train on more plans"),
    "goal_not_satisfied": Reason("the goal is not reached", "easier problems (--curriculum), or train on more plans"),
}


def reason_of(text: str, verdict: Verdict) -> str:
    """The name, in REASONS, of what `verdict`, that on `text`, comes from."""
    if verdict.verdict_class != "plan_format_error":
        if verdict.steps_total == 0:
            return "empty_plan" if text.strip() else "empty_answer"
        return SUCCEEDED if verdict.success else verdict.verdict_class
    if open_reasoning(text):
        return "thinking"
    extraction = extract_plan(text)
    if extraction.steps is None:
        if extraction.cut_off:
            return "cut_off"
        if "after the reasoning" in (extraction.fault or ""):
            return "only_thinking"
        if not step_lines(text):
            return "no_step"
        # A bracket in every line that is no step: it tried to write steps, and said nothing else.
        others = [line for line in text.splitlines() if line.strip() and not step_lines(line)]
        return "malformed" if all("(" in line or ")" in line for line in others) else "prose"
    if "unknown action" in verdict.detail:
        return "unknown_action"
    return "arguments" if "arguments, found" in verdict.detail else "unknown_object"


def likeliest(reasons: Iterable[str] | Mapping[str, int]) -> tuple[str, int]:
    """(name, count) of the most frequent of these reasons, or of their counts; ("", 0) where there are only successes."""
    counts = Counter(reasons)
    del counts[SUCCEEDED]
    return counts.most_common(1)[0] if counts else ("", 0)
