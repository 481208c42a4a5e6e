"""Every listed deviation from VAL, both answers pinned; and the list in the documentation is the list in the code."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from naive_simulator import read_plan
from random_exercises import seed_from_environment
from val_process import Val, ValCannotRead

from grpo_project.common.random_streams import stream
from grpo_project.pddl import compile_task, parse_domain, parse_problem, validate_text
from grpo_project.pddl.val import find_val, step_of

ROOT = Path(__file__).resolve().parents[3]

LAMPS = """(define (domain lamps) (:requirements :adl :constraints) (:types lamp box) (:predicates (lit ?l - lamp))
  (:action on :parameters (?l - lamp) :precondition (not (lit ?l)) :effect (lit ?l))
  (:action off :parameters (?l - lamp) :precondition (lit ?l) :effect (not (lit ?l))))"""
UNTYPED_LAMPS = LAMPS.replace("(:types lamp box)", "").replace(" - lamp", "")
NUMBERS = """(define (domain numbers) (:requirements :adl :fluents) (:predicates (done)) (:functions (f))
  (:action go :parameters () :precondition {} :effect (done)))"""
ANYTHING = """(define (domain things) (:requirements :adl) (:types lamp) (:predicates (seen ?o - object))
  (:action see :parameters (?o - object) :precondition (not (seen ?o)) :effect (seen ?o)))"""
LIT_BY_A_BOX = LAMPS.replace("(:predicates", "(:constants a - lamp) (:predicates (bright ?l - lamp)").replace(
    "(:action on",
    "(:derived (bright ?l - lamp) (or (lit ?l) (exists (?z - lamp) (and (exists (?x ?y - box) (lit ?l)) (bright ?z)))))"
    "(:action on",
)
DARK = LAMPS.replace("(:action on", "(:derived (dark ?l - lamp) (not (lit ?l))) (:action on", 1).replace(
    "(:predicates", "(:predicates (dark ?l - lamp)"
)
NOT_EVERY_BOX = LAMPS.replace(":precondition (lit ?l)", ":precondition (not (forall (?x - box ?y - lamp) (lit ?y)))")


def lamps(goal="(lit a)", constraints="", objects="a b - lamp", init=""):
    section = f"(:constraints {constraints})" if constraints else ""
    return f"(define (problem p) (:domain lamps) (:objects {objects}) (:init {init}) (:goal {goal}) {section})"


def number(value, goal="(done)"):
    init = "" if value is None else f"(= (f) {value})"
    return f"(define (problem p) (:domain numbers) (:init {init}) (:goal {goal}))"


def things(goal):
    return f"(define (problem p) (:domain things) (:objects a - lamp) (:init) (:goal {goal}))"


class Pin(NamedTuple):
    """`ours` and `val`: class and the step that VAL counts, or for VAL alone that it "dies" or "refuses"."""

    domain: str
    problem: str
    plan: str
    ours: tuple[str, int | None]
    val: tuple[str, int | None] | str


SUCCESS = ("success_plans", None)
FORMAT = ("plan_format_error", None)
GOAL = ("goal_not_satisfied", None)


def precondition(step):
    return ("precondition_violation", step)


def constraint(state):
    return ("safety_constraints_violation", state)


PINS: dict[str, list[Pin]] = {
    "free text": [
        Pin(LAMPS, lamps(goal="(not (lit a))"), "Here is my plan:\n(on a)\n(off a)\n", FORMAT, SUCCESS),
        Pin(LAMPS, lamps(), "(on a)\nThat is all.\n(on a)\n", FORMAT, SUCCESS),
        Pin(LAMPS, lamps(), "(on a))\n", FORMAT, SUCCESS),
    ],
    "wrappers and step numbers": [
        Pin(LAMPS, lamps(), "```pddl\n(on a)\n```\n", SUCCESS, GOAL),
        Pin(LAMPS, lamps(), "<think>a is dark</think>\n(on a)\n", SUCCESS, GOAL),
        Pin(LAMPS, lamps(), "1. (on a)\n", SUCCESS, FORMAT),
    ],
    "size limits": [
        Pin(LAMPS, lamps(), "; padding padding padding padding padding padding\n" * 20_000 + "(on a)\n", FORMAT, SUCCESS)
    ],
    "surplus arguments": [
        Pin(UNTYPED_LAMPS, lamps(objects="a b"), "(on a b)\n", FORMAT, SUCCESS),
        Pin(LAMPS, lamps(), "(on a b)\n", FORMAT, "dies"),
    ],
    "made-up objects": [
        Pin(UNTYPED_LAMPS, lamps(goal="(exists (?x) (lit ?x))", objects="a"), "(on nobody)\n", GOAL, SUCCESS),
        Pin(UNTYPED_LAMPS, lamps(goal="(forall (?x) (not (lit ?x)))", objects="a"), "(on nobody)\n", SUCCESS, GOAL),
    ],
    "order of time stamps": [
        Pin(LAMPS, lamps("(and (lit a) (not (lit b)))"), "2: (off b)\n1: (on b)\n3: (on a)\n", FORMAT, SUCCESS),
        Pin(LAMPS, lamps("(and (lit a) (lit b))"), "1: (on b)\n1: (on a)\n", FORMAT, SUCCESS),
    ],
    "time stamps and timed constraints": [
        Pin(LAMPS, lamps(constraints="(within 1 (lit a))"), "0: (on b)\n1: (on a)\n", constraint(2), SUCCESS),
        Pin(LAMPS, lamps(constraints="(within 2 (lit a))"), "5: (on b)\n9: (on a)\n", SUCCESS, constraint(1)),
    ],
    "hold-during": [Pin(LAMPS, lamps(constraints="(hold-during 0 3 (not (lit b)))"), "(on a)\n(on b)\n", constraint(2), SUCCESS)],
    "hold-after": [
        Pin(LAMPS, lamps(constraints="(hold-after 1 (lit a))"), "(on b)\n(on a)\n", SUCCESS, constraint(0)),
        Pin(LAMPS, lamps(constraints="(hold-after 1 (not (lit b)))"), "(on a)\n", SUCCESS, "dies"),
        Pin(LAMPS, lamps(constraints="(hold-after 9 (lit b))"), "(on a)\n", constraint(1), constraint(0)),
    ],
    "strict comparisons": [
        Pin(NUMBERS.format("(> (f) 1)"), number(1), "(go)\n", precondition(1), SUCCESS),
        Pin(NUMBERS.format("(< (f) 1)"), number(1), "(go)\n", precondition(1), SUCCESS),
    ],
    "undefined numbers": [
        Pin(NUMBERS.format("(> (f) 1)"), number(None), "(go)\n", precondition(1), "refuses"),
        Pin(NUMBERS.format("(not (> (f) 1))"), number(None), "(go)\n", precondition(1), "refuses"),
    ],
    "numbers past 2^53": [
        Pin(NUMBERS.format("(>= (- (f) 2) (f))"), number(2**64), "(go)\n", SUCCESS, precondition(1)),
    ],
    "variables of type object": [
        Pin(ANYTHING, things("(exists (?o - object) (seen ?o))"), "(see a)\n", SUCCESS, FORMAT),
        Pin(ANYTHING, things("(seen a)"), "(see a)\n", SUCCESS, "refuses"),
    ],
    "forall over constraints": [
        Pin(LAMPS, lamps(constraints="(forall (?x - box) (always (not (lit a))))"), "(on a)\n", SUCCESS, "dies"),
        Pin(
            LAMPS,
            lamps(constraints="(forall (?x - lamp) (and (forall (?y - lamp) (sometime (lit ?y))) (at-most-once (lit ?x))))"),
            "(on a)\n",
            constraint(1),
            "dies",
        ),
    ],
    "names": [
        Pin(LAMPS, lamps().replace("problem p", "problem 0"), "(on a)\n", SUCCESS, "refuses"),
        Pin(
            LAMPS.replace("lamp", "number"),
            lamps(objects="a - number").replace("lamps", "numbers"),
            "(on a)\n",
            SUCCESS,
            "refuses",
        ),
        Pin(LAMPS.replace("lit", "1st"), lamps(goal="(1st a)"), "(on a)\n", SUCCESS, "refuses"),
    ],
    "actions without precondition": [
        Pin(LAMPS.replace(":precondition (not (lit ?l))", ""), lamps(), "(on a)\n", SUCCESS, "refuses"),
    ],
    "derived facts in constraints": [
        Pin(
            DARK.replace("(not (lit ?l)) :effect", "(dark ?l) :effect"),
            lamps(constraints="(always (dark a))"),
            "(on a)\n(on b)\n",
            constraint(1),
            constraint(2),
        ),
    ],
    "what it cannot parse": [
        Pin(LAMPS.replace("(:constraints", "(:requirements"), lamps(goal="(and (lit a) (or))"), "(on a)\n", GOAL, "refuses"),
    ],
    "advice over no object": [
        Pin(NOT_EVERY_BOX, lamps(), "(off a)\n", precondition(1), "dies"),
        Pin(LIT_BY_A_BOX, lamps(constraints="(sometime (bright a))"), "(on a)\n", SUCCESS, "dies"),
    ],
}


def test_every_deviation_on_the_page_has_pins_and_every_pin_is_on_the_page():
    text = (ROOT / "docs" / "verifier.md").read_text(encoding="utf-8")
    rows = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in text.splitlines() if line.startswith("| ")]
    named = [row[0] for row in rows if len(row) == 4][1:]
    assert len(named) >= 10 and named == sorted(PINS, key=named.index)


@pytest.mark.parametrize(("name", "pin"), [(name, pin) for name, pins in PINS.items() for pin in pins])
def test_both_answers(tmp_path, name, pin):
    assert ours(pin.domain, pin.problem, pin.plan) == pin.ours
    assert vals(tmp_path, pin) == pin.val
    assert pin.ours != pin.val


def ours(domain_text, problem_text, plan):
    domain = parse_domain(domain_text)
    verdict = validate_text(compile_task(domain, parse_problem(problem_text, domain)), plan)
    return verdict.verdict_class, step_of(verdict)


def vals(folder, pin):
    try:
        answer = Val(find_val(), folder).verify(pin.domain, pin.problem, pin.plan)
    except ValCannotRead:
        return "refuses"
    if answer.crashed:
        return "dies"
    counts = answer.verdict_class in ("precondition_violation", "safety_constraints_violation")
    return answer.verdict_class, answer.step if counts else None


def as_val_reads_it(constraint_text):
    """What VAL makes of hold-during and hold-after, said in constraints that it gets right."""
    text = re.sub(
        r"\(hold-during (\S+) (\S+) ",
        lambda match: f"(hold-during {match[1]} {min(math.ceil(float(match[1])) + 1, float(match[2]))} ",
        constraint_text,
    )
    return re.sub(r"\(hold-after \S+ ", "(always ", text)


def test_the_two_defects_are_all_there_is_to_hold_during_and_hold_after(tmp_path):
    """Random windows and plans: VAL answers as if the constraint said what the list says that it reads."""
    rng = stream(seed_from_environment(), "hold")
    differ = 0
    for _ in range(80):
        start = rng.choice([rng.randint(0, 4), rng.randint(0, 4) + 0.5])
        words = rng.choice([f"hold-during {start} {start + rng.randint(0, 4)}", f"hold-after {start}"])
        condition = rng.choice(["(lit a)", "(not (lit a))", "(or (lit a) (lit b))", "(not (and (lit a) (lit b)))"])
        text = f"({words} {condition})"
        lit, plan = set(), ""
        for _ in range(rng.randint(0, 7)):
            lamp = rng.choice("ab")
            plan += f"({'off' if lamp in lit else 'on'} {lamp})\n"
            lit ^= {lamp}
        goal = f"({'lit' if 'a' in lit else 'not (lit'} a{')' if 'a' not in lit else ''})"
        pin = Pin(LAMPS, lamps(goal, text), plan, ours(LAMPS, lamps(goal, text), plan), "")
        expected = ours(LAMPS, lamps(goal, as_val_reads_it(text)), plan)
        found = vals(tmp_path, pin)
        if "hold-after" in text and found == "dies":
            assert read_plan(plan) == [] or expected != constraint(0), (text, plan)
        else:
            assert found == expected, (text, plan)
        differ += found != pin.ours
    assert differ > 5


PREFERRING = """(define (domain lamps) (:requirements :adl :preferences :constraints :fluents) (:types lamp box)
  (:predicates (lit ?l - lamp)) (:functions (cost))
  (:action on :parameters (?l - lamp) :precondition (not (lit ?l)) :effect (and (lit ?l) (increase (cost) 1))))"""


@pytest.mark.parametrize(
    ("goal", "constraints", "metric", "ours", "val"),
    [
        ("(and (lit a) (preference (lit b)))", "", "(cost)", 1, 0),
        ("(lit a)", "(preference k (and (sometime (lit b)) (always (not (lit a)))))", "(is-violated k)", 1, 2),
    ],
)
def test_both_values_of_the_metric(tmp_path, goal, constraints, metric, ours, val):
    problem_text = lamps(goal, constraints, init="(= (cost) 0)").removesuffix(")") + f" (:metric minimize {metric}))"
    domain = parse_domain(PREFERRING)
    assert validate_text(compile_task(domain, parse_problem(problem_text, domain)), "(on a)").plan_cost == ours
    assert Val(find_val(), tmp_path).verify(PREFERRING, problem_text, "(on a)\n").value == val
