"""Forms that published domains have: the smallest input of each kind, what it must give, and the same for its kin.

VAL is asked for the same verdict, on the text as it stands and as we render it, but for what the deviations list.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from naive_simulator import World, read_plan
from val_process import Val

from grpo_project.errors import PddlError
from grpo_project.pddl import compile_task, find_plan, parse_domain, parse_problem, render_domain, render_problem, validate_text
from grpo_project.pddl.val import ValValidator, find_val, step_of
from grpo_project.prompting import domain_to_json, render_plan

ADL = "(:requirements :adl :typing)"
DONE = "(:action a :parameters ({}) :precondition (and) :effect (done ?x))"
SUCCESS = ("success_plans", None)
GOAL = ("goal_not_satisfied", None)


class Form(NamedTuple):
    """`domain` and `problem`: the sections behind the names. `val`: whether VAL reads the text as it stands."""

    domain: str
    problem: str
    plan: str
    expected: tuple[str, int | None]
    val: bool = True

    @property
    def texts(self) -> tuple[str, str]:
        problem = self.problem if self.problem.startswith("(define") else f"(define (problem p) (:domain d) {self.problem})"
        return f"(define (domain d) {self.domain})", problem


AREAS = f"{ADL} (:types area - surface area - object hoist - object surface - object) (:predicates (done ?x - object))"
TWO_TYPES = f"{ADL} (:types t u - object) (:predicates (done ?x - object) (b ?x - object))"
ONE_OR_TWO = f"{ADL} (:types one two three - object half - one) (:predicates (done ?x - (either one two)))"
EITHER = f"{ONE_OR_TWO} {DONE.format('?x - (either one two)')}"
PIECES = f"{ADL} (:types one two - pieces) (:predicates (done ?x - pieces))"

# Reachability and its absence; `link` needs the one and `burn` has an effect that asks for the other.
ROADS = """(:requirements :adl :derived-predicates :constraints) (:predicates (road ?a ?b) (reach ?a ?b) (lonely ?a) (burnt ?a))
 (:derived (reach ?a ?b) (or (road ?a ?b) (exists (?c) (and (road ?a ?c) (reach ?c ?b)))))
 (:derived (lonely ?a) (not (exists (?b) (reach ?a ?b))))
 (:action link :parameters (?a ?b) :precondition (not (reach ?a ?b)) :effect (road ?a ?b))
 (:action cut :parameters (?a ?b) :precondition (road ?a ?b) :effect (not (road ?a ?b)))
 (:action burn :parameters () :precondition () :effect (forall (?a) (when (lonely ?a) (burnt ?a))))"""


def roads(goal: str, constraint: str = "") -> str:
    return f"(:objects a b c) (:init) (:goal {goal}) {constraint and f'(:constraints {constraint})'}"


FORMS = {
    "derived, over itself": Form(ROADS, roads("(reach a c)"), "(link a b)\n(link b c)", SUCCESS),
    "derived, in a precondition": Form(
        ROADS, roads("(reach a c)"), "(link a b)\n(link b c)\n(link a c)", ("precondition_violation", 3)
    ),
    "derived, gone again": Form(ROADS, roads("(reach a c)"), "(link a b)\n(link b c)\n(cut a b)", GOAL),
    "derived, negated in a goal": Form(ROADS, roads("(and (lonely c) (not (lonely a)))"), "(link a c)", SUCCESS),
    "derived, in a conditional effect": Form(
        ROADS, roads("(and (burnt b) (burnt c) (not (burnt a)))"), "(link a b)\n(burn)", SUCCESS
    ),
    "derived, in a constraint": Form(
        ROADS,
        roads("(reach a c)", "(always (not (reach a c)))"),
        "(link a b)\n(link b c)",
        ("safety_constraints_violation", 2),
    ),
    "derived, in a constraint that holds": Form(
        ROADS, roads("(reach b c)", "(sometime-before (reach b c) (reach a b))"), "(link a b)\n(link b c)", SUCCESS
    ),
    "derived, by several rules, one never declared": Form(
        "(:requirements :adl :derived-predicates) (:predicates (e ?x ?y) (q ?x))"
        " (:derived (r ?x) (q ?x)) (:derived (r ?x) (exists (?y) (e ?y ?x)))"
        " (:action link :parameters (?x ?y) :precondition () :effect (e ?x ?y))",
        "(:objects a b c) (:init (q a)) (:goal (and (r a) (r b) (not (r c))))",
        "(link c b)",
        SUCCESS,
    ),
    "derived, in the initial state": Form(ROADS, "(:objects a b) (:init (reach a b)) (:goal (not (reach a b)))", "", SUCCESS),
    "undeclared parent type": Form(
        f"{PIECES} {DONE.format('?x - pieces')}", "(:objects o - one) (:init) (:goal (done o))", "(a o)", SUCCESS
    ),
    "undeclared parent type, quantified": Form(
        f"{PIECES} {DONE.format('?x - pieces')}",
        "(:objects o - one q - two) (:init) (:goal (forall (?x - pieces) (done ?x)))",
        "(a o)",
        GOAL,
    ),
    "type twice": Form(f"{AREAS} {DONE.format('?x - area')}", "(:objects o - area) (:init) (:goal (done o))", "(a o)", SUCCESS),
    "type twice, by its other parent": Form(
        f"{AREAS} {DONE.format('?x - surface')}", "(:objects o - area) (:init) (:goal (done o))", "(a o)", SUCCESS
    ),
    "type twice, not the other way": Form(
        f"{AREAS} {DONE.format('?x - area')}",
        "(:objects o - surface) (:init) (:goal (done o))",
        "(a o)",
        ("plan_format_error", None),
    ),
    "variable twice in a declaration": Form(
        "(:predicates (in ?obj ?obj)) (:action a :parameters (?x ?y) :precondition (and) :effect (in ?x ?y))",
        "(:objects o q) (:init) (:goal (in o q))",
        "(a o q)",
        SUCCESS,
    ),
    "dash without space": Form(
        f"(:requirements :typing) (:types t - object) (:predicates (done ?x -t)) {DONE.format('?x -t')}",
        "(:objects o -t) (:init) (:goal (done o))",
        "(a o)",
        SUCCESS,
    ),
    "object twice": Form(
        f"{TWO_TYPES} {DONE.format('?x - t')} (:action c :parameters (?x - u) :precondition (and) :effect (b ?x))",
        "(:objects o - t o - u) (:init) (:goal (and (done o) (b o)))",
        "(a o)\n(c o)",
        SUCCESS,
    ),
    "object twice, quantified": Form(
        f"{TWO_TYPES} {DONE.format('?x - t')}",
        "(:objects o - t o - u q - t) (:init) (:goal (forall (?x - u) (done ?x)))",
        "(a q)",
        GOAL,
    ),
    "object twice, of one type": Form(
        f"{TWO_TYPES} {DONE.format('?x - t')}", "(:objects o o - t) (:init) (:goal (done o))", "(a o)", SUCCESS
    ),
    "object that is a constant of another type": Form(
        f"{TWO_TYPES} (:constants o - t) {DONE.format('?x - t')}",
        "(:objects o - u) (:init) (:goal (exists (?x - u) (done ?x)))",
        "(a o)",
        SUCCESS,
    ),
    "requirement that nothing needs": Form(
        f"(:requirements :adl :domain-axioms) (:predicates (done ?x)) {DONE.format('?x')}",
        "(:requirements :adl :goal-utilities) (:objects o) (:init) (:goal (done o))",
        "(a o)",
        SUCCESS,
    ),
    "either, first": Form(EITHER, "(:objects o - one) (:init) (:goal (done o))", "(a o)", SUCCESS),
    "either, second": Form(EITHER, "(:objects o - two) (:init) (:goal (done o))", "(a o)", SUCCESS),
    "either, under the first": Form(EITHER, "(:objects o - half) (:init) (:goal (done o))", "(a o)", SUCCESS),
    "either, neither": Form(EITHER, "(:objects o - three) (:init) (:goal (not (= o o)))", "(a o)", ("plan_format_error", None)),
    "either, quantified": Form(
        EITHER,
        "(:objects o - half q - two r - three) (:init) (:goal (forall (?x - (either one two)) (done ?x)))",
        "(a o)\n(a q)",
        SUCCESS,
    ),
    "either, an object of both": Form(
        f"{ONE_OR_TWO} {DONE.format('?x - two')}", "(:objects o - (either one two)) (:init) (:goal (done o))", "(a o)", SUCCESS
    ),
    "action without precondition": Form(
        "(:predicates (done ?x)) (:action a :parameters (?x) :effect (done ?x))",
        "(:objects o) (:init) (:goal (done o))",
        "(a o)",
        SUCCESS,
        val=False,
    ),
    "problem named by a number": Form(
        f"(:requirements :adl) (:predicates (done ?x)) {DONE.format('?x')}",
        "(define (problem 0) (:domain d) (:objects o) (:init) (:goal (done o)))",
        "(a o)",
        SUCCESS,
        val=False,
    ),
}


def verdict_of(domain_text: str, problem_text: str, plan: str):
    domain = parse_domain(domain_text)
    task = compile_task(domain, parse_problem(problem_text, domain))
    return task, validate_text(task, plan)


@pytest.mark.parametrize("name", FORMS)
def test_three_answers(tmp_path, name):
    form = FORMS[name]
    task, verdict = verdict_of(*form.texts, form.plan)
    assert (verdict.verdict_class, step_of(verdict)) == form.expected
    assert ValValidator().validate(task, [tuple(step) for step in read_plan(form.plan)]).verdict_class == form.expected[0]
    assert World(*form.texts).verify(read_plan(form.plan)).verdict_class == form.expected[0]
    if form.val:
        assert Val(find_val(), tmp_path).verify(*form.texts, form.plan).verdict_class == form.expected[0]


@pytest.mark.parametrize("name", FORMS)
def test_rendering_keeps_the_meaning(name):
    form = FORMS[name]
    domain = parse_domain(form.texts[0])
    problem = parse_problem(form.texts[1], domain)
    again = parse_domain(render_domain(domain))
    assert again == domain
    assert parse_problem(render_problem(problem, domain), again) == problem


PRESENTED = {
    "byte order mark": lambda text: "\ufeff" + text,
    "Windows line ends": lambda text: text.replace(" (", "\r\n("),
    "old Macintosh line ends, with a comment": lambda text: ("; a comment\n" + text.replace(" (", "\n(")).replace("\n", "\r"),
    "tabs": lambda text: text.replace(" ", "\t"),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "stray semicolons": lambda text: ";\n" + text.replace(" (", ";\n (") + "\n;;",
    "capitals": str.upper,
}


@pytest.mark.parametrize("how", PRESENTED)
def test_the_same_text_in_other_dress(how):
    form = FORMS["object twice"]
    domain_text, problem_text = map(PRESENTED[how], form.texts)
    _, verdict = verdict_of(domain_text, problem_text, form.plan.replace("\n", "\r\n"))
    assert verdict.success


@pytest.mark.parametrize("bad", ["# a comment\n", "(:durative-action x)", "(:types a - b b - a)", "(:types a - a)"])
def test_what_stays_refused_is_refused_in_one_line(bad):
    with pytest.raises(PddlError) as caught:
        parse_domain(f"(define (domain d)\n {bad})", "some.pddl")
    assert str(caught.value).startswith("some.pddl:2:")
    assert "\n" not in str(caught.value)


def test_a_long_chain_of_rules_costs_no_recursion_and_is_searched():
    names = [f"n{number}" for number in range(60)]
    rest = " ".join(f"(road {a} {b})" for a, b in zip(names[1:], names[2:], strict=False))
    domain = parse_domain(f"(define (domain d) {ROADS})")
    text = f"(define (problem p) (:domain d) (:objects {' '.join(names)}) (:init {rest}) (:goal (reach n0 n59)))"
    task = compile_task(domain, parse_problem(text, domain))
    assert validate_text(task, "(link n0 n1)").success
    assert not validate_text(task, "(link n0 n1)\n(cut n30 n31)").success
    few = compile_task(domain, parse_problem(f"(define (problem p) (:domain d) {roads('(and (reach a c) (burnt c))')})", domain))
    found = find_plan(few)
    assert found.optimal and len(found.steps) == 2 and validate_text(few, render_plan(found.steps)).success


LIGHTS = """(define (domain d) (:requirements :adl :preferences :constraints :fluents) (:constants c)
 (:predicates (lit ?x)) (:functions (total-cost))
 (:action on :parameters (?x) :precondition (and (not (lit ?x)) (preference before (lit c)))
  :effect (and (lit ?x) (increase (total-cost) 1)))
 (:action off :parameters (?x) :precondition (lit ?x) :effect (not (lit ?x))))"""


def lights(goal: str, metric: str, constraints: str = "") -> str:
    section = constraints and f"(:constraints {constraints})"
    return f"""(define (problem p) (:domain d) (:requirements :goal-utilities) (:objects a b) (:init (= (total-cost) 0))
     (:goal {goal}) {section} (:metric {metric}))"""


ON_A, ON_AB, ON_ABC = "(on a)", "(on a)\n(on b)", "(on a)\n(on b)\n(on c)"
PREFERRED = {
    "goal": ("(and (lit a) (preference g (lit b)))", "minimize (* 10 (is-violated g))", "", ON_A, {"g": 1}, 10),
    "goal, kept": ("(and (lit a) (preference g (lit b)))", "minimize (* 10 (is-violated g))", "", ON_AB, {}, 0),
    "goal, nothing else": ("(preference g (lit b))", "minimize (* 10 (is-violated g))", "", "", {"g": 1}, 10),
    "goal, one name twice": (
        "(and (preference g (lit b)) (preference g (lit c)))", "minimize (is-violated g)", "", ON_A, {"g": 2}, 2,
    ),
    "goal, forall around it": ("(forall (?x) (preference g (lit ?x)))", "minimize (is-violated g)", "", ON_A, {"g": 2}, 2),
    "goal, forall inside it": ("(preference g (forall (?x) (lit ?x)))", "minimize (is-violated g)", "", ON_A, {"g": 1}, 1),
    "utility of goals": (
        "(and (preference g (lit a)) (preference h (lit b)))",
        "maximize (- 90 (+ (total-cost) (* 20 (is-violated g)) (* 50 (is-violated h))))",
        "", ON_A, {"h": 1}, 39,
    ),
    "precondition": ("(lit a)", "minimize (+ (total-cost) (* 10 (is-violated before)))", "", ON_ABC, {"before": 3}, 33),
    "constraint": ("(lit a)", "minimize (is-violated k)", "(preference k (always (not (lit b))))", ON_AB, {"k": 1}, 1),
    "constraint, at the end": ("(lit a)", "minimize (is-violated k)", "(preference k (sometime (lit b)))", ON_A, {"k": 1}, 1),
    "constraint, forall around it": (
        "(lit a)", "minimize (is-violated k)", "(forall (?x) (preference k (sometime (lit ?x))))", ON_A, {"k": 2}, 2,
    ),
    "constraint, beside one that must hold": (
        "(lit a)",
        "minimize (+ (is-violated k) (is-violated m))",
        "(and (preference k (at-most-once (lit a))) (always (not (lit c))) (preference m (within 1 (lit b))))",
        ON_AB, {"m": 1}, 1,
    ),
    "no name": ("(and (lit a) (preference (lit a)))", "minimize (total-cost)", "", ON_A, {}, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", PREFERRED)
def test_a_violated_preference_is_no_failure_and_is_reported(tmp_path, name):
    goal, metric, constraints, plan, violated, value = PREFERRED[name]
    problem_text = lights(goal, metric, constraints)
    task, verdict = verdict_of(LIGHTS, problem_text, plan)
    assert verdict.success
    counted = {name: times for name, times in verdict.violated_preferences if name != "before"}
    assert (dict(verdict.violated_preferences) if "before" in violated else counted) == violated
    assert verdict.plan_cost == value
    assert World(LIGHTS, problem_text).violations(read_plan(plan)) == dict(verdict.violated_preferences)
    assert Val(find_val(), tmp_path).verify(LIGHTS, problem_text, plan).value == value
    assert ValValidator().validate(task, read_plan(plan)).verdict_class == "success_plans"
    domain = parse_domain(LIGHTS)
    assert parse_problem(render_problem(task.problem, domain), parse_domain(render_domain(domain))) == task.problem


def test_what_a_failed_plan_violates_is_counted_up_to_where_it_stopped():
    text = lights("(and (lit a) (preference g (lit b)))", "minimize (+ (is-violated g) (* 10 (is-violated before)))")
    _, verdict = verdict_of(LIGHTS, text, "(on b)\n(on b)\n(on a)")
    assert (verdict.verdict_class, verdict.violated_preferences, verdict.plan_cost) == (
        "precondition_violation",
        (("before", 1),),
        10,
    )
    assert (verdict.goals_met, verdict.goals_total) == (0, 1)


def test_every_rule_is_in_the_domain_as_json():
    rules = domain_to_json(parse_domain(f"(define (domain d) {ROADS})"))["derived"]
    assert [head[0] for head, _ in rules] == ["reach", "lonely"]
