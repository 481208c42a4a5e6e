"""Every way to fail has its reason, and every loose reading forgives what it names and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_project.evaluation.readings import READINGS
from grpo_project.evaluation.reasons import REASONS, likeliest, reason_of
from grpo_project.pddl import Task, compile_task, parse_domain, parse_problem, validate_text

ROOT = Path(__file__).resolve().parents[3]
LAMPS = ROOT / "tests" / "golden" / "lamps"
PLAN = "(switch-on a)\n(switch-on b)\n"


@pytest.fixture(scope="module")
def task() -> Task:
    domain = parse_domain((LAMPS / "domain.pddl").read_text(), "domain")
    return compile_task(domain, parse_problem((LAMPS / "problem.pddl").read_text(), domain, "problem"))


# answer: its reason, and the readings under which it would succeed ("loosest" is always among them where there is any)
CASES = {
    PLAN: ("success", set(READINGS)),
    f"Here is the plan:\n{PLAN}Both are on.": ("prose", {"lenient", "step_lines", "no_brackets"}),
    f"Here is the plan:\n```pddl\n{PLAN}```\nBoth are on.": ("prose", {"lenient", "last_fence", "step_lines", "no_brackets"}),
    "1. **(switch-on a)**\n2. `(switch-on b)`\n\nDone.": ("prose", {"lenient", "step_lines", "no_brackets"}),
    f"{PLAN}(switch-on": ("cut_off", {"step_lines", "whole_steps", "no_brackets"}),
    f"<think>First a.\n{PLAN}and then": ("thinking", {"inside_reasoning"}),
    "<think>Nothing</think>": ("only_thinking", set()),
    "(switch_on a)\n(SWITCHON b)\n": ("unknown_action", {"known_names"}),
    "(turn-on a)\n(turn-on b)\n": ("unknown_action", set()),
    "switch-on a\nswitch-on b": ("no_step", {"lenient", "no_brackets"}),
    "switch-on(a)\nswitch-on(b)": ("no_step", {"lenient", "no_brackets"}),
    "Sure:\n- Switch_On(a)\n- Switch_On(b)\n": ("no_step", set()),
    "I would switch on both.": ("no_step", set()),
    "(switch-on a) first\n(switch-on b\n(switch-on b)": ("malformed", set()),
    "(switch-on a b)\n": ("arguments", set()),
    "(switch-on c)\n": ("unknown_object", set()),
    "": ("empty_answer", set()),
    "; nothing to do": ("empty_plan", set()),
    "(switch-on a)\n(switch-on a)\n": ("precondition_violation", set()),
    "(switch-on b)\n(switch-on a)\n": ("safety_constraints_violation", set()),
    "(switch-on a)\n": ("goal_not_satisfied", set()),
}
ALSO_LOOSEST = {"Sure:\n- Switch_On(a)\n- Switch_On(b)\n"}


@pytest.mark.parametrize("text", CASES)
def test_reason_and_readings(task: Task, text: str) -> None:
    reason, readings = CASES[text]
    assert reason_of(text, validate_text(task, text)) == reason
    would = {name for name, reading in READINGS.items() if validate_text(task, reading.read(task, text)).success}
    assert would - {"loosest"} == readings - {"loosest"}
    assert ("loosest" in would) == bool(readings or text in ALSO_LOOSEST)


def test_every_reason_is_met_and_says_what_helps() -> None:
    assert {reason for reason, _ in CASES.values()} == set(REASONS)
    assert all(reason.label and (reason.advice or name == "success") for name, reason in REASONS.items())


def test_the_likeliest_reason_leaves_successes_out() -> None:
    assert likeliest(["success", "success", "prose", "thinking", "prose"]) == ("prose", 2)
    assert likeliest(["success"]) == ("", 0)
