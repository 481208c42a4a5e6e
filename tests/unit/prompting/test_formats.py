"""Three forms of the full prompt: JSON and English hold what PDDL holds, and all ask for the same answer."""

from __future__ import annotations

import json
import re

import pytest
from json_problems import domain_from_json, problem_from_json

from grpo_project.data.instances import generate_instance
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import read_rows
from grpo_project.domains import all_domains, get_domain
from grpo_project.domains.base import goal_atoms
from grpo_project.errors import ConfigError, DataError, PddlError
from grpo_project.pddl import parse_domain, parse_problem
from grpo_project.prompting import PROMPT_FORMATS, render_prompt
from grpo_project.prompting.json_form import domain_to_json, problem_to_json, render_json

RICH_DOMAIN = """
(define (domain depot) (:requirements :adl :constraints :fluents)
  (:types truck - vehicle vehicle place)
  (:constants hub - place)
  (:predicates (at ?v - vehicle ?p - place) (open ?p - place) (done))
  (:functions (fuel ?v - vehicle) (total-cost))
  (:constraints (always (open hub)))
  (:action drive :parameters (?v - vehicle ?from ?to - place)
    :precondition (and (at ?v ?from) (not (= ?from ?to)) (or (open ?to) (exists (?w - truck) (at ?w ?to))) (>= (fuel ?v) 2.5))
    :effect (and (not (at ?v ?from)) (at ?v ?to) (decrease (fuel ?v) 2) (forall (?q - place) (when (open ?q) (not (open ?q))))))
  (:action finish :parameters () :precondition (and) :effect (done)))
"""
RICH_PROBLEM = """
(define (problem one) (:domain depot) (:objects a - truck home - place)
  (:init (at a home) (open hub) (= (fuel a) 5.5) (= (total-cost) 0))
  (:goal (forall (?x - place) (imply (open ?x) (at a ?x))))
  (:constraints (and (sometime-before (at a hub) (at a home)) (hold-during 1 3 (open hub)) (always-within 2 (done) (open hub))))
  (:metric minimize (+ (total-cost) (fuel a))))
"""
NAMES = sorted(all_domains())


def problems(name: str, count: int = 12):
    domain = get_domain(name)
    return [generate_instance(domain, 41, index, domain.sizes["train"], float(index % 2)).problem for index in range(count)]


def through_json(value: object) -> dict:
    return json.loads(render_json(value))


@pytest.mark.parametrize("name", NAMES)
def test_json_parses_back_to_the_same_domain_and_problems(name: str) -> None:
    domain = get_domain(name).domain
    assert domain_from_json(through_json(domain_to_json(domain))) == domain
    for problem in problems(name):
        assert problem_from_json(through_json(problem_to_json(problem, domain)), domain) == problem


def test_json_loses_nothing_of_the_rarer_parts_of_pddl() -> None:
    domain = parse_domain(RICH_DOMAIN)
    problem = parse_problem(RICH_PROBLEM, domain)
    assert domain_from_json(through_json(domain_to_json(domain))) == domain
    assert problem_from_json(through_json(problem_to_json(problem, domain)), domain) == problem


@pytest.mark.parametrize("name", NAMES)
def test_the_json_prompt_holds_two_documents_that_give_the_problem_back(name: str) -> None:
    domain = get_domain(name)
    for problem in problems(name, 4):
        prompt = render_prompt(name, domain.domain_pddl, problem, "full", prompt_format="json")
        first, second = prompt.split("\nDomain:\n")[1].split("\nProblem:\n")
        assert problem_from_json(json.loads(second), domain_from_json(json.loads(first))) == problem


@pytest.mark.parametrize(
    "value", [{}, {"problem": "p"}, {"problem": "p", "domain": "ferry", "objects": [], "init": [], "goal": []}]
)
def test_other_json_is_refused(value: dict) -> None:
    with pytest.raises((DataError, PddlError)):
        problem_from_json(value, get_domain("ferry").domain)


def read_atoms(lines: list[str], phrases: dict[str, str]) -> set[tuple[str, ...]]:
    """The facts that sentences state, by the templates alone; each sentence must fit exactly one."""
    atoms = set()
    for line in lines:
        found = []
        for predicate, phrase in phrases.items():
            places = [int(place) for place in re.findall(r"\{(\d)\}", phrase)]
            match = re.fullmatch(re.sub(r"\\\{\d\\\}", r"(\\S+)", re.escape(phrase)), line)
            if match:
                arguments = dict(zip(places, match.groups(), strict=True))
                found.append((predicate, *(arguments[place] for place in sorted(places))))
        assert len(found) == 1, (line, found)
        atoms.add(found[0])
    return atoms


