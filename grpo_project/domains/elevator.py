"""Elevator: one lift of any capacity fetches passengers and brings each to the floor where it wants to go.

Held out: default training data never contain it, so that it measures whether a model plans in a domain it has only read about.
Constraints: one passenger is served before another, two never ride together, or the lift visits a third floor first.
"""

from __future__ import annotations

import random

from grpo_project.domains.base import (
    Heuristic,
    Parameters,
    PlanningDomain,
    bits,
    conjunction,
    first_drawn,
    goal_atoms,
    remembered,
)
from grpo_project.pddl import Atom, Problem, Task
from grpo_project.pddl.model import And, Constraint, Literal, Not, TrajectoryConstraint

DOMAIN_PDDL = """\
; A lift that carries any number of passengers between floors.
(define (domain elevator)
  (:requirements :typing :strips :constraints :negative-preconditions)
  (:types
    floor passenger - object)
  (:predicates
    (lift-at ?floor - floor)
    (below ?lower - floor ?upper - floor)
    (waiting ?passenger - passenger ?floor - floor)
    (bound-for ?passenger - passenger ?floor - floor)
    (riding ?passenger - passenger)
    (served ?passenger - passenger))

  (:action up
    :parameters (?start - floor ?target - floor)
    :precondition (and (lift-at ?start) (below ?start ?target))
    :effect (and (not (lift-at ?start)) (lift-at ?target)))

  (:action down
    :parameters (?start - floor ?target - floor)
    :precondition (and (lift-at ?start) (below ?target ?start))
    :effect (and (not (lift-at ?start)) (lift-at ?target)))

  (:action enter
    :parameters (?passenger - passenger ?floor - floor)
    :precondition (and (lift-at ?floor) (waiting ?passenger ?floor))
    :effect (and (not (waiting ?passenger ?floor)) (riding ?passenger)))

  (:action leave
    :parameters (?passenger - passenger ?floor - floor)
    :precondition (and (lift-at ?floor) (riding ?passenger) (bound-for ?passenger ?floor))
    :effect (and (not (riding ?passenger)) (served ?passenger))))
"""


def generate(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem:
    what = f"elevator with {parameters['f']} floors and {parameters['p']} passengers"
    return first_drawn(lambda: _draw(rng, parameters, constraints), what)


def _draw(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem | None:
    floors = [f"f{i}" for i in range(parameters["f"])]
    passengers = [f"p{i}" for i in range(1, parameters["p"] + 1)]
    trips = {passenger: tuple(rng.sample(floors, 2)) for passenger in passengers}
    lift = rng.choice(floors)
    constraint = None
    if constraints:
        constraint = _constraint(rng, floors, lift, trips)
        if constraint is None:
            return None
    init: set[Atom] = {*_below(floors), ("lift-at", lift)}
    for passenger, (origin, target) in trips.items():
        init |= {("waiting", passenger, origin), ("bound-for", passenger, target)}
    return Problem(
        f"elevator-f{len(floors)}-p{len(passengers)}",
        "elevator",
        {floor: "floor" for floor in floors} | {passenger: "passenger" for passenger in passengers},
        frozenset(init),
        conjunction([("served", passenger) for passenger in passengers]),
        constraint,
    )


def _below(floors: list[str]) -> set[Atom]:
    """Every pair of floors in counting order: the lift passes floors without stopping."""
    return {("below", lower, upper) for i, lower in enumerate(floors) for upper in floors[i + 1 :]}


def _constraint(rng: random.Random, floors: list[str], lift: str, trips: dict[str, tuple[str, ...]]) -> Constraint | None:
    """One of three kinds; None where a third floor is asked for and there is none."""
    kind = rng.choice(("order", "apart", "visit")) if len(trips) >= 2 else "visit"
    if kind == "visit":
        passenger = rng.choice(list(trips))
        # Where the lift starts, fetches and sets down, it comes anyway.
        thirds = [floor for floor in floors if floor not in (lift, *trips[passenger])]
        if not thirds:
            return None
        return TrajectoryConstraint("sometime-before", (Literal(("served", passenger)), Literal(("lift-at", rng.choice(thirds)))))
    one, other = rng.sample(list(trips), 2)
    if kind == "order":
        return TrajectoryConstraint("sometime-before", (Literal(("served", one)), Literal(("served", other))))
    pair = And(tuple(Literal(("riding", passenger)) for passenger in sorted((one, other))))
    return TrajectoryConstraint("always", (Not(pair),))


def atoms_by_name(problem: Problem) -> frozenset[Atom]:
    """Floors lie above one another in counting order."""
    return frozenset(_below([name for name, kind in problem.objects.items() if kind == "floor"]))


def heuristic(task: Task) -> Heuristic | None:
    """An entering and a leaving for each passenger, and one move into each floor where the lift still has to come.

    It has to come to a floor where it is already when a passenger who waits elsewhere wants to go there.
    """
    init = task.problem.init
    wanted = {atom[1] for atom in goal_atoms(task.problem.goal) if atom[0] == "served"}
    targets = {atom[1]: atom[2] for atom in init if atom[0] == "bound-for"}
    places = [atom[1] for atom in init if atom[0] in ("waiting", "riding", "served")]
    if sum(atom[0] == "bound-for" for atom in init) != len(targets) or len(set(places)) != len(places):
        return None  # someone in two places, or with two targets
    if sum(atom[0] == "lift-at" for atom in init) != 1:
        return None
    floors = {floor: 1 << i for i, floor in enumerate(task.objects_of("floor"))}
    lift_at = {task.bit(("lift-at", floor)): mask for floor, mask in floors.items()}
    waiting: dict[int, tuple[int, int]] = {}  # bit of (waiting passenger floor) -> masks of that floor and of the target
    riding: dict[int, int] = {}
    for passenger in sorted(wanted & set(targets)):
        target = floors[targets[passenger]]
        riding[task.bit(("riding", passenger))] = target
        for floor, mask in floors.items():
            waiting[task.bit(("waiting", passenger, floor))] = (mask, target)
    lift_mask, waiting_mask, riding_mask = sum(lift_at), sum(waiting), sum(riding)

    def bound(state: int) -> int:
        here = lift_at.get(state & lift_mask, 0)
        steps = to_visit = to_come_back = 0
        for bit in bits(state & waiting_mask):
            origin, target = waiting[bit]
            steps += 2
            to_visit |= origin | target
            if origin != here:
                to_come_back |= target & here
        for bit in bits(state & riding_mask):
            steps += 1
            to_visit |= riding[bit]
        return steps + (to_visit & ~here).bit_count() + to_come_back.bit_count()

    return remembered(bound, lift_mask | waiting_mask | riding_mask)


DOMAIN = PlanningDomain(
    name="elevator",
    domain_pddl=DOMAIN_PDDL,
    file_name_format="elevator-f{f}-p{p}-s{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["p"] + 3.0 * parameters["f"],
    sizes={
        "small": {"f": (3, 4), "p": (1, 2)},
        "train": {"f": (3, 6), "p": (1, 4)},
        "harder": {"f": (7, 8), "p": (5, 6)},
        "far": {"f": (11, 12), "p": (7, 8)},
    },
    generate=generate,
    atoms_by_name=atoms_by_name,
    heuristic=heuristic,
    valid_parameters=lambda parameters: parameters["f"] >= 2 and parameters["p"] >= 1,
    held_out=True,
    phrases={
        "lift-at": "the lift is at {0}",
        "below": "{0} is below {1}",
        "waiting": "{0} waits at {1}",
        "bound-for": "{0} wants to go to {1}",
        "riding": "{0} is in the lift",
        "served": "{0} has arrived",
    },
)
