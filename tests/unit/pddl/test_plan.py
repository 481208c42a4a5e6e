"""Extraction: what counts as a plan, and that nothing a model writes can break it."""

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
    ],
)
def test_everything_else_is_a_fault(text):
    extraction = extract_plan(text)
    assert extraction.steps is None
    assert extraction.fault


def test_empty_text_is_the_empty_plan():
    assert extract_plan("").steps == () == extract_plan(" ; only words\n").steps


def test_an_answer_cut_off_inside_a_step_is_marked():
    assert extract_plan("(pick b1 b2)\n(drop b").cut_off
    assert not extract_plan("(pick b1 b2)\nnonsense").cut_off


@given(st.text(alphabet=st.sampled_from("()abc1 \n;:.[]<>`\x00é"), max_size=200))
def test_total(text):
    extraction = extract_plan(text)
    assert (extraction.steps is None) == (extraction.fault is not None)


@pytest.mark.parametrize(
    "text", ["(" * 100_000, "(a " * 50_000, "a" * 2_000_000, "<think>" * 50_000, "1." * 50_000, " " * 900_000]
)
def test_hostile_text_costs_bounded_time(text):
    began = time.perf_counter()
    assert extract_plan(text).steps in (None, ())
    assert time.perf_counter() - began < 5
