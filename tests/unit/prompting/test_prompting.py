"""Prompts: the compact form loses nothing, the full form holds the PDDL, and plans have one way of being written."""

import random

import pytest

from grpo_project.domains import all_domains
from grpo_project.errors import ConfigError
from grpo_project.pddl import extract_plan, parse_domain, parse_problem
from grpo_project.prompting import render_plan, render_prompt

SWITCHES = parse_domain("(define (domain d) (:predicates (on ?x) (up ?x)))")


def problem(init, goal="(on a)", constraints=""):
    return parse_problem(f"(define (problem p) (:domain d) (:objects a b) (:init {init}) (:goal {goal}) {constraints})", SWITCHES)


def test_the_compact_line_word_by_word():
    one = problem("(up a) (up b)", "(and (on a) (not (on b)))", "(:constraints (and (always (not (on b))) (sometime (up a))))")
    line = render_prompt("d", "", one, "compact", frozenset({("up", "a"), ("on", "b")}))
    assert line == "d a !on b +up b -on !not ( on b ) @always ( not ( on b ) ) @sometime ( up a )"


def test_different_problems_have_different_compact_lines():
    lines = set()
    made = 0
    for domain in all_domains().values():
        for index in range(60):
            rng = random.Random(f"prompting/{index}")
            one = domain.generate(rng, domain.draw_parameters(rng, domain.sizes["train"]), True)
            lines.add(render_prompt(domain.name, domain.domain_pddl, one, "compact", domain.implied_atoms(one)))
            made += 1
    assert len(lines) > 0.95 * made


def test_the_full_prompt_holds_domain_and_problem():
    for domain in all_domains().values():
        rng = random.Random(1)
        one = domain.generate(rng, domain.draw_parameters(rng, domain.sizes["train"]), True)
        text = render_prompt(domain.name, domain.domain_pddl, one, "full")
        assert domain.domain_pddl.strip() in text
        assert parse_problem(text[text.index("(define (problem") :], domain.domain) == one


def test_an_unknown_style_is_refused():
    with pytest.raises(ConfigError, match="full, compact"):
        render_prompt("d", "", problem(""), "verse")


def test_plans_are_written_as_they_are_read():
    steps = (("move", "a", "b"), ("drop", "a"))
    assert render_plan(steps) == "(move a b)\n(drop a)\n"
    assert extract_plan(render_plan(steps)).steps == steps
