"""Spanner: Bob walks a one-way corridor from the shed to the gate and needs one spanner per nut. What he passes is gone for good.

Constraints: one nut before another, and the shed is left at most once.
"""

from __future__ import annotations

import random
from itertools import pairwise

from grpo_project.domains.base import (
    DEAD_END,
    Heuristic,
    Parameters,
    PlanningDomain,
    Reasoned,
    conjunction,
    drawn_order,
    goal_atoms,
    in_lines,
    numbered,
)
from grpo_project.pddl import Atom, Problem, Step, Task, render_constraint
from grpo_project.pddl.model import (
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
    init: set[Atom] = {("link", a, b) for a, b in pairwise(corridor)} | {("at", "bob", "shed")}
    for spanner in spanners:
        init |= {("at", spanner, rng.choice(corridor[1:-1])), ("useable", spanner)}
    for nut in nuts:
        init |= {("at", nut, "gate"), ("loose", nut)}
    constraint: Constraint | None = None
    if constraints:
        once = ConstraintForall((TypedName("?m", "man"),), TrajectoryConstraint("at-most-once", (Literal(("at", "?m", "shed")),)))
        constraint = ConstraintAnd((once,))
        if len(nuts) >= 2:
            # Mostly neighbours in counting order, as in published problems; sometimes any two, sometimes against the order.
            first = rng.randrange(len(nuts) - 1)
            second = first + 1 if rng.random() < 0.8 else rng.randrange(first + 1, len(nuts))
            before, after = (nuts[first], nuts[second]) if rng.random() < 0.8 else (nuts[second], nuts[first])
            order = Imply(Not(Literal(("tightened", before))), Not(Literal(("tightened", after))))
            constraint = ConstraintAnd((TrajectoryConstraint("always", (order,)), once))
    return Problem(
        f"spanner-s{len(spanners)}-n{len(nuts)}-l{parameters['l']}",
        "spanner",
        objects,
        frozenset(init),
        conjunction([("tightened", nut) for nut in nuts]),
        constraint,
    )


def atoms_by_name(problem: Problem) -> frozenset[Atom]:
    """The corridor runs shed, location1, ..., gate; spanners are useable; nuts are loose and lie at the gate."""
    kinds = problem.objects
    corridor = _corridor(sum(name.startswith("location") for name in kinds))
    atoms: set[Atom] = {("link", a, b) for a, b in pairwise(corridor)}
    atoms |= {("useable", name) for name, kind in kinds.items() if kind == "spanner"}
    for name, kind in kinds.items():
        if kind == "nut":
            atoms |= {("loose", name), ("at", name, "gate")}
    return frozenset(atoms)


def heuristic(task: Task) -> Heuristic | None:
    """The steps still to walk to the nuts, one for each loose nut, and one for each spanner still to be picked up.

    A dead end where the man, or the spanners in his hands and ahead of him, do not suffice.
    """
    problem = task.problem
    men, tools = task.objects_of("man"), task.objects_of("spanner")
    places = task.objects_of("location")
    nuts = [atom[1] for atom in goal_atoms(problem.goal) if atom[0] == "tightened"]
    nut_places = {atom[2] for atom in problem.init if atom[0] == "at" and atom[1] in set(nuts)}
    if len(men) != 1 or len(nut_places) > 1 or not nuts:
        return None
    following: dict[str, list[str]] = {place: [] for place in places}
    for atom in problem.init:
        if atom[0] == "link":
            following[atom[1]].append(atom[2])
    if any(len(next_places) > 1 for next_places in following.values()):
        return None  # not a chain
    gate = next(iter(nut_places), None)
    if gate is None:
        return None
    distance: dict[str, int] = {}
    for place in places:
        current, steps = place, 0
        while current != gate and following[current] and steps <= len(places):
            current, steps = following[current][0], steps + 1
        if current == gate:
            distance[place] = steps
    man_at = {task.bit(("at", men[0], place)): steps for place, steps in distance.items()}
    man_mask = 0
    for place in places:
        man_mask |= task.bit(("at", men[0], place))
    done_mask = 0
    for nut in nuts:
        done_mask |= task.bit(("tightened", nut))
    tools_here = [0] * (len(places) + 1)  # by distance to the gate: the spanners that lie there
    for tool in tools:
        for place, steps in distance.items():
            tools_here[steps] |= task.bit(("at", tool, place))
    tools_ahead = [0] * (len(places) + 1)  # those, and the ones at smaller distances
    ahead = 0
    for steps, mask in enumerate(tools_here):
        ahead |= mask
        tools_ahead[steps] = ahead
    hands = [(task.bit(("carrying", men[0], tool)), task.bit(("useable", tool))) for tool in tools]

    def bound(state: int) -> int:
        loose = (done_mask & ~state).bit_count()
        if not loose:
            return 0
        steps = man_at.get(state & man_mask)
        if steps is None:
            return DEAD_END
        ready = 0
        for carrying, useable in hands:
            if state & carrying and state & useable:
                ready += 1
        missing = loose - ready
        if missing <= 0:
            return steps + loose
        if missing > (state & tools_ahead[steps]).bit_count():
            return DEAD_END
        return steps + loose + missing

    return bound


def policy(problem: Problem, rng: random.Random | None = None) -> tuple[Step, ...] | None:
    """Walk to the gate, pick up every spanner on the way, then tighten the nuts as they are listed, or as a constraint orders,
    with the spanners as they are listed."""
    return _on_the_way(problem, rng)[1]


def reasoned_policy(problem: Problem) -> Reasoned | None:
    """As `policy`, with the nuts in front, in the order in which they are tightened, each with its spanner:

    nut2 spanner1 ; nut1 spanner2 ; nut3 spanner4 ;
    """
    return _on_the_way(problem, None)


def _on_the_way(problem: Problem, rng: random.Random | None) -> Reasoned:
    man = next(name for name, kind in problem.objects.items() if kind == "man")
    following = {atom[1]: atom[2] for atom in problem.init if atom[0] == "link"}
    place = {atom[1]: atom[2] for atom in problem.init if atom[0] == "at"}
    spanners = drawn_order((name for name, kind in problem.objects.items() if kind == "spanner"), rng)
    nuts = drawn_order((name for name, kind in problem.objects.items() if kind == "nut"), rng)
    steps: list[Step] = []
    here = place[man]
    while here in following:
        steps.append(("walk", here, following[here], man))
        here = following[here]
        for spanner in spanners:
            if place[spanner] == here:
                steps.append(("pickup_spanner", here, spanner, man))
    text = render_constraint(problem.constraints) if problem.constraints is not None else ""
    named = [word.strip("()") for word in text.split() if word.strip("()") in nuts]
    if len(named) == 2 and nuts.index(named[0]) > nuts.index(named[1]):
        first, second = (nuts.index(name) for name in named)
        nuts[first], nuts[second] = nuts[second], nuts[first]
    carried = (spanner for spanner in spanners if ("pickup_spanner", place[spanner], spanner, man) in steps)
    pairs = list(zip(nuts, drawn_order(carried, rng), strict=False))
    steps += [("tighten_nut", here, spanner, man, nut) for nut, spanner in pairs]
    return in_lines(pairs), tuple(steps)


DOMAIN = PlanningDomain(
    name="spanner",
    domain_pddl=DOMAIN_PDDL,
    file_name_format="spanner-s{s}-n{n}-l{l}-s{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["n"] + 3.0 * parameters["l"] + 2.0 * parameters["s"],
    sizes={
        "small": {"s": (2, 3), "n": (1, 2), "l": (3, 4)},
        "train": {"s": (2, 5), "n": (1, 4), "l": (3, 7)},
        "harder": {"s": (6, 7), "n": (5, 6), "l": (8, 9)},
        "far": {"s": (9, 10), "n": (7, 8), "l": (12, 14)},
    },
    generate=generate,
    atoms_by_name=atoms_by_name,
    heuristic=heuristic,
    policy=policy,
    reasoned_policy=reasoned_policy,
    valid_parameters=lambda parameters: 1 <= parameters["n"] <= parameters["s"] and parameters["l"] >= 1,
    phrases={
        "at": "{0} is at {1}",
        "link": "a way leads from {0} to {1}",
        "carrying": "{0} carries {1}",
        "useable": "{0} is useable",
        "loose": "{0} is loose",
        "tightened": "{0} is tightened",
    },
    object_names=["bob", "shed", "gate", *numbered("spanner", 1, 12), *numbered("nut", 1, 12), *numbered("location", 1, 16)],
)
