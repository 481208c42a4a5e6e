"""Delivery: a truck carries packages, one at a time, over a square grid. Constraints: one edge of the grid must not be driven."""

from __future__ import annotations

import random
import re

from grpo_project.domains.base import Heuristic, Parameters, PlanningDomain
from grpo_project.pddl import Atom, Problem, Task
from grpo_project.pddl.model import And, Literal, Not, TrajectoryConstraint

DOMAIN_PDDL = """\
; A truck on a grid of cells; `last` remembers every cell it has left.
(define (domain delivery)
  (:requirements :typing :equality :negative-preconditions :constraints)
  (:types
    cell locatable - object
    package truck - locatable)
  (:predicates
    (at ?thing - locatable ?cell - cell)
    (carrying ?truck - truck ?package - package)
    (empty ?truck - truck)
    (adjacent ?cell1 - cell ?cell2 - cell)
    (last ?truck - truck ?cell - cell))

  (:action pick-package
    :parameters (?truck - truck ?package - package ?cell - cell)
    :precondition (and (empty ?truck) (at ?truck ?cell) (at ?package ?cell))
    :effect (and (not (empty ?truck)) (not (at ?package ?cell)) (carrying ?truck ?package)))

  (:action drop-package
    :parameters (?truck - truck ?package - package ?cell - cell)
    :precondition (and (carrying ?truck ?package) (at ?truck ?cell))
    :effect (and (not (carrying ?truck ?package)) (empty ?truck) (at ?package ?cell)))

  (:action move
    :parameters (?truck - truck ?start - cell ?target - cell)
    :precondition (and (adjacent ?start ?target) (not (= ?start ?target)) (at ?truck ?start))
    :effect (and (not (at ?truck ?start)) (at ?truck ?target) (last ?truck ?start))))
"""


def _edges(side: int) -> list[tuple[str, str]]:
    """Every pair of neighbouring cells, once in each direction."""
    cells = {(row, column): f"c_{row}_{column}" for row in range(side) for column in range(side)}
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    return [
        (name, cells[row + down, column + right])
        for (row, column), name in cells.items()
        for down, right in steps
        if (row + down, column + right) in cells
    ]


def generate(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem:
    side = parameters["s"]
    cells = [f"c_{row}_{column}" for row in range(side) for column in range(side)]
    packages = [f"p{i}" for i in range(1, parameters["p"] + 1)]
    objects = {cell: "cell" for cell in cells} | {package: "package" for package in packages} | {"t1": "truck"}
    truck = rng.choice(cells)
    # All packages go to one cell, as in published problems.
    target = rng.choice(cells)
    start = {package: rng.choice([cell for cell in cells if cell != target]) for package in packages}
    init: set[Atom] = {("adjacent", a, b) for a, b in _edges(side)}
    init |= {("at", package, cell) for package, cell in start.items()} | {("at", "t1", truck), ("empty", "t1")}
    goals = [Literal(("at", package, target)) for package in packages]
    constraint = None
    if constraints:
        # `last` keeps every cell that was left, so the rule also bars coming back to one end after leaving the other: an edge
        # with an end at the truck, a package or the target could make the problem unsolvable.
        busy = {truck, target, *start.values()}
        edges = [(a, b) for a, b in _edges(side) if a < b]
        edge = rng.choice([pair for pair in edges if not set(pair) & busy] or edges)
        forbidden = [Not(And((Literal(("last", "t1", a)), Literal(("at", "t1", b))))) for a, b in (edge, edge[::-1])]
        constraint = TrajectoryConstraint("always", (And(tuple(forbidden)),))
    return Problem(
        f"delivery-{side}x{side}-{len(packages)}",
        "delivery",
        objects,
        frozenset(init),
        goals[0] if len(goals) == 1 else And(tuple(goals)),
        constraint,
    )


def implied_atoms(problem: Problem) -> frozenset[Atom]:
    """The cells form a full square grid, and trucks are empty."""
    cells = [name for name, kind in problem.objects.items() if kind == "cell"]
    side = round(len(cells) ** 0.5)
    trucks = [name for name, kind in problem.objects.items() if kind == "truck"]
    return frozenset({("adjacent", a, b) for a, b in _edges(side)} | {("empty", truck) for truck in trucks})


def heuristic(task: Task) -> Heuristic | None:
    """Pick and drop for every package, its own way loaded, and the truck's way to the nearest package.

    Packages travel one at a time, so the loaded ways add up (Manhattan distance, never more than the real one).
    """
    goal = task.problem.goal
    parts = goal.parts if isinstance(goal, And) else (goal,)
    positions = {}
    for name, kind in task.problem.objects.items():
        if kind == "cell" and re.fullmatch(r"c_\d+_\d+", name):
            positions[name] = tuple(map(int, name.split("_")[1:]))
    trucks = [name for name, kind in task.problem.objects.items() if kind == "truck"]
    if len(trucks) != 1 or sum(kind == "cell" for kind in task.problem.objects.values()) != len(positions):
        return None
    truck = trucks[0]
    for a, b in [atom[1:] for atom in task.problem.init if atom[0] == "adjacent"]:
        if _manhattan(positions[a], positions[b]) > 1:
            return None
    stands = [(task.bit(("at", truck, cell)), place) for cell, place in positions.items()]
    packages = []
    for part in parts:
        if not isinstance(part, Literal) or part.atom[0] != "at" or part.atom[2] not in positions:
            return None
        package, target = part.atom[1], positions[part.atom[2]]
        sources = [
            (task.bit(("at", package, cell)), place, _manhattan(place, target)) for cell, place in positions.items()
        ]
        packages.append((task.bit(part.atom), task.bit(("carrying", truck, package)), target, sources))

    def bound(state: int) -> float:
        here = next((place for bit, place in stands if state & bit), (0, 0))
        total = 0
        nearest = -1
        loaded = False
        for done, carrying, target, sources in packages:
            if state & done:
                continue
            if state & carrying:
                loaded = True
                total += 1 + abs(here[0] - target[0]) + abs(here[1] - target[1])
                continue
            for bit, place, way in sources:
                if state & bit:
                    total += 2 + way
                    reach = abs(here[0] - place[0]) + abs(here[1] - place[1])
                    if nearest < 0 or reach < nearest:
                        nearest = reach
                    break
        return total if loaded or nearest < 0 else total + nearest

    return bound


def _manhattan(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


DOMAIN = PlanningDomain(
    name="delivery",
    domain_pddl=DOMAIN_PDDL,
    file_name_pattern=re.compile(r"delivery-s(?P<s>\d+)-p(?P<p>\d+)-seed(?P<seed>\d+)\.pddl"),
    file_name_format="delivery-s{s}-p{p}-seed{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["p"] + 3.0 * parameters["s"],
    sizes={"train": {"s": (2, 4), "p": (1, 2)}, "harder": {"s": (5, 5), "p": (2, 3)}},
    generate=generate,
    implied_atoms=implied_atoms,
    heuristic=heuristic,
)
