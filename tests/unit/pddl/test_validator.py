"""Verdicts: one case for each class and each trajectory operator, states counted by hand."""

import pytest

from grpo_project.pddl import compile_task, parse_domain, parse_problem, validate, validate_text

# Three lamps in a row; switching one on or off is one step.
DOMAIN = parse_domain(
    """(define (domain lamps) (:requirements :typing :constraints)
      (:types lamp) (:predicates (lit ?l - lamp) (whole ?l - lamp))
      (:action on :parameters (?l - lamp) :precondition (and (whole ?l) (not (lit ?l))) :effect (lit ?l))
      (:action off :parameters (?l - lamp) :precondition (lit ?l) :effect (not (lit ?l))))"""
)


def task(goal="(lit a)", constraints="(and)", init=""):
    text = f"""(define (problem p) (:domain lamps) (:objects a b c - lamp) (:init (whole a) (whole b) {init})
      (:goal {goal}) (:constraints {constraints}))"""
    return compile_task(DOMAIN, parse_problem(text, DOMAIN))


def plan(*words):
    return tuple(tuple(word.split()) for word in words)


def test_success():
    verdict = validate(task("(and (lit a) (lit b))"), plan("on a", "on b"))
    assert verdict.success
    assert (verdict.goals_met, verdict.goals_total, verdict.steps_executed, verdict.plan_cost) == (2, 2, 2, 2.0)


def test_precondition_violation_names_step_and_literals():
    verdict = validate(task(), plan("on b", "on c"))
    assert verdict.verdict_class == "precondition_violation"
    assert (verdict.failing_step, verdict.unmet, verdict.steps_executed) == (2, ("(whole c)",), 1)


def test_goal_not_satisfied_names_literals():
    verdict = validate(task("(and (lit a) (lit b))"), plan("on a"))
    assert verdict.verdict_class == "goal_not_satisfied"
    assert (verdict.unmet, verdict.goals_met) == (("(lit b)",), 1)


@pytest.mark.parametrize("text", ["(fly a)", "(on a b)", "(on)", "(on nobody)", "prose", "(on a) and so on"])
def test_format_errors(text):
    assert validate_text(task(), text).verdict_class == "plan_format_error"


def test_an_unknown_step_later_on_fails_the_whole_text_before_anything_runs():
    verdict = validate(task(), plan("on a", "fly a"))
    assert (verdict.verdict_class, verdict.failing_step, verdict.steps_executed) == ("plan_format_error", 2, 0)


def test_an_add_wins_over_a_delete():
    domain = parse_domain("(define (domain d) (:predicates (p)) (:action a :effect (and (p) (not (p)))))")
    problem = parse_problem("(define (problem q) (:domain d) (:init) (:goal (p)))", domain)
    assert validate(compile_task(domain, problem), plan("a")).success


ON_A_B = plan("on a", "on b")


@pytest.mark.parametrize(
    ("constraint", "steps", "violated_in"),
    [
        ("(always (not (lit b)))", plan("on a"), None),
        ("(always (not (lit b)))", plan("on b", "on a"), 1),
        ("(sometime (lit b))", plan("on a"), 1),
        ("(sometime (lit b))", plan("on b", "off b", "on a"), None),
        ("(at-most-once (lit b))", plan("on b", "off b", "on a"), None),
        ("(at-most-once (lit b))", plan("on b", "off b", "on b", "on a"), 3),
        ("(sometime-before (lit a) (lit b))", plan("on b", "on a"), None),
        ("(sometime-before (lit a) (lit b))", plan("on a"), 1),
        ("(sometime-before (lit a) (lit a))", plan("on a"), 1),
        ("(sometime-after (lit b) (lit a))", plan("on b", "on a"), None),
        ("(sometime-after (lit a) (lit b))", plan("on a"), 1),
        ("(sometime-after (lit a) (lit a))", plan("on a"), None),
        ("(at end (not (lit b)))", plan("on b", "on a"), 2),
        ("(within 1 (lit a))", plan("on a"), None),
        ("(within 1 (lit a))", plan("on b", "on a"), 2),
        ("(always-within 1 (lit b) (lit a))", plan("on b", "on a"), None),
        ("(always-within 1 (lit b) (lit a))", plan("on b", "off b", "on a"), 3),
        ("(hold-during 0 2 (not (lit a)))", plan("on b", "on a"), None),
        ("(hold-during 0 2 (not (lit a)))", plan("on a", "on b"), 1),
        ("(hold-after 1 (lit a))", plan("on b", "on a"), None),
        ("(hold-after 1 (lit b))", plan("on b", "on a", "off b"), 3),
        ("(forall (?l - lamp) (at-most-once (lit ?l)))", plan("on a", "off a", "on a"), 3),
    ],
)  # fmt: skip
def test_trajectory_constraints(constraint, steps, violated_in):
    verdict = validate(task(constraints=constraint), steps)
    if violated_in is None:
        assert verdict.success, verdict
    else:
        assert verdict.verdict_class == "safety_constraints_violation", verdict
        assert verdict.state_index == violated_in
        assert verdict.violated_constraint


def test_a_constraint_broken_in_a_state_counts_before_the_next_steps_precondition():
    verdict = validate(task(constraints="(always (not (lit b)))"), plan("on b", "on c"))
    assert verdict.verdict_class == "safety_constraints_violation"


def test_a_missed_goal_counts_before_what_the_last_state_breaks():
    verdict = validate(task("(lit c)", "(always (not (lit b)))"), plan("on b"))
    assert verdict.verdict_class == "goal_not_satisfied"
    assert verdict.best_goals_met == 0


def test_the_best_state_is_remembered_and_a_violating_one_is_not():
    assert validate(task("(and (lit a) (lit b) (lit c))"), plan("on a", "on b", "off a", "on c")).best_goals_met == 2
    broken = validate(task("(and (lit a) (lit b) (lit c))", "(always (not (lit b)))"), plan("on a", "on b", "off a"))
    assert (broken.verdict_class, broken.best_goals_met) == ("safety_constraints_violation", 1)
