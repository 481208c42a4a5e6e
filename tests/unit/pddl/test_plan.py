"""Extraction: what counts as a plan, and that nothing a model writes can break it."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.pddl import extract_plan

PLAN = (("pick", "b1", "b2"), ("drop", "b1"))


@pytest.mark.parametrize(
    "text",
    [
        "(pick b1 b2)\n(drop b1)\n",
        "(pick b1 b2) (drop b1)",
        "  (PICK B1 B2)\n\n(Drop b1)",
        "; a comment\n(pick b1 b2) ; why\n(drop b1)",
        "0: (pick b1 b2) [1]\n1: (drop b1) [1]",
        "0.5: (pick b1 b2)\n1.5: (drop b1)",
        "1. (pick b1 b2)\n2. (drop b1)",
        "```pddl\n(pick b1 b2)\n(drop b1)\n```",
        "<think>First (not a step).</think>\n(pick b1 b2)\n(drop b1)",
        "( pick  b1\tb2 )\r\n(drop b1)",
        "<|im_start|>assistant\n(pick b1 b2)\n(drop b1)<|im_end|>\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n(pick b1 b2)(drop b1)<|eot_id|>",
        "Assistant: (pick b1 b2)\n(drop b1)</s>",
        "I pick first.</think>\n\n(pick b1 b2)\n(drop b1)",
        "<think>\na (stray) step\n</think>\n```\n(pick b1 b2)\n(drop b1)\n```",
        "<think>a</think><think>b</think>(pick b1 b2)(drop b1)",
        "<answer>\n(pick b1 b2)\n(drop b1)\n</answer>",
        "<plan>```pddl\n(pick b1 b2)\n(drop b1)\n```</plan>",
        "[PLAN]\n(pick b1 b2)\n(drop b1)\n[PLAN END]",
        "[plan] (pick b1 b2) (drop b1) [/PLAN]",
        "[PLAN START]\n(pick b1 b2)\n(drop b1)\n[END PLAN]</s>",
        "[Begin Plan]\n1. (pick b1 b2)\n2. (drop b1)\n[End of Plan]",
        "(plan (pick b1 b2) (drop b1))",
        "( PLAN ; two steps\n  (pick b1 b2)\n  (drop b1)\n)",
        "```\n(plan\n(pick b1 b2)\n(drop b1))\n```",
        "[PLAN]\n```\n(pick b1 b2)\n(drop b1)\n```\n[PLAN END]",
        "```PDDL\r\n(pick b1 b2)\r\n(drop b1)\r\n```",
        "1) (pick b1 b2)\n2) (drop b1)",
        "7: (pick b1 b2) [0.001]\n12.5: (drop b1) [2]",
        "(pick b1 b2) 2. (drop b1)",
        "<thought>\nFirst (not a step).\n</thought>\n\n(pick b1 b2)\n(drop b1)[|endofturn|]",
        "[THINK]First (not a step).[/THINK](pick b1 b2)\n(drop b1)</s>",
        "<seed:think>hm</seed:think>(pick b1 b2)\n(drop b1)",
        "◁think▷hm◁/think▷(pick b1 b2)\n(drop b1)",
        "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>(pick b1 b2)\n(drop b1)<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
        "<|channel|>analysis<|message|>(x)<|end|><|start|>assistant<|channel|>final<|message|>(pick b1 b2)(drop b1)<|return|>",
        "<|start|>assistant<|channel|>final <|constrain|>pddl<|message|>(pick b1 b2)(drop b1)<|return|>",
        "analysisWe pick first.assistantfinal(pick b1 b2)\n(drop b1)",
        "<|turn>model\n<|channel>thought\nFirst (not a step).\n<channel|>(pick b1 b2)\n(drop b1)<turn|>",
        "<|begin_of_thought|>hm<|end_of_thought|>\n\n<|begin_of_solution|>(pick b1 b2)\n(drop b1)<|end_of_solution|>",
        "<think>hm</think>\n\n<response>\n(pick b1 b2)\n(drop b1)\n</response>\n",
        "\\boxed{(pick b1 b2) (drop b1)}",
        "\\[\\boxed{(pick b1 b2)\n(drop b1)}\\]",
        "<think>hm</think>\n$\\boxed{\\text{(pick b1 b2)\n(drop b1)}}$",
        "<|begin_of_box|>(pick b1 b2)\n(drop b1)<|end_of_box|>",
    ],
)
def test_plans_are_read(text):
    assert extract_plan(text).steps == PLAN


@pytest.mark.parametrize(
    "text",
    [
        "Here is the plan: (pick b1 b2)",
        "(pick b1 b2)\nThat is all.",
        "(pick b1 b2",
        "pick b1 b2",
        "(pick (b1) b2)",
        "()",
        "<think>(pick b1 b2)",
        "```\n(pick b1 b2)",
        "(pick b1 b2)\x00",
        "(кубик b1)",
        "(pick ?x)",
        "<think>(pick b1 b2)</think>",
        "<think>unfinished",
        "[THINK](pick b1 b2)",
        "<thought>\n(pick b1 b2)",
        "<|channel|>analysis<|message|>(pick b1 b2)",
        "<|channel>thought\n(pick b1 b2)",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary<|message|>(pick b1 b2)",
        "analysisWe take\n(pick b1 b2)",
        "\\boxed{(pick b1 b2)} is the plan",
        "The answer is \\boxed{(pick b1 b2)}",
        "(pick b1 b2)<think>late</think>(drop b1)",
        "```\n(pick b1 b2)\n``` and that is all",
        "```\n(pick b1 b2)\n```\n```\n(drop b1)\n```",
        "<answer>(pick b1 b2)",
        "<answer>(pick b1 b2)</answer> done",
        "[PLAN](pick b1 b2)",
        "[PLAN](pick b1 b2)[PLAN END] done",
        "So: [PLAN](pick b1 b2)[PLAN END]",
        "[PLAN]So: (pick b1 b2)[PLAN END]",
        "[PLAN](pick b1 b2)[PLAN END][PLAN](drop b1)[PLAN END]",
        "(plan (pick b1 b2)",
        "(plan (pick b1 b2)) (drop b1)",
        "(plan (plan (plan (pick b1 b2))))",
        "(plan so (pick b1 b2))",
        "(plan ; x (pick b1 b2)",
        "(plan (pick b1 b2) ; and (drop b1)",
        "1: (pick b1 b2)\n1: (drop b1)",
        "2: (pick b1 b2)\n1: (drop b1)",
        "99999999999999999999999999999: (pick b1)\n" + "9" * 400 + ": (a)\n" + "9" * 500 + ": (b)",
        "(pick b1, b2)",
        "- (pick b1 b2)",
        "(pick b1 b2) [1",
        "\ufeff(pick b1 b2)",
        "(pick\u00a0b1 b2)",
        "(p\u0131ck b1)",
        "\u0661. (pick b1)",
        "0: 1: (pick b1 b2)",
        "null",
        "[]",
    ],
)
def test_everything_else_is_a_fault(text):
    extraction = extract_plan(text)
    assert extraction.steps is None
    assert extraction.fault


def test_empty_text_is_the_empty_plan():
    assert extract_plan("").steps == () == extract_plan(" ; only words\n").steps


def test_an_action_may_be_named_plan():
    assert extract_plan("(plan b1)\n(plan)").steps == (("plan", "b1"), ("plan",))


def test_an_answer_cut_off_inside_a_step_is_marked():
    assert extract_plan("(pick b1 b2)\n(drop b").cut_off
    assert extract_plan("(plan (pick b1 b2)\n(drop b").cut_off
    assert extract_plan("[PLAN]\n(pick b1 b2)\n(drop b").cut_off
    assert not extract_plan("(pick b1 b2)\nnonsense").cut_off


def test_comments_may_not_hide_a_fault_and_may_hide_nothing_else():
    assert extract_plan("(pick b1 ; the first\n b2)\n(drop b1)").steps == PLAN
    assert extract_plan("(pick b1 b2)\n; (drop b1)").steps == PLAN[:1]


@given(st.text(alphabet=st.sampled_from("()abc1 \n;:.[]<>/`|\x00é"), max_size=200))
def test_total(text):
    extraction = extract_plan(text)
    assert (extraction.steps is None) == (extraction.fault is not None)
    if extraction.steps == ():  # nothing but what may stand around a plan
        inside = re.sub(r"\A```[^\n]*\n|```\Z", "", text.strip())
        assert not re.sub(r";[^\n]*", "", inside).strip()


MARKS = [
    "<think>",
    "</think>",
    "```",
    "```pddl\n",
    "<answer>",
    "</answer>",
    "<|im_end|>",
    "assistant:",
    "(pick b1 b2)",
    "(drop b1)",
]
MARKS += ["1.", "0:", "[1]", "; x", "\n", " ", "(", ")", "</plan>", "<plan>", "text", "\x00", "(pick b1"]
MARKS += ["[PLAN]", "[PLAN END]", "(plan "]


@given(st.lists(st.sampled_from(MARKS), max_size=12).map("".join))
def test_no_mixture_of_marks_breaks_it_or_makes_a_plan_from_prose(text):
    extraction = extract_plan(text)
    assert (extraction.steps is None) == (extraction.fault is not None)
    answer = text.rpartition("</think>")[2]
    if extraction.steps is not None:
        read = re.sub(r";[^\n]*", "", answer)
        actions = r"\([^()]*\)"
        assert len(extraction.steps) == len(re.findall(actions, read))
        assert "text" not in re.sub(actions, "", read).replace("```text", "")
        if "(" in read:
            assert extraction.steps != ()


@given(
    st.lists(st.sampled_from(["(pick b1 b2)", "(drop b1)", "(a-b c_d e)"]), max_size=6),
    st.sampled_from(
        ["{}", "<think>hm</think>{}", "```\n{}\n```", "<answer>{}</answer>", "[PLAN]{}[PLAN END]", "{}<|im_end|>", "; c\n{}\n; d"]
    ),
    st.sampled_from(["\n", " ", "\n\n", "\t"]),
)
def test_every_form_says_the_same(steps, form, between):
    extraction = extract_plan(form.format(between.join(steps).upper()))
    expected = tuple(tuple(step[1:-1].split()) for step in steps)
    if not steps and "think" in form:
        assert extraction.fault == "nothing stands after the reasoning"
    else:
        assert extraction.steps == expected


HOSTILE = {
    "brackets": "(" * 100_000,
    "closing brackets": ")" * 100_000,
    "open steps": "(a " * 50_000,
    "one long word": "a" * 2_000_000,
    "one megabyte of a name": "(" + "a" * 999_000 + ")",
    "reasoning opened again and again": "<think>" * 50_000,
    "reasoning closed again and again": "</think>" * 50_000,
    "channels opened again and again": "<|channel|>analysis" * 50_000,
    "boxes opened again and again": "$\\boxed{" * 50_000,
    "nested tags": "<think>" * 20_000 + "</think>" * 20_000,
    "numbers": "1." * 50_000,
    "digits": "1" * 900_000,
    "white space": " " * 900_000,
    "white space inside a step": "(a" + " " * 900_000 + "!",
    "white space behind a step": "(a)" * 1000 + " " * 900_000 + "!",
    "null bytes": "\x00" * 900_000,
    "end marks": "(a)" + "</s>" * 200_000,
    "fences": "```\n" * 200_000,
    "comments": ";\n" * 400_000 + "!",
    "other scripts": "計画を立てます。" * 100_000,
    "surrogates": "\ud800" * 100_000,
    "marks of plans": "[PLAN]" * 150_000,
    "plans in plans": "(plan " * 150_000,
    "closing plans": "(plan (" + ") " * 400_000 + "x",
    "durations": "(a) [1" * 100_000,
    "too many steps": "(a b)" * 150_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_bounded_time_and_is_no_plan(name):
    began = time.process_time()
    extraction = extract_plan(HOSTILE[name])
    # The honest megabyte takes 0.1 s; anything that looks twice at every place would take hours.
    assert time.process_time() - began < 5
    if name == "one megabyte of a name":
        assert extraction.steps is not None
        assert len(extraction.steps) == 1
    elif name == "white space":
        assert extraction.steps == ()
    else:
        assert extraction.steps is None
        assert len(extraction.fault or "") < 300
