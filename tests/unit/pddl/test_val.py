"""VAL's words as an answer, and what the second opinion leaves alone."""

import pytest

from grpo_project.pddl import compile_task, extract_plan, parse_domain, parse_problem, validate_text
from grpo_project.pddl.val import ValValidator, cross_check, step_of, validate_by_val

LAMPS = """(define (domain lamps) (:requirements :adl :constraints) (:predicates (lit ?l))
  (:action on :parameters (?l) :precondition (not (lit ?l)) :effect (lit ?l))
  (:action off :parameters (?l) :precondition (lit ?l) :effect (not (lit ?l))))"""


def task(goal="(lit a)", constraints="", domain=LAMPS, objects="a b"):
    section = f"(:constraints {constraints})" if constraints else ""
    read = parse_domain(domain)
    text = f"(define (problem p) (:domain lamps) (:objects {objects}) (:init) (:goal {goal}) {section})"
    return compile_task(read, parse_problem(text, read))


@pytest.mark.parametrize(
    ("constraint", "plan", "state"),
    [
        ("(within 5 (lit b))", "(on a)", 1),  # a deadline that the end of the plan misses
        ("(always-within 2 (lit a) (lit b))", "(on a)", 1),
        ("(at end (lit b))", "(on a)", 1),
        ("(sometime (lit b))", "(on a)", 1),
        ("(sometime-after (lit a) (lit b))", "(on a)", 1),
        ("(always (not (lit b)))", "(on a) (on b)", 2),
        ("(always (not (lit b)))", "(on b) (on a)", 1),
        ("(within 1 (lit a))", "(on b) (off b) (on a)", 2),
        ("(sometime-before (or (lit a) (not (lit b))) (lit b))", "(on a)", 0),
    ],
)
def test_each_way_to_break_a_constraint_is_read(constraint, plan, state):
    read = task(constraints=constraint)
    answer = ValValidator().validate(read, extract_plan(plan).steps)
    assert (answer.verdict_class, answer.step) == ("safety_constraints_violation", state)
    assert step_of(validate_text(read, plan)) == state


def test_a_typed_domain_whose_variables_are_all_objects_reaches_val_with_its_types():
    domain = LAMPS.replace("(:predicates", "(:types lamp - object) (:predicates").replace("?l)", "?l - object)")
    domain = domain.replace("(lit ?l - object)", "(lit ?l)").replace("(:predicates (lit ?l))", "(:predicates (lit ?l - object))")
    read = task("(exists (?x - object) (lit ?x))", domain=domain, objects="a b - lamp")
    assert ValValidator().validate(read, [("on", "a")]).verdict_class == "success_plans"


@pytest.mark.parametrize(
    ("goal", "plan"),
    [
        ("(lit a)", "(on a b)"),
        ("(exists (?x) (lit ?x))", "(on nobody)"),
        ("(not (lit a))", "I would rather not. (on a)"),
    ],
)
def test_listed_readings_are_no_news(goal, plan):
    read = task(goal)
    verdict = validate_text(read, plan)
    assert not verdict.success
    assert cross_check(read, plan, verdict, ValValidator()) is None


def test_a_made_up_object_is_put_to_val_where_nothing_is_quantified():
    read = task()
    plan = "(off nobody)"
    verdict = validate_text(read, plan)
    assert cross_check(read, plan, verdict, ValValidator()) is None
    wrong = verdict._replace(verdict_class="goal_not_satisfied", failing_step=None)
    assert cross_check(read, plan, wrong, ValValidator()).describe() == (
        "builtin says goal_not_satisfied at None, VAL says precondition_violation at 1"
    )


@pytest.mark.parametrize(
    ("constraint", "plan", "verdict_class", "executed", "best"),
    [
        ("(hold-during 0 3 (not (lit b)))", "(on a) (on b)", "success_plans", 2, 2),  # a state that VAL does not look at
        ("(hold-after 1 (lit a))", "(on b) (on a)", "safety_constraints_violation", 0, 0),  # VAL fires in state 0
    ],
)
def test_where_val_decides_the_count_ends_where_val_stopped(constraint, plan, verdict_class, executed, best):
    read = task("(and (lit a) (lit b))", constraint)
    assert validate_text(read, plan).verdict_class != verdict_class
    verdict = validate_by_val(read, plan, ValValidator())
    assert (verdict.verdict_class, verdict.steps_executed, verdict.best_goals_met) == (verdict_class, executed, best)
    assert (verdict.steps_total, verdict.goals_total) == (2, 2)
    assert verdict.state_index == (0 if executed == 0 else None)


@pytest.mark.parametrize("name", ["0", "1a", "a.b", "a+b", "a/b", "number", "always", "is-violated", "duration", "\u00e9"])
def test_names_that_val_cannot_read_are_replaced_on_the_way(name):
    """In every place at once where a name may stand."""
    domain = parse_domain(
        f"""(define (domain {name}) (:types {name}) (:constants c - {name}) (:predicates ({name} ?{name} - {name}))
        (:functions ({name}f ?{name} - {name})) (:action _go :parameters (?{name} - {name})
          :precondition (>= ({name}f ?{name}) 0) :effect (and ({name} ?{name}) (increase ({name}f ?{name}) 1))))"""
    )
    problem = parse_problem(
        f"(define (problem {name}) (:domain {name}) (:objects o - {name}) (:init (= ({name}f o) 0)) (:goal ({name} o)))", domain
    )
    read = compile_task(domain, problem)
    assert ValValidator().validate(read, [("_go", "o")]).verdict_class == "success_plans"
    assert ValValidator().validate(read, []).verdict_class == "goal_not_satisfied"
