"""Numeric fluents: the same verdict, step and metric as VAL on random problems, and the places where we differ on purpose."""

import random
import re

import pytest

from grpo_project.errors import PddlError, UnsupportedFeature, ValFailed
from grpo_project.pddl import compile_task, find_plan, parse_domain, parse_problem, render_domain, render_problem, validate
from grpo_project.pddl.val import ValValidator, find_val, step_of

DOMAIN = """
(define (domain depot)
  (:requirements :strips :typing :equality :numeric-fluents :conditional-effects :constraints)
  (:types truck place)
  (:predicates (at ?t - truck ?p - place) (full ?t - truck))
  (:functions (fuel ?t - truck) (distance ?a - place ?b - place) (stock ?p - place) (total-cost))
  (:action drive
    :parameters (?t - truck ?a - place ?b - place)
    :precondition (and (at ?t ?a) (not (= ?a ?b)) (>= (fuel ?t) (distance ?a ?b)))
    :effect (and (not (at ?t ?a)) (at ?t ?b) (decrease (fuel ?t) (distance ?a ?b))
                 (increase (total-cost) (* 2 (distance ?a ?b)))))
  (:action refuel
    :parameters (?t - truck ?p - place)
    :precondition (and (at ?t ?p) (or (< (fuel ?t) 3.3) (> (stock ?p) 6.3)))
    :effect (and (increase (fuel ?t) (/ (stock ?p) 2)) (decrease (stock ?p) (- (stock ?p) 1))
                 (when (<= (stock ?p) 1) (full ?t))))
  (:action reset
    :parameters (?t - truck)
    :precondition (not (= (fuel ?t) 4))
    :effect (and (assign (fuel ?t) 4) (scale-up (total-cost) 2)))
  (:action halve
    :parameters (?t - truck)
    :precondition (imply (full ?t) (= (fuel ?t) 4))
    :effect (scale-down (fuel ?t) 2)))
"""


def random_problem(rng):
    places = ["p1", "p2", "p3"]
    values = [f"(= (distance {a} {b}) {rng.randint(1, 4)})" for a in places for b in places if a != b]
    values += [f"(= (fuel t{i}) {rng.randint(0, 6)})" for i in (1, 2)] + [f"(= (stock {p}) {rng.randint(1, 9)})" for p in places]
    init = [f"(at t{i} {rng.choice(places)})" for i in (1, 2)]
    goal = rng.choice(
        [
            "(at t1 p2)",
            "(and (at t1 p3) (>= (fuel t1) 2))",
            "(<= (+ (fuel t1) (fuel t2)) 6)",
            "(or (full t1) (> (- (fuel t2)) -2.3))",
        ]
    )
    constraint = rng.choice(
        ["", "(:constraints (always (>= (fuel t1) 1)))", "(:constraints (sometime-before (at t1 p3) (< (fuel t2) 2.3)))"]
    )
    metric = rng.choice(["", "(:metric minimize (total-cost))", "(:metric maximize (+ (* 3 (fuel t1)) (fuel t2) (total-cost)))"])
    return (
        f"(define (problem d) (:domain depot) (:objects t1 t2 - truck p1 p2 p3 - place)"
        f"(:init {' '.join(init + values)} (= (total-cost) 0)) (:goal {goal}) {constraint} {metric})"
    )


def random_plan(task, rng):
    """Mostly steps that can run."""
    state, numbers = task.start()
    steps = []
    for _ in range(rng.randint(0, 7)):
        able = [action for action in task.applicable_actions() if action.condition.holds(state)]
        action = rng.choice(able if able and rng.random() < 0.9 else task.applicable_actions())
        steps.append(action.step)
        state, numbers = task.advance(action, state, numbers)
    return tuple(steps)