@pytest.mark.parametrize("name", NAMES)
def test_the_facts_and_goals_of_a_problem_can_be_read_back_from_its_sentences(name: str) -> None:
    domain = get_domain(name)
    for problem in problems(name):
        prompt = render_prompt(name, domain.domain_pddl, problem, "full", prompt_format="nl", phrases=domain.phrases)
        start = prompt.split("At the start, this holds, and nothing else:\n")[1].split("In the end")[0]
        assert read_atoms([line[2:] for line in start.splitlines()], dict(domain.phrases)) == problem.init
        end = prompt.split("In the end, this must hold:\n")[1].split("All the way")[0]
        goal = set(goal_atoms(problem.goal))
        assert read_atoms([line[2:] for line in end.splitlines() if line], dict(domain.phrases)) == goal
        assert ("All the way through:" in prompt) == (problem.constraints is not None)
        assert all(re.search(rf"\b{re.escape(thing)}\b", prompt) for thing in problem.objects)
        for action in domain.domain.actions.values():
            assert f"({' '.join([action.name, *(parameter.name for parameter in action.parameters)])})" in prompt


@pytest.mark.parametrize("prompt_format", PROMPT_FORMATS)
def test_different_problems_have_different_prompts(prompt_format: str) -> None:
    for name in NAMES:
        domain, seen = get_domain(name), {}
        for problem in problems(name, 30):
            prompt = render_prompt(name, domain.domain_pddl, problem, "full", prompt_format=prompt_format, phrases=domain.phrases)
            content = (problem.objects.keys(), problem.init, str(problem.goal), str(problem.constraints))
            assert seen.setdefault(prompt.replace(problem.name, ""), content) == content
        assert len(seen) > 20


def test_without_phrases_a_fact_is_its_words_and_every_part_of_pddl_has_a_sentence() -> None:
    problem = parse_problem(RICH_PROBLEM, parse_domain(RICH_DOMAIN))
    prompt = render_prompt("depot", RICH_DOMAIN, problem, "full", prompt_format="nl")
    for sentence in (
        "- at a home\n",
        "- fuel a equals 5.5\n",
        "- for every place ?x, [if open ?x then at a ?x]\n",
        "- before the first moment at which at a hub, there must have been an earlier one at which at a home\n",
        "- from step 1 until before step 3, open hub\n",
        "- whenever done, then at most 2 steps later open hub\n",
        "As low as possible should be: (+ (total-cost) (fuel a))\n",
        "for every place ?q, if open ?q held before, it is false that open ?q",
        "fuel ?v shrinks by 2",
        "[open ?to or [there is truck ?w so that at ?w ?to]]",
        "[(fuel ?v) is at least 2.5]",
        "It can run when no condition is asked.",
        "In every problem there is hub (type place).",
        "at every moment, open hub",
    ):
        assert sentence in prompt, sentence


def test_the_pddl_form_is_what_it_always_was() -> None:
    domain = get_domain("ferry")
    (problem,) = problems("ferry", 1)
    assert render_prompt("ferry", domain.domain_pddl, problem, "full", prompt_format="pddl") == render_prompt(
        "ferry", domain.domain_pddl, problem, "full"
    )


def test_unknown_forms_and_forms_of_the_compact_style_are_refused() -> None:
    domain = get_domain("ferry")
    (problem,) = problems("ferry", 1)
    with pytest.raises(ConfigError, match="pddl, json, nl, got 'yaml'"):
        render_prompt("ferry", domain.domain_pddl, problem, "full", prompt_format="yaml")
    with pytest.raises(ConfigError, match="json is for the full style"):
        render_prompt("ferry", domain.domain_pddl, problem, "compact", prompt_format="json")


def test_a_row_is_asked_in_its_own_words_unless_another_form_is_named(repository) -> None:
    row = read_rows(repository / "data" / "test_held_out_domain").rows[0]
    assert row_prompt(row, "full") == row.prompt == row_prompt(row, "full", "pddl")
    assert row_prompt(row, "full", "nl") != row.prompt
    assert row_prompt(row, "compact").startswith("elevator f0 +below f1")


def test_an_obfuscated_row_shows_none_of_the_registrys_conventions(repository) -> None:
    row = read_rows(repository / "data" / "test_obfuscated", ["ferry"]).rows[0]
    for prompt in (row_prompt(row, "full", "nl"), row_prompt(row, "compact")[len("ferry") :]):
        body = prompt.split("Actions:")[-1]
        assert not re.search(r"\b(ferry|car|location|at-ferry|empty-ferry)\b", body)
