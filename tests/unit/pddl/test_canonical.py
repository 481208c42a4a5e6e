"""The canonical form forgets names and orders, and nothing else."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.instances import generate_instance
from grpo_project.domains import all_domains, get_domain
from grpo_project.pddl import Problem, parse_domain, parse_problem
from grpo_project.pddl.canonical import canonical_form
from grpo_project.pddl.model import And, ConstraintAnd, Literal, TypedName

NAMES = sorted(all_domains())

DOMAIN = parse_domain(
    """(define (domain graph) (:requirements :strips :constraints) (:constants hub)
    (:predicates (edge ?x ?y) (mark ?x)) (:action noop :parameters (?x) :precondition (mark ?x) :effect (not (mark ?x))))"""
)


def graph(body: str, objects: str = "a b c", name: str = "p") -> str:
    problem = f"(define (problem {name}) (:domain graph) (:objects {objects}) {body})"
    return canonical_form(DOMAIN, parse_problem(problem, DOMAIN))


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Any formula, constraint or atom with its objects renamed; dataclasses are walked field by field."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, tuple):
        return tuple(renamed(part, names) for part in value)
    if value is None or isinstance(value, float | TypedName):
        return value
    return type(value)(*(renamed(getattr(value, field), names) for field in value.__dataclass_fields__))


def shuffled(value: Any, rng: random.Random) -> Any:
    """The members of every `and` in another order."""
    if isinstance(value, And | ConstraintAnd):
        parts = [shuffled(part, rng) for part in value.parts]
        return type(value)(tuple(rng.sample(parts, len(parts))))
    if isinstance(value, tuple) and not all(isinstance(part, str) for part in value):
        return tuple(shuffled(part, rng) for part in value)
    if isinstance(value, Literal | TypedName) or not hasattr(value, "__dataclass_fields__"):
        return value
    return type(value)(*(shuffled(getattr(value, field), rng) for field in value.__dataclass_fields__))


def disguised(problem: Problem, rng: random.Random) -> Problem:
    """The same problem with other names for everything, in other orders."""
    objects = list(problem.objects)
    names = dict(zip(objects, (f"x{i}" for i in rng.sample(range(1000), len(objects))), strict=True))
    return replace(
        problem,
        name="disguised",
        objects={names[name]: problem.objects[name] for name in rng.sample(objects, len(objects))},
        init=frozenset(renamed(atom, names) for atom in problem.init),
        goal=shuffled(renamed(problem.goal, names), rng),
        constraints=shuffled(renamed(problem.constraints, names), rng),
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_names_and_orders_do_not_matter(name: str, share: float) -> None:
    domain = get_domain(name)
    changed = 0
    for index in range(40):
        problem = generate_instance(domain, 2, index, domain.sizes["train"], share).problem
        other = disguised(problem, random.Random(index))
        changed += other != problem
        assert canonical_form(domain.domain, other) == canonical_form(domain.domain, problem)
    assert changed == 40


@pytest.mark.parametrize("name", NAMES)
def test_different_problems_have_different_forms(name: str) -> None:
    """Every initial atom, goal and constraint counts."""
    domain = get_domain(name)
    problem = generate_instance(domain, 2, 1, {p: (high, high) for p, (_, high) in domain.sizes["train"].items()}, 1.0).problem
    forms = {canonical_form(domain.domain, problem), canonical_form(domain.domain, replace(problem, constraints=None))}
    for atom in problem.init:
        form = canonical_form(domain.domain, replace(problem, init=problem.init - {atom}))
        assert form != canonical_form(domain.domain, problem), atom
        forms.add(form)
    assert isinstance(problem.goal, And)
    forms.add(canonical_form(domain.domain, replace(problem, goal=And(problem.goal.parts[1:]))))
    assert len(forms) >= 4


def test_it_is_hexadecimal_and_fixed() -> None:
    form = graph("(:init (edge a b)) (:goal (mark b))")
    assert len(form) == 64 and int(form, 16) >= 0
    assert form == graph("(:init (edge c a)) (:goal (mark a))", name="other")


def test_direction_and_distance_count() -> None:
    chain = graph("(:init (edge a b) (edge b c)) (:goal (mark c))")
    assert chain != graph("(:init (edge b a) (edge c b)) (:goal (mark c))")
    assert chain != graph("(:init (edge a b) (edge b c)) (:goal (mark b))")
    assert chain != graph("(:init (edge a b) (edge b c)) (:goal (mark c))", objects="a b c d")


def test_constants_keep_their_names() -> None:
    assert graph("(:init (edge a hub)) (:goal (mark a))") != graph("(:init (edge a b)) (:goal (mark a))")


def test_a_constraint_is_told_from_a_goal_and_one_side_from_the_other() -> None:
    start = "(:init (edge a b) (edge b a)) (:goal (and (edge a c) (edge b c)))"
    before = graph(f"{start} (:constraints (sometime-before (edge a c) (edge c a)))")
    assert before == graph(f"{start} (:constraints (sometime-before (edge b c) (edge c b)))")
    assert before != graph(f"{start} (:constraints (sometime-before (edge c a) (edge a c)))")
    assert before != graph(f"{start} (:constraints (sometime-after (edge a c) (edge c a)))")
    assert graph(f"{start} (:constraints (always (or (mark a) (mark c))))") == graph(
        f"{start} (:constraints (and (always (or (mark c) (mark b)))))"
    )
    assert graph(f"{start} (:constraints (always (imply (mark a) (mark c))))") != graph(
        f"{start} (:constraints (always (imply (mark c) (mark a))))"
    )


def test_it_is_the_same_whatever_the_hash_seed() -> None:
    program = """
from grpo_project.domains import all_domains
from grpo_project.data.instances import generate_instance
for domain in all_domains().values():
    for index in range(3):
        instance = generate_instance(domain, 1, index, domain.sizes["train"], 1.0)
        print(instance.canonical, instance.file_name, list(instance.problem.objects), instance.problem.goal)
"""
    root = Path(__file__).resolve().parents[3]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1 and len(outputs.pop()) > 1000


def test_it_is_fast() -> None:
    domain = get_domain("grippers")
    problems = [generate_instance(domain, 1, i, domain.sizes["train"], 0.5).problem for i in range(50)]
    began = time.process_time()
    for problem in problems:
        canonical_form(domain.domain, problem)
    assert (time.process_time() - began) / 50 < 0.005  # about 0.4 ms on an ordinary core; far more means it went quadratic
