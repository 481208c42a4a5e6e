"""Spanner: Bob walks a one-way corridor from the shed to the gate and needs one spanner per nut. What he passes is gone for good.

Constraints: one nut before another, and the shed is left at most once.
"""

from __future__ import annotations

import random
import re

from grpo_project.domains.base import Heuristic, Parameters, PlanningDomain
from grpo_project.pddl import Atom, Problem, Task
from grpo_project.pddl.model import (
    And,
    Constraint,
    ConstraintAnd,
    ConstraintForall,
    Imply,
    Literal,
    Not,
    TrajectoryConstraint,
    TypedName,
)

DOMAIN_PDDL = """\
; A corridor that can be walked in one direction only; each spanner tightens one nut.
(define (domain spanner)
  (:requirements :typing :strips :constraints)
  (:types
    location locatable - object
    man nut spanner - locatable)
  (:predicates
    (at ?thing - locatable ?place - location)
    (link ?start - location ?end - location)
    (carrying ?man - man ?spanner - spanner)
    (useable ?spanner - spanner)
    (loose ?nut - nut)
    (tightened ?nut - nut))

  (:action walk
    :parameters (?start - location ?end - location ?man - man)
    :precondition (and (link ?start ?end) (at ?man ?start))
    :effect (and (not (at ?man ?start)) (at ?man ?end)))

  (:action pickup_spanner
    :parameters (?place - location ?spanner - spanner ?man - man)
    :precondition (and (at ?spanner ?place) (at ?man ?place))
    :effect (and (not (at ?spanner ?place)) (carrying ?man ?spanner)))

  (:action tighten_nut
    :parameters (?place - location ?spanner - spanner ?man - man ?nut - nut)
    :precondition (and (at ?man ?place) (at ?nut ?place) (loose ?nut) (carrying ?man ?spanner) (useable ?spanner))
    :effect (and (not (loose ?nut)) (not (useable ?spanner)) (tightened ?nut))))
"""


def _corridor(places: int) -> list[str]:
    return ["shed", *(f"location{i}" for i in range(1, places + 1)), "gate"]


def generate(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem:
    corridor = _corridor(parameters["l"])
    spanners = [f"spanner{i}" for i in range(1, parameters["s"] + 1)]
    nuts = [f"nut{i}" for i in range(1, parameters["n"] + 1)]
    objects = {"bob": "man"} | {name: "spanner" for name in spanners} | {name: "nut" for name in nuts}
    objects |= {place: "location" for place in corridor}
    init: set[Atom] = {("link", a, b) for a, b in zip(corridor, corridor[1:], strict=False)} | {("at", "bob", "shed")}
    for spanner in spanners:
        init |= {("at", spanner, rng.choice(corridor[1:-1])), ("useable", spanner)}
    for nut in nuts:
        init |= {("at", nut, "gate"), ("loose", nut)}
    constraint: Constraint | None = None
    if constraints:
        once = ConstraintForall(
            (TypedName("?m", "man"),), TrajectoryConstraint("at-most-once", (Literal(("at", "?m", "shed")),))
        )
        constraint = ConstraintAnd((once,))
        if len(nuts) >= 2:
            # Mostly neighbours in counting order, as in published problems; one time in five against it.
            number = rng.randint(1, len(nuts) - 1)
            before, after = f"nut{number}", f"nut{number + 1}"
            if rng.random() < 0.2:
                before, after = after, before
            order = Imply(Not(Literal(("tightened", before))), Not(Literal(("tightened", after))))
            constraint = ConstraintAnd((TrajectoryConstraint("always", (order,)), once))
    return Problem(
        f"spanner-s{len(spanners)}-n{len(nuts)}-l{parameters['l']}",
        "spanner",
        objects,
        frozenset(init),
        And(tuple(Literal(("tightened", nut)) for nut in nuts)),
        constraint,
    )


def implied_atoms(problem: Problem) -> frozenset[Atom]:
    """The corridor runs shed, location1, ..., gate; spanners are useable; nuts are loose and lie at the gate."""
    kinds = problem.objects
    corridor = _corridor(sum(name.startswith("location") for name in kinds))
    atoms: set[Atom] = {("link", a, b) for a, b in zip(corridor, corridor[1:], strict=False)}
    atoms |= {("useable", name) for name, kind in kinds.items() if kind == "spanner"}
    for name, kind in kinds.items():
        if kind == "nut":
            atoms |= {("loose", name), ("at", name, "gate")}
    return frozenset(atoms)


def heuristic(task: Task) -> Heuristic | None:
    """One step per loose nut, the walk to the last place with a nut, and the spanners still to be picked up."""
    kinds = task.problem.objects
    init = task.problem.init
    following = {atom[1]: atom[2] for atom in init if atom[0] == "link"}
    nuts = [name for name, kind in kinds.items() if kind == "nut"]
    men = [name for name, kind in kinds.items() if kind == "man"]
    if len(men) != 1 or not isinstance(task.problem.goal, And):
        return None
    goal_atoms = {part.atom for part in task.problem.goal.parts if isinstance(part, Literal)}
    tightened = sum(task.bit(("tightened", nut)) for nut in nuts if ("tightened", nut) in goal_atoms)
    spanners = [name for name, kind in kinds.items() if kind == "spanner"]
    carried = [(task.bit(("carrying", men[0], name)), task.bit(("useable", name))) for name in spanners]
    distances = []
    for place in [name for name, kind in kinds.items() if kind == "location"]:
        current, steps = place, 0
        while current in following and steps <= len(following) and current != "gate":
            current, steps = following[current], steps + 1
        distances.append((task.bit(("at", men[0], place)), steps if current == "gate" else 0))
    all_at_gate = all(("at", nut, "gate") in init for nut in nuts)

    def bound(state: int) -> float:
        loose = (tightened & ~state).bit_count()
        if not loose:
            return 0
        ready = 0
        for carrying, useable in carried:
            if state & carrying and state & useable:
                ready += 1
        total = loose + max(0, loose - ready)
        if all_at_gate:
            for here, steps in distances:
                if state & here:
                    return total + steps
        return total

    return bound


DOMAIN = PlanningDomain(
    name="spanner",
    domain_pddl=DOMAIN_PDDL,
    file_name_pattern=re.compile(r"spanner-s(?P<s>\d+)-n(?P<n>\d+)-l(?P<l>\d+)-s(?P<seed>\d+)\.pddl"),
    file_name_format="spanner-s{s}-n{n}-l{l}-s{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["n"] + 3.0 * parameters["l"] + 2.0 * parameters["s"],
    sizes={"train": {"s": (2, 5), "n": (1, 4), "l": (3, 7)}, "harder": {"s": (6, 7), "n": (5, 6), "l": (8, 9)}},
    generate=generate,
    implied_atoms=implied_atoms,
    heuristic=heuristic,
    valid_parameters=lambda parameters: parameters["n"] <= parameters["s"],
)
