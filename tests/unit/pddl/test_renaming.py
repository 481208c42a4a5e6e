"""Other names, the same task: what is renamed can be renamed back, and the same plans solve both."""

from __future__ import annotations

import random
import re

import pytest

from grpo_project.data.instances import generate_instance, reference_plan
from grpo_project.domains import all_domains, get_domain
from grpo_project.pddl import (
    compile_task,
    parse_domain,
    parse_problem,
    render_domain,
    render_problem,
    validate,
)
from grpo_project.pddl.renaming import FIXED, obfuscation
from tests.renamings import inverse_of

RICH_DOMAIN = """
(define (domain depot) (:requirements :adl :constraints :fluents)
  (:types truck - vehicle vehicle place - object)
  (:constants hub - place)
  (:predicates (at ?v - vehicle ?p - place) (open ?p - place))
  (:functions (fuel ?v - vehicle) (total-cost))
  (:constraints (always (forall (?t - truck) (imply (at ?t hub) (open hub)))))
  (:action drive :parameters (?v - vehicle ?from ?to - place)
    :precondition (and (at ?v ?from) (not (= ?from ?to)) (or (open ?to) (exists (?w - truck) (at ?w ?to))) (>= (fuel ?v) 2))
    :effect (and (not (at ?v ?from)) (at ?v ?to) (decrease (fuel ?v) (* 2 1)) (increase (total-cost) 3)
      (forall (?q - place) (when (open ?q) (not (open ?q)))))))
"""
RICH_PROBLEM = """
(define (problem one) (:domain depot) (:objects a - truck home - place)
  (:init (at a home) (open hub) (= (fuel a) 5) (= (total-cost) 0))
  (:goal (and (at a hub) (forall (?x - place) (imply (open ?x) (at a ?x)))))
  (:constraints (and (sometime-before (at a hub) (at a home)) (forall (?u - truck) (within 4 (at ?u hub)))))
  (:metric minimize (+ (total-cost) (fuel a))))
"""
WORD = re.compile(r"[^\s()]+")


def words_of(*texts: str) -> set[str]:
    return {word for text in texts for word in WORD.findall(text)}


def test_everything_a_domain_and_a_problem_name_is_renamed_and_comes_back() -> None:
    domain = parse_domain(RICH_DOMAIN)
    problem = parse_problem(RICH_PROBLEM, domain)
    names = obfuscation(domain, problem, random.Random(3))
    other_domain, other = names.domain(domain), names.problem(problem, "task")
    texts = render_domain(other_domain), render_problem(other, other_domain)
    own = {"depot", "one", *domain.types, *domain.constants, *domain.predicates, *domain.functions, *domain.actions}
    own |= {*problem.objects, "?v", "?from", "?to", "?w", "?q", "?x", "?u", "?p", "?t"} - {"?v"}
    assert len(own) > 20
    assert words_of(*texts) & (own - FIXED - {"at"}) == set()
    # They are valid PDDL, and the way back leads to the same values.
    read_domain = parse_domain(texts[0])
    assert read_domain == other_domain
    assert parse_problem(texts[1], read_domain) == other
    back = inverse_of(names, "depot")
    assert back.domain(other_domain) == domain
    assert back.problem(other, "one") == problem
    plan = (("drive", "a", "home", "hub"),)
    assert back.steps(names.steps(plan)) == plan
    before = validate(compile_task(domain, problem), plan)
    after = validate(compile_task(other_domain, other), names.steps(plan))
    assert (before.verdict_class, before.plan_cost) == (after.verdict_class, after.plan_cost)


@pytest.mark.parametrize("name", sorted(all_domains()))
def test_plans_keep_their_verdicts_and_no_word_is_left(name: str) -> None:
    domain = get_domain(name)
    for index in range(6):
        instance = generate_instance(domain, 31, index, domain.sizes["train"], 1.0)
        names = obfuscation(domain.domain, instance.problem, random.Random(index))
        other_domain, other = names.domain(domain.domain), names.problem(instance.problem, "task")
        own = {name, domain.domain.name, *domain.domain.predicates, *domain.domain.actions, *domain.domain.types}
        own |= {variable.name for action in domain.domain.actions.values() for variable in action.parameters}
        own |= set(instance.problem.objects)
        assert words_of(render_domain(other_domain), render_problem(other, other_domain)) & (own - FIXED) == set()
        steps = reference_plan(domain, instance, 50_000, False).steps
        assert steps
        one, two = compile_task(domain.domain, instance.problem), compile_task(other_domain, other)
        for plan in (steps, steps[:-1], steps[1:], steps[::-1], (*steps, steps[0])):
            before, after = validate(one, plan), validate(two, names.steps(plan))
            assert (before.verdict_class, before.failing_step, before.goals_met, before.plan_cost) == (
                after.verdict_class,
                after.failing_step,
                after.goals_met,
                after.plan_cost,
            )


def test_names_are_a_function_of_the_stream_and_all_different() -> None:
    domain = get_domain("delivery")
    problem = generate_instance(domain, 1, 0, {"s": (6, 6), "p": (2, 2)}, 1.0).problem
    names, again, other = (obfuscation(domain.domain, problem, random.Random(seed)) for seed in (1, 1, 2))
    assert names == again != other
    used = [new for kind in (names.predicates, names.actions, names.types, names.objects) for new in kind.values()]
    assert len(set(used)) == len(used) > 40
