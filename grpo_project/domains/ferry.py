"""Ferry: one ferry carries cars, one at a time, between locations. Constraints: before a car arrives the ferry visits a location."""

from __future__ import annotations

import random
import re

from grpo_project.domains.base import Heuristic, Parameters, PlanningDomain
from grpo_project.pddl import Atom, Problem, Task
from grpo_project.pddl.model import And, Constraint, ConstraintAnd, Literal, TrajectoryConstraint

DOMAIN_PDDL = """\
; A ferry that carries one car at a time between locations.
(define (domain ferry)
  (:requirements :strips :constraints :negative-preconditions)
  (:predicates
    (location ?place)
    (car ?car)
    (not-eq ?place1 ?place2)
    (at ?car ?place)
    (on ?car)
    (at-ferry ?place)
    (empty-ferry))

  (:action sail
    :parameters (?start ?target)
    :precondition (and (location ?start) (location ?target) (not-eq ?start ?target) (at-ferry ?start))
    :effect (and (not (at-ferry ?start)) (at-ferry ?target)))

  (:action board
    :parameters (?car ?place)
    :precondition (and (car ?car) (location ?place) (empty-ferry) (at-ferry ?place) (at ?car ?place))
    :effect (and (not (at ?car ?place)) (not (empty-ferry)) (on ?car)))

  (:action debark
    :parameters (?car ?place)
    :precondition (and (car ?car) (location ?place) (at-ferry ?place) (on ?car))
    :effect (and (not (on ?car)) (empty-ferry) (at ?car ?place))))
"""


def generate(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem:
    places = [f"l{i}" for i in range(parameters["l"])]
    cars = [f"c{i}" for i in range(parameters["c"])]
    start = {car: rng.choice(places) for car in cars}
    target = {car: rng.choice(places) for car in cars}
    while start == target:
        target = {car: rng.choice(places) for car in cars}
    static: set[Atom] = {("location", place) for place in places} | {("car", car) for car in cars}
    static |= {("not-eq", a, b) for a in places for b in places if a != b}
    ferry = rng.choice(places)
    init = static | {("at", car, place) for car, place in start.items()} | {("at-ferry", ferry), ("empty-ferry",)}
    constraint: Constraint | None = None
    if constraints:
        moving = [car for car in cars if start[car] != target[car]]
        # One location per car that moves, for at least one of them.
        chosen = sorted(rng.sample(moving, rng.randint(1, len(moving))))
        parts = []
        for car in chosen:
            visited = rng.choice([place for place in places if place != target[car]])
            parts.append(
                TrajectoryConstraint(
                    "sometime-before", (Literal(("at", car, target[car])), Literal(("at-ferry", visited)))
                )
            )
        constraint = parts[0] if len(parts) == 1 else ConstraintAnd(tuple(parts))
    return Problem(
        f"ferry-l{len(places)}-c{len(cars)}",
        "ferry",
        {name: "object" for name in (*places, *cars)},
        frozenset(init),
        And(tuple(Literal(("at", car, target[car])) for car in cars)),
        constraint,
    )


def implied_atoms(problem: Problem) -> frozenset[Atom]:
    """Names that begin with l are locations, pairwise different; names that begin with c are cars; the ferry is empty."""
    places = [name for name in problem.objects if name.startswith("l")]
    cars = [name for name in problem.objects if name.startswith("c")]
    atoms: set[Atom] = {("location", place) for place in places} | {("car", car) for car in cars} | {("empty-ferry",)}
    return frozenset(atoms | {("not-eq", a, b) for a in places for b in places if a != b})


def heuristic(task: Task) -> Heuristic | None:
    """Board and debark for every car not in place; one sail to every place where such a car must be fetched or put."""
    if not isinstance(task.problem.goal, And):
        return None
    places = [name for name in task.problem.objects if ("location", name) in task.problem.init]
    here = {place: task.bit(("at-ferry", place)) for place in places}
    cars = []
    for part in task.problem.goal.parts:
        if not isinstance(part, Literal) or part.atom[0] != "at":
            continue
        car, target = part.atom[1], part.atom[2]
        sources = [(task.bit(("at", car, place)), here[place]) for place in places]
        cars.append((task.bit(part.atom), here[target], task.bit(("on", car)), sources))

    def bound(state: int) -> float:
        steps = 0
        visits = 0
        for done, target_here, aboard, sources in cars:
            if state & done:
                continue
            visits |= target_here
            if state & aboard:
                steps += 1
                continue
            steps += 2
            for at_source, source_here in sources:
                if state & at_source:
                    visits |= source_here
                    break
        return steps + (visits & ~state).bit_count()

    return bound


DOMAIN = PlanningDomain(
    name="ferry",
    domain_pddl=DOMAIN_PDDL,
    file_name_pattern=re.compile(r"ferry-l(?P<l>\d+)-c(?P<c>\d+)-s(?P<seed>\d+)\.pddl"),
    file_name_format="ferry-l{l}-c{c}-s{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["l"] + 3.0 * parameters["c"],
    sizes={"train": {"l": (3, 6), "c": (1, 3)}, "harder": {"l": (7, 8), "c": (4, 5)}},
    generate=generate,
    implied_atoms=implied_atoms,
    heuristic=heuristic,
)