def test_random_numeric_plans_get_vals_verdict_step_and_metric():
    find_val()
    val = ValValidator()
    domain = parse_domain(DOMAIN)
    seen, compared = set(), 0
    for seed in range(150):
        rng = random.Random(f"numbers/{seed}")
        task = compile_task(domain, parse_problem(random_problem(rng), domain))
        task.applicable_actions()  # every action ground: their comparisons are bits of the first state too
        steps = random_plan(task, rng)
        ours, theirs = validate(task, steps), val.validate(task, steps)
        assert (ours.verdict_class, step_of(ours)) == (theirs.verdict_class, theirs.step), (seed, steps, theirs.output)
        seen.add(ours.verdict_class)
        compared += 1
        value = re.search(r"Final value: (\S+)", theirs.output)
        if ours.success and value:
            assert ours.plan_cost == pytest.approx(float(value[1]), rel=1e-4), (seed, steps)
    assert compared == 150
    assert seen == {"success_plans", "precondition_violation", "safety_constraints_violation", "goal_not_satisfied"}


def test_lazily_ground_actions_get_the_same_verdict():
    """A comparison first read in the middle of a plan counts from the first state on."""
    domain = parse_domain(DOMAIN)
    for seed in range(40):
        rng = random.Random(f"lazy/{seed}")
        text = random_problem(rng)
        warm, cold = (compile_task(domain, parse_problem(text, domain)) for _ in range(2))
        warm.applicable_actions()
        steps = random_plan(warm, rng)
        assert validate(cold, steps) == validate(warm, steps)


def test_render_and_parse_keep_every_number():
    domain = parse_domain(DOMAIN)
    assert parse_domain(render_domain(domain)) == domain
    for seed in range(20):
        problem = parse_problem(random_problem(random.Random(seed)), domain)
        assert parse_problem(render_problem(problem), domain) == problem


def number_task(condition, value="(= (f) 1)"):
    domain = parse_domain(
        f"(define (domain n) (:requirements :fluents) (:predicates (done)) (:functions (f))"
        f"(:action go :parameters () :precondition {condition} :effect (done)))"
    )
    return compile_task(domain, parse_problem(f"(define (problem n1) (:domain n) (:init {value}) (:goal (done)))", domain))


@pytest.mark.parametrize("condition", ["(> (f) 1)", "(< (f) 1)"])
def test_deviation_a_strict_comparison_is_strict(condition):
    task = number_task(condition)
    assert validate(task, (("go",),)).verdict_class == "precondition_violation"
    assert ValValidator().validate(task, (("go",),)).verdict_class == "success_plans"


@pytest.mark.parametrize("condition", ["(> (f) 1)", "(not (> (f) 1))", "(= (f) (f))", "(not (= (f) (f)))"])
def test_deviation_nothing_holds_of_an_undefined_number(condition):
    task = number_task(condition, value="")
    assert validate(task, (("go",),)).verdict_class == "precondition_violation"
    with pytest.raises(ValFailed) as failed:  # it gives up, which is no verdict on a plan
        ValValidator().validate(task, (("go",),))
    assert "undefined" in failed.value.files["val_output.txt"]


def test_conditional_costs_are_paid_only_where_they_apply():
    domain = parse_domain(
        "(define (domain n) (:requirements :conditional-effects) (:predicates (done) (far)) (:functions (total-cost))"
        "(:action go :parameters () :precondition () :effect (and (done) (increase (total-cost) 1)"
        " (when (far) (increase (total-cost) 10)))))"
    )
    for init, cost in (("", 1.0), ("(far)", 11.0)):
        text = (
            f"(define (problem n1) (:domain n) (:init {init} (= (total-cost) 0)) (:goal (done)) (:metric minimize (total-cost)))"
        )
        assert validate(compile_task(domain, parse_problem(text, domain)), (("go",),)).plan_cost == cost


def test_the_reference_planner_refuses_numbers_by_name():
    with pytest.raises(UnsupportedFeature, match="numeric fluents"):
        find_plan(number_task("(>= (f) 1)"))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("(>= (g) 1)", "function 'g' is not declared"),
        ("(>= (f) one)", "expected a number, found 'one'"),
        ("(>= (f) nan)", "expected a number, found 'nan'"),
        ("(>= (f))", ">= takes 2 arguments, found 1"),
        ("(>= (/ (f) 1 2) 1)", "/ takes 2 arguments, found 3"),
    ],
)
def test_faults_in_arithmetic_are_named_with_their_place(condition, message):
    with pytest.raises(PddlError, match=re.escape(message)) as caught:
        number_task(condition)
    assert caught.value.line == 1
    assert caught.value.column > 1
