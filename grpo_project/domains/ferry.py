"""Ferry: one ferry carries cars, one at a time, between locations.

Constraints: before a car arrives, the ferry has been at a certain third place.
"""

from __future__ import annotations

import random
from itertools import groupby

from grpo_project.domains.base import (
    Heuristic,
    Parameters,
    PlanningDomain,
    Reasoned,
    bits,
    conjunction,
    drawn_order,
    first_drawn,
    goal_atoms,
    in_lines,
    numbered,
    remembered,
)
from grpo_project.pddl import Atom, Problem, Step, Task
from grpo_project.pddl.model import Constraint, ConstraintAnd, Literal, TrajectoryConstraint

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
    what = f"ferry with {parameters['l']} locations and {parameters['c']} cars"
    return first_drawn(lambda: _draw(rng, parameters, constraints), what)


def _draw(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem | None:
    places = [f"l{i}" for i in range(parameters["l"])]
    cars = [f"c{i}" for i in range(parameters["c"])]
    start = {car: rng.choice(places) for car in cars}
    target = {car: rng.choice(places) for car in cars}
    ferry = rng.choice(places)
    if start == target:
        return None
    constraint = None
    if constraints:
        constraint = _constraint(rng, places, ferry, start, target)
        if constraint is None:
            return None
    static: set[Atom] = {("location", place) for place in places} | {("car", car) for car in cars}
    static |= {("not-eq", a, b) for a in places for b in places if a != b}
    init = static | {("at", car, place) for car, place in start.items()} | {("at-ferry", ferry), ("empty-ferry",)}
    return Problem(
        f"ferry-l{len(places)}-c{len(cars)}",
        "ferry",
        {name: "object" for name in (*places, *cars)},
        frozenset(init),
        conjunction([("at", car, target[car]) for car in cars]),
        constraint,
    )


def _constraint(
    rng: random.Random, places: list[str], ferry: str, start: dict[str, str], target: dict[str, str]
) -> Constraint | None:
    """For chosen cars that travel: before the car arrives, the ferry is at a third place. None where there is no such place."""
    # Where the car or the ferry starts, and where the car goes, the ferry comes anyway: that would ask nothing.
    choices = {
        car: [place for place in places if place not in (start[car], target[car], ferry)]
        for car in start
        if start[car] != target[car]
    }
    cars = [car for car, thirds in choices.items() if thirds]
    if not cars:
        return None
    # Published problems have one for every car that travels.
    if rng.random() < 0.3:
        cars = sorted(rng.sample(cars, rng.randint(1, len(cars))))
    parts = tuple(
        TrajectoryConstraint(
            "sometime-before", (Literal(("at", car, target[car])), Literal(("at-ferry", rng.choice(choices[car]))))
        )
        for car in cars
    )
    return parts[0] if len(parts) == 1 else ConstraintAnd(parts)


def atoms_by_name(problem: Problem) -> frozenset[Atom]:
    """Names that begin with l are locations, pairwise different; names that begin with c are cars; the ferry is empty."""
    places = [name for name in problem.objects if name.startswith("l")]
    cars = [name for name in problem.objects if name.startswith("c")]
    atoms: set[Atom] = {("location", place) for place in places} | {("car", car) for car in cars} | {("empty-ferry",)}
    return frozenset(atoms | {("not-eq", a, b) for a in places for b in places if a != b})


def implied_atoms(problem: Problem) -> frozenset[Atom]:
    """Locations are pairwise different."""
    places = [atom[1] for atom in problem.init if atom[0] == "location"]
    return frozenset(("not-eq", a, b) for a in places for b in places if a != b)


def heuristic(task: Task) -> Heuristic | None:
    """Boarding, debarking and a loaded crossing for each car, and the empty crossings that join them.

    The loaded crossings are edges from origin to target; what an Eulerian walk from the ferry's place lacks has to be
    crossed empty: for each connected part the surplus of departures over arrivals, and at least one where the ferry is
    not in it. Setting a car down on the way costs two steps and saves at most one crossing, so it never beats this.
    """
    if sum(atom[0] in ("on", "empty-ferry") for atom in task.problem.init) > 1:
        return None  # a start that lets the ferry hold more than one car
    locations = [name for name in task.problem.objects if ("location", name) in task.problem.init]
    places = {place: i for i, place in enumerate(locations)}
    targets = {atom[1]: places[atom[2]] for atom in goal_atoms(task.problem.goal) if atom[0] == "at" and atom[2] in places}
    ferry_at = {task.bit(("at-ferry", place)): i for place, i in places.items()}
    trips: dict[int, tuple[int, int]] = {}  # bit of (at car place), where the car still has to travel -> origin, target
    aboard: dict[int, int] = {}
    for car, target in targets.items():
        aboard[task.bit(("on", car))] = target
        for place, i in places.items():
            if i != target:
                trips[task.bit(("at", car, place))] = (i, target)
    ferry_mask, trip_mask, aboard_mask = sum(ferry_at), sum(trips), sum(aboard)

    def bound(state: int) -> int:
        ferry = ferry_at.get(state & ferry_mask)
        if ferry is None:
            return 0
        value = 0
        loaded = aboard.get(state & aboard_mask)
        if loaded is not None:
            value = 1 + (loaded != ferry)
            ferry = loaded
        surplus: dict[int, int] = {}  # departures less arrivals
        part: dict[int, int] = {}  # the connected part that a place belongs to
        for bit in bits(state & trip_mask):
            origin, target = trips[bit]
            value += 3
            surplus[origin] = surplus.get(origin, 0) + 1
            surplus[target] = surplus.get(target, 0) - 1
            one, other = part.setdefault(origin, origin), part.setdefault(target, target)
            if one != other:
                for place, own in part.items():
                    if own == other:
                        part[place] = one
        if ferry in surplus:
            surplus[ferry] -= 1
        missing: dict[int, int] = {}
        for place, own in part.items():
            missing[own] = missing.get(own, 0) + max(0, surplus[place])
        home = part.get(ferry)
        for own, empty in missing.items():
            value += empty if own == home else max(1, empty)
        return value

    return remembered(bound, ferry_mask | trip_mask | aboard_mask)


def policy(problem: Problem, rng: random.Random | None = None) -> tuple[Step, ...] | None:
    """Car by car: first to the place that a constraint wants visited before this car arrives, then fetch it and bring it."""
    return _by_car(problem, rng)[1]


def reasoned_policy(problem: Problem) -> Reasoned | None:
    """As `policy`, with the constraints in front, and then the places of the ferry for each car, from where it is then:

    ? c0 l5 ; c2 l1 l3 l0 ; c0 l0 l5 l2 l4 ;

    `?` what is visited before a car arrives. Of a car's places the last is where it goes, the one before where it is.
    """
    return _by_car(problem, None)


def _by_car(problem: Problem, rng: random.Random | None) -> Reasoned:
    place = {atom[1]: atom[2] for atom in problem.init if atom[0] == "at"}
    here = next(atom[1] for atom in problem.init if atom[0] == "at-ferry")
    required: dict[Atom, str] = {}
    constraint = problem.constraints
    for part in constraint.parts if isinstance(constraint, ConstraintAnd) else (constraint,):
        if isinstance(part, TrajectoryConstraint) and len(part.formulas) == 2:
            goal, visit = part.formulas
            if isinstance(goal, Literal) and isinstance(visit, Literal):
                required[goal.atom] = visit.atom[1]
    lines = [["?", atom[1], visit] for atom, visit in required.items()]
    steps: list[Step] = []

    def sail(target: str) -> None:
        nonlocal here
        if here != target:
            steps.append(("sail", here, target))
            here = target

    for atom in drawn_order(goal_atoms(problem.goal), rng):
        if atom in problem.init:
            continue
        _, car, target = atom
        first = [required[atom]] if atom in required else []
        stops = (here, *first, place[car], target)
        lines.append([car, *(stop for stop, _ in groupby(stops))])
        # Also where it has been there before: one crossing too many, but the rule needs no memory.
        sail(required.get(atom, here))
        sail(place[car])
        steps.append(("board", car, here))
        sail(target)
        steps.append(("debark", car, here))
    return in_lines(lines), tuple(steps)


DOMAIN = PlanningDomain(
    name="ferry",
    domain_pddl=DOMAIN_PDDL,
    file_name_format="ferry-l{l}-c{c}-s{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["l"] + 3.0 * parameters["c"],
    sizes={
        "small": {"l": (3, 4), "c": (1, 2)},
        "train": {"l": (3, 6), "c": (1, 3)},
        "harder": {"l": (7, 8), "c": (4, 5)},
        "far": {"l": (11, 12), "c": (7, 8)},
    },
    generate=generate,
    implied_atoms=implied_atoms,
    atoms_by_name=atoms_by_name,
    heuristic=heuristic,
    policy=policy,
    reasoned_policy=reasoned_policy,
    valid_parameters=lambda parameters: parameters["l"] >= 2 and parameters["c"] >= 1,
    phrases={
        "location": "{0} is a location",
        "car": "{0} is a car",
        "not-eq": "{0} and {1} are different places",
        "at": "{0} is at {1}",
        "on": "{0} is on the ferry",
        "at-ferry": "the ferry is at {0}",
        "empty-ferry": "the ferry is empty",
    },
    object_names=numbered("l", 0, 14) + numbered("c", 0, 11),
)
