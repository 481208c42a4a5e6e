"""The lenient reading: one whole plan among other text, and nothing that was not written as one."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.pddl import Task, compile_task, extract_plan, parse_domain, parse_problem, render_plan
from grpo_project.pddl.lenient import DROPPED, read_answer, read_leniently

LAMPS = Path(__file__).resolve().parents[2] / "golden" / "lamps"
PLAN = "(switch-on a)\n(switch-on b)\n"
DOMAIN = parse_domain((LAMPS / "domain.pddl").read_text(), "domain")
TASK: Task = compile_task(DOMAIN, parse_problem((LAMPS / "problem.pddl").read_text(), DOMAIN, "problem"))
FENCED = f"```pddl\n{PLAN}```"


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        (f"Here is the plan:\n{PLAN}", {"text"}),
        (f"Here is the plan:\n\n{PLAN}\nBoth are on.", {"text"}),
        ("Sure:\n1. (switch-on a)\n2. (switch-on b)", {"text"}),
        ("Sure:\n\n1. **(SWITCH-ON A)**\n\n2. **(SWITCH-ON B)**\n\nDone.", {"text", "form"}),
        ("Sure:\n**Step 1:** (switch-on a)\n**Step 2:** (switch-on b)", {"text", "form"}),
        ("### Plan\n- `(switch-on a)`\n- `(switch-on b)`", {"text", "form"}),
        ("switch-on a\nswitch-on b", {"form"}),
        ("1. switch-on(a)\n2. switch-on(b)", {"form"}),
        ("The plan:\n0.0: (switch-on a) [1]\n1.0: (switch-on b) [1]", {"text"}),
        ("The plan: as asked\n(switch-on a) (switch-on b)", {"text"}),
        ("So:\n(plan\n  (switch-on a)\n  (switch-on b)\n)\nDone.", {"text"}),
        ("So:\n(plan (switch-on a) (switch-on b))\nDone.", {"text"}),
        (f"So:\n{FENCED}\nThe last step, (switch-on b), ends it.", {"text"}),
        (f"So: [PLAN]\n{PLAN}[PLAN END] Done.", {"text"}),
        (f"So: [PLAN]\n{PLAN}", {"text"}),
        (f"I write it between <plan> and </plan>:\n<plan>{PLAN}</plan>", {"text"}),
        (f"<answer>As asked:\n{FENCED}</answer>", {"text"}),
        (f"```\n(switch-on b)\n```\nNo:\n{FENCED}", {"plans", "text"}),
        (f"(switch-on b)\n\nNo:\n{PLAN}", {"plans", "text"}),
        (f"{PLAN}\nThe state is then:\n(lit a)\n(lit b)", {"text"}),
        (f"{FENCED}\nThe state is then:\n```\n(lit a)\n```", {"text"}),
        (f"<s>[INST] Plan (switch-on b) now! [/INST] {PLAN}</s>", {"echoed_prompt"}),
        (f"User: plan\nAssistant: {PLAN}", {"echoed_prompt"}),
        (f"[INST] plan [/INST] So:\n{PLAN}", {"echoed_prompt", "text"}),
        (f"Sure. <think>(switch-on b)</think>{PLAN}", {"text"}),
        (f"<think>(switch-on b)</think>So:\n{PLAN}", {"text"}),
        ("So:\r\n\r\n(switch-on a)\r\n(switch-on b)\r\n", {"text"}),
        ("So:\n(switch-on a) ; first\n; then\n(switch-on b)", {"text"}),
    ],
)
def test_one_whole_plan_is_read(text, dropped):
    assert extract_plan(text).steps is None
    reading = read_leniently(TASK, text)
    assert reading.text == PLAN
    assert set(reading.dropped) == dropped
    assert list(reading.dropped) == sorted(dropped & set(DROPPED))


@pytest.mark.parametrize(
    "text",
    [
        "I would switch on both.",
        "I would (switch-on a) and then (switch-on b).",
        "So:\n```\n```",
        "[PLAN] nothing [PLAN END]",
        "So:\n(lit a)\n(lit b)",  # facts
        f"<think>\n{PLAN}",
        f"So:\n{PLAN}(switch-on",
        f"So:\n{PLAN}\n(swi",
        f"So:\n{PLAN}(turn-",
        f"So:\n{PLAN}(switch-on c",
        f"So:\n{PLAN}(switch-on c) comes last",
        f"So:\n{PLAN}\n(switch-on c) comes last",
        f"(switch-on c) comes first\n\n{PLAN}",
        f"Begin with (switch-on b):\n{PLAN}",
        f"So:\n```\n{PLAN}and then (switch-on c)\n```",
        f"So:\n```\n{PLAN}turn it off\n```",
        f"{PLAN}No:\n```\n(switch-on a)\nwait\n```",
        "1. (switch-on b)\nThis lights b.\n2. (switch-on a)\nThis lights a.",
        "So:\n1. switch-on a\n2. turn-off a\n3. switch-on b",
        "So:\n1. switch-on a\n2. switch-on b\n3. turn-off b",
        "So:\nswitch-on a\nswitch-on b\nswitch-on c c",
        f"{PLAN}[/INST]",
    ],
)
def test_what_is_no_whole_plan_stays_a_fault(text):
    reading = read_leniently(TASK, text)
    assert reading.text == text
    assert reading.dropped == ()
    assert extract_plan(text).steps is None


@pytest.mark.parametrize("text", ["", "; nothing", PLAN, FENCED, "(lit a)", "(switch-on a b c)", "[PLAN][PLAN END]"])
def test_what_is_a_plan_strictly_is_that_plan(text):
    assert extract_plan(text).steps is not None
    assert read_leniently(TASK, text).text == text == read_answer(TASK, text, "strict")


def test_a_step_that_is_none_stays_in_its_plan():
    for wrong in ("(turn-off a)", "(switch-on a b)", "turn-off(a)", "(lit a)"):
        text = f"So:\n(switch-on a)\n{wrong}\n(switch-on b)"
        assert len(extract_plan(read_leniently(TASK, text).text).steps) == 3


PIECES = ["(switch-on a)", "(switch-on b)", "switch-on a", "SWITCH-ON(B)", "(turn-off a)", "(lit a)", "text", "**", "- "]
PIECES += ["```", "```pddl\n", "[PLAN]", "[PLAN END]", "<plan>", "</plan>", "<answer>", "</answer>", "(plan "]
PIECES += [
    "1. ",
    "2. ",
    "<think>",
    "</think>",
    "[/INST]",
    "</s>",
    "assistant:",
    "; x",
    "\n",
    "\n",
    "\n",
    "\n\n",
    " ",
    "(",
    ")",
    "\x00",
    "(switch-on",
]


@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_what_is_read_is_one_piece_of_the_answer(text):
    reading = read_leniently(TASK, text)
    strict = extract_plan(text).steps
    assert (reading.text == text) or strict is None
    if reading.text == text:
        return
    steps = extract_plan(reading.text).steps
    assert steps  # never empty
    assert reading.text == render_plan(steps)
    # Facts are no plan, unless they are all that the model says.
    assert any(step[0] == "switch-on" for step in steps) or any(mark in text for mark in ("[/INST]", "assistant:", "</think>"))
    # In the order of the answer, and each of them written there.
    place, said = 0, text.lower().replace("(", " ").replace(")", " ")
    for step in steps:
        place = said.index(step[0], place) + len(step[0])
    assert read_leniently(TASK, reading.text).text == reading.text


HOSTILE = {
    "fences": "```\n" * 200_000,
    "fence and blanks": "```" + " " * 900_000,
    "marks that open": "[PLAN]" * 150_000,
    "marks of all kinds": "<plan>```[PLAN]<answer>" * 40_000,
    "nested blocks": "<plan>" * 50_000 + "(switch-on a)\nno\n" + "</plan>" * 50_000,
    "blocks without a plan": "```\n(switch-on a)\nno\n```\n" * 30_000,
    "emphasis": "*_`" * 300_000,
    "emphasis behind a word": "switch-on a" + "_*" * 400_000 + "!",
    "bullets": "- " * 400_000,
    "numbers": "1. " * 300_000,
    "digits": "1" * 900_000 + "x",
    "blanks in a step": "So:\n(switch-on" + " " * 900_000 + "!",
    "words": "a " * 450_000 + "!",
    "commas": "f(a" + ", a" * 300_000 + "!",
    "headers": "[/INST]" * 120_000,
    "lines": "\n" * 900_000,
    "open brackets": "(" * 900_000,
    "runs": "(switch-on a)\nno\n" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_bounded_time(name):
    began = time.process_time()
    reading = read_leniently(TASK, HOSTILE[name])
    assert time.process_time() - began < 10
    assert len(reading.text) <= len(HOSTILE[name])
