"""PDDL, plans and validators that were misread, in programs of this kind (trials.md)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from grpo_project.domains import get_domain, training_domains
from grpo_project.errors import BackendMissing, PddlSemanticError, PddlSyntaxError, UnsupportedFeature, ValFailed
from grpo_project.pddl import Task, compile_task, find_plan, parse_domain, parse_problem, render_plan, validate, validate_text
from grpo_project.pddl.lenient import read_leniently
from grpo_project.pddl.val import ValValidator, validate_by_val

LIGHT = "(define (domain light) (:predicates (g)) (:action a :parameters () :effect (g)))"
DARK = "(define (problem p) (:domain light) (:init) (:goal (g)))"


def task(domain: str = LIGHT, problem: str = DARK) -> Task:
    read = parse_domain(domain, "domain.pddl")
    return compile_task(read, parse_problem(problem, read, "problem.pddl"))


def verdict(plan: str, domain: str = LIGHT, problem: str = DARK) -> str:
    return validate_text(task(domain, problem), plan).verdict_class


# -- meaning ------------------------------------------------------------------------------------------------------------


def test_atoms_whose_words_run_together_alike_are_different_ones() -> None:
    domain = (
        "(define (domain light) (:constants o aob oa ob) (:predicates (p ?a ?b) (g))"
        " (:action a :parameters () :precondition (p o aob) :effect (g)))"
    )
    for fact, found in (("(p oa ob)", "precondition_violation"), ("(p o aob)", "success_plans")):
        assert verdict("(a)", domain, f"(define (problem p) (:domain light) (:init {fact}) (:goal (g)))") == found


@pytest.mark.parametrize(
    "body", ["", ":precondition ()", ":precondition (and)", ":parameters ()", ":parameters () :precondition ()"]
)
def test_what_an_action_need_not_say_may_be_left_out_or_empty(body: str) -> None:
    domain = f"(define (domain light) (:predicates (g)) (:action noop {body} :effect ()) (:action a {body} :effect (g)))"
    assert verdict("(noop)\n(a)\n(noop)", domain) == "success_plans" and verdict("(noop)", domain) == "goal_not_satisfied"


def test_an_atom_that_a_step_deletes_and_adds_holds_behind_it() -> None:
    problem = "(define (problem p) (:domain cart) (:objects x - place) (:init (blocked x)) (:goal (blocked x)))"
    for effects in (
        "(not (blocked ?x)) (blocked ?x)",
        "(blocked ?x) (not (blocked ?x))",
        "(blocked ?x) (when (blocked ?x) (not (blocked ?x)))",
    ):
        domain = (
            "(define (domain cart) (:requirements :typing :conditional-effects) (:types place)"
            f" (:predicates (blocked ?x - place)) (:action push :parameters (?x - place) :effect (and {effects})))"
        )
        assert verdict("(push x)", domain, problem) == "success_plans"


def test_a_difference_and_a_negated_goal_mean_what_they_say() -> None:
    domain = (
        "(define (domain d) (:requirements :strips :negative-preconditions :equality) (:constants c) (:predicates (p ?a))"
        " (:action do :parameters (?a) :precondition (not (= ?a c)) :effect (p ?a))"
        " (:action undo :parameters (?a) :precondition (p ?a) :effect (not (p ?a))))"
    )
    problem = "(define (problem q) (:domain d) (:objects a b) (:init (p a) (not (p b))) (:goal (and (p b) (not (p a)))))"
    assert verdict("(do b)\n(undo a)", domain, problem) == "success_plans"
    assert verdict("(do b)", domain, problem) == "goal_not_satisfied"
    assert verdict("(do c)", domain, problem) == "precondition_violation"


def test_a_goal_of_one_atom_is_a_goal() -> None:
    assert verdict("") == "goal_not_satisfied" and find_plan(task(), 100).steps == (("a",),)


# -- form ---------------------------------------------------------------------------------------------------------------


def test_brackets_in_comments_close_nothing() -> None:
    domain = "(define (domain light) (:predicates (g)) ; )) (\n (:action a :parameters ()\n :effect (and ;(not\n ;(x)))\n (g))))"
    assert verdict("(a) ; (b\n; (c)\n", domain) == "success_plans"


def test_capitals_never_matter() -> None:
    domain = "(DEFINE (DOMAIN Light) (:PREDICATES (On ?X)) (:ACTION Up :PARAMETERS (?X) :EFFECT (AND (ON ?x))))"
    problem = "(define (PROBLEM p) (:Domain LIGHT) (:Objects Lamp) (:init) (:GOAL (on LAMP)))"
    assert verdict("(UP lamp)", domain, problem) == "success_plans"


@pytest.mark.parametrize("name", ["15-puzzle-example", "0", "p.1", "_p", "number"])
def test_a_problem_may_have_any_name(name: str) -> None:
    assert verdict("(a)", LIGHT, DARK.replace("problem p", f"problem {name}")) == "success_plans"


def test_one_word_for_a_type_a_predicate_an_action_and_an_object() -> None:
    domain = (
        "(define (domain d) (:types cart) (:predicates (cart ?x - cart))"
        " (:action cart :parameters (?x - cart) :effect (cart ?x)))"
    )
    problem = "(define (problem p) (:domain d) (:objects cart - cart) (:init) (:goal (cart cart)))"
    assert verdict("(cart cart)", domain, problem) == "success_plans"


def test_a_variable_that_a_declaration_repeats_is_counted_each_time() -> None:
    domain = (
        "(define (domain d) (:types thing) (:predicates (in ?obj ?obj - thing))"
        " (:action put :parameters (?x ?y - thing) :effect (in ?x ?y)))"
    )
    problem = "(define (problem p) (:domain d) (:objects a b - thing) (:init) (:goal (in a b)))"
    assert (
        verdict("(put a b)", domain, problem) == "success_plans" and verdict("(put b a)", domain, problem) == "goal_not_satisfied"
    )


def test_names_declared_twice_keep_all_their_types_and_predicates_are_refused() -> None:
    domain = (
        "(define (domain d) (:types t1 t2 t1) (:predicates (p ?x - t1) (q ?x - t2))"
        " (:action a :parameters (?x - t1 ?y - t2) :effect (and (p ?x) (q ?y))))"
    )
    problem = "(define (problem p) (:domain d) (:objects O - t1 o - t2) (:init) (:goal (and (p o) (q o))))"
    assert verdict("(a o O)", domain, problem) == "success_plans"
    with pytest.raises(PddlSemanticError, match="domain.pddl:1:.*: predicate 'g' is declared twice"):
        task(LIGHT.replace("(g))", "(g) (g))", 1))


@pytest.mark.parametrize(
    ("domain", "problem", "told"),
    [
        (LIGHT, DARK.replace("(:init)", "(:init (h))"), "problem.pddl:1:44: predicate 'h' is not declared"),
        (LIGHT, DARK.replace("(:goal (g))", "(:goal (g x))"), "problem.pddl:1:52: predicate 'g' takes 0 arguments, found 1"),
        (LIGHT, DARK.replace(" (:goal (g))", ""), "problem.pddl:1:1: the problem has no :goal section"),
        (LIGHT, DARK.replace("light", "dark"), "problem.pddl:1:21: the problem belongs to domain 'dark', not to 'light'"),
        (LIGHT[:-1], DARK, "domain.pddl:1:1: this bracket is never closed"),
        (DARK, LIGHT, r"domain.pddl:1:9: expected \(domain NAME\)"),
    ],
)
def test_a_fault_in_pddl_has_its_line_and_column(domain: str, problem: str, told: str) -> None:
    with pytest.raises((PddlSemanticError, PddlSyntaxError), match=f"^{told}") as fault:
        task(domain, problem)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("domain", "problem", "feature"),
    [
        (LIGHT[:-1] + " (:process b :parameters () :effect (g)))", DARK, ":process"),
        (
            LIGHT[:-1] + " (:durative-action b :parameters () :duration (= ?duration 1) :effect (at end (g))))",
            DARK,
            ":durative-action",
        ),
        (LIGHT, DARK.replace("(:init)", "(:init (at 5 (g)))"), "a timed initial literal"),
    ],
)
def test_what_is_not_decided_is_refused_by_its_name(domain: str, problem: str, feature: str) -> None:
    with pytest.raises(UnsupportedFeature, match=f"{feature} is not supported"):
        task(domain, problem)


@pytest.mark.parametrize(
    "plan",
    ["(a )\n; cost = 1 (unit cost)\n", "; metric 0.001\n0.000: (A)  [0.001]\n", "0:   (A) [1]\n", "\ufeff(a)\r\n"],
)
def test_plan_files_of_planners_are_read(plan: str, tmp_path: Path) -> None:
    from grpo_project.common.files import read_text

    (tmp_path / "sas_plan").write_text(plan, encoding="utf-8", newline="")
    assert verdict(read_text(tmp_path / "sas_plan")) == "success_plans"


def test_plans_in_calls_and_capitals_are_read_leniently() -> None:
    for answer in ("Here it is:\n1. a()\nDone.", "**Plan**\n\nA\n\nThat is all.", "step 0: A"):
        assert verdict(read_leniently(task(), answer).text) == "success_plans"


# -- reference plans and VAL ------------------------------------------------------------------------------------------------


def test_every_reference_plan_solves_its_own_problem_and_not_those_beside_it() -> None:
    for name in training_domains():
        domain = get_domain(name)
        rng = random.Random(f"trials/{name}")
        tasks = [
            compile_task(domain.domain, domain.generate(rng, domain.draw_parameters(rng, domain.sizes["train"]), False))
            for _ in range(3)
        ]
        plans = [find_plan(each, 200_000, domain.heuristic(each)).steps for each in tasks]
        assert all(plans) and len(set(plans)) > 1, name
        solved = [[validate(each, plan).success for plan in plans] for each in tasks]
        assert all(solved[index][index] for index in range(3)) and not all(map(all, solved)), name


@pytest.fixture
def val(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ValValidator]:
    """VAL as a shell script with these lines."""

    def make(lines: str, mode: int = 0o755, timeout_seconds: float = 10.0) -> ValValidator:
        (tmp_path / "Validate").write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / "Validate").chmod(mode)
        monkeypatch.setenv("VAL_BINARY", str(tmp_path / "Validate"))
        return ValValidator(timeout_seconds)

    return make


BEGUN = "echo 'Plan size: 1'; echo 'Checking next happening (time 1)'; "
OUT_OF_MEMORY = "echo 'Error occurred in validation attempt:'; echo '  std::bad_alloc'; echo 'Queries (validator failed):'"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("", "it says 'nothing'"),
        ("echo 'Problem in domain definition!'; exit 255", "it says 'Problem in domain definition!'"),
        ("kill -SEGV $$", "it died of signal 11"),
        (BEGUN + OUT_OF_MEMORY, "it says 'Error occurred in validation attempt:'"),
        (
            BEGUN + "echo 'Plan executed successfully - checking goal'; " + OUT_OF_MEMORY,
            "it says 'Error occurred in validation attempt:'",
        ),
    ],
)
def test_a_failure_of_val_is_never_one_of_the_plan(val: Callable[..., ValValidator], lines: str, reason: str) -> None:
    with pytest.raises(ValFailed, match="gives no verdict on a plan of 1 steps for problem 'p' of domain 'light'") as failed:
        validate_by_val(task(), "(a)", val(lines))
    assert str(failed.value).endswith(reason) and failed.value.files["plan.txt"] == render_plan([("a",)])


def test_a_val_that_hangs_costs_its_own_plan_and_no_other(val: Callable[..., ValValidator]) -> None:
    slow = val('grep -q "(a)" "$4" && exec sleep 30; echo "Plan size: 1"; echo "Plan executed successfully"', timeout_seconds=0.5)
    with pytest.raises(ValFailed, match="it took longer than 0.5 s"):
        slow.validate(task(), [("a",)])
    assert slow.validate(task(), []).verdict_class == "goal_not_satisfied"


def test_what_a_val_started_ends_with_it(val: Callable[..., ValValidator], tmp_path: Path) -> None:
    """A script around VAL, as containers have it, is no VAL: killing that alone leaves the other running for ever."""
    slow = val(f"sleep 30 & echo $! > {tmp_path / 'number'}; wait", timeout_seconds=0.5)
    with pytest.raises(ValFailed, match="it took longer than 0.5 s"):
        slow.validate(task(), [("a",)])
    stat = Path("/proc", (tmp_path / "number").read_text().strip(), "stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":  # nobody may have asked for its status
            return
        time.sleep(0.02)
    pytest.fail("it still runs")


def test_a_val_that_may_not_be_run_or_is_not_there_is_named_before_any_plan(
    val: Callable[..., ValValidator], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendMissing, match="VAL_BINARY names .*Validate, which is no program"):
        val("", mode=0o644)
    monkeypatch.setenv("VAL_BINARY", "/nowhere/Validate")
    with pytest.raises(BackendMissing, match="VAL_BINARY names /nowhere/Validate, which is no program"):
        ValValidator()
