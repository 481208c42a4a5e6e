"""Delivery: a truck carries packages, one at a time, over a square grid. Constraints: one edge of the grid must not be driven."""

from __future__ import annotations

import random
import re
from itertools import pairwise

from grpo_project.common.text import numbers_in_order
from grpo_project.domains.base import (
    Heuristic,
    Parameters,
    PlanningDomain,
    Reasoned,
    bits,
    drawn_order,
    first_drawn,
    goal_atoms,
    in_lines,
    numbered,
    remembered,
)
from grpo_project.pddl import Atom, Problem, Step, Task, render_constraint
from grpo_project.pddl.model import And, Literal, Not, TrajectoryConstraint

_CELL = re.compile(r"c_(\d+)_(\d+)")
_LEFT_CELL = re.compile(r"\(last \S+ (\S+)\)")  # in a constraint

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
    what = f"delivery with side {parameters['s']} and {parameters['p']} packages"
    return first_drawn(lambda: _draw(rng, parameters, constraints), what)


def _draw(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem | None:
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
        edge = _forbidden_edge(rng, side, {truck, target, *start.values()})
        if edge is None:
            return None
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


def _forbidden_edge(rng: random.Random, side: int, busy: set[str]) -> tuple[str, str] | None:
    """An edge with an end where the truck has nothing to do, or None.

    `last` keeps every cell that was left, so the rule also bars one end for good once the other has been left. An end without
    work can be avoided altogether, and a grid stays connected without any one cell: such a problem stays solvable.
    """
    edges = [(a, b) for a, b in _edges(side) if a < b and not busy.issuperset((a, b))]
    # An edge at a cell with work is what published problems forbid: elsewhere it seldom matters.
    near = [pair for pair in edges if not busy.isdisjoint(pair)]
    if near and rng.random() < 0.8:
        edges = near
    return rng.choice(edges) if edges else None


def atoms_by_name(problem: Problem) -> frozenset[Atom]:
    """The cells form a full square grid, and trucks are empty."""
    cells = [name for name, kind in problem.objects.items() if kind == "cell"]
    side = round(len(cells) ** 0.5)
    trucks = [name for name, kind in problem.objects.items() if kind == "truck"]
    return frozenset({("adjacent", a, b) for a, b in _edges(side)} | {("empty", truck) for truck in trucks})


def implied_atoms(problem: Problem) -> frozenset[Atom]:
    """Neighbours are neighbours both ways: the way to the cell that is listed earlier follows from the other one."""
    place = {name: number for number, name in enumerate(problem.objects)}
    edges = [atom[1:] for atom in problem.init if atom[0] == "adjacent"]
    return frozenset(("adjacent", b, a) for a, b in edges if place.get(a, -1) < place.get(b, -1))


def heuristic(task: Task) -> Heuristic | None:
    """A pick and a drop for each package, and the crossings of each line through the grid.

    A line between two columns or rows is crossed once, loaded, for each package that has to change sides; crossings alternate
    in direction, so the truck crosses back in between; and it has to be where a package lies. Every move crosses one line.
    """
    problem = task.problem
    trucks = task.objects_of("truck")
    cells: dict[str, tuple[int, int]] = {}
    for name in task.objects_of("cell"):
        match = _CELL.fullmatch(name)
        if match is None:
            return None
        cells[name] = (int(match[1]), int(match[2]))
    if len(trucks) != 1 or not cells or sum(atom[0] in ("carrying", "empty") for atom in problem.init) > 1:
        return None  # also where the start lets a truck hold more than one package
    for atom in problem.init:
        if atom[0] == "adjacent" and sum(abs(a - b) for a, b in zip(cells[atom[1]], cells[atom[2]], strict=True)) > 1:
            return None  # cells that are nearer than the grid says
    targets = {atom[1]: atom[2] for atom in goal_atoms(problem.goal) if atom[0] == "at" and atom[1] != trucks[0]}
    lines = [(axis, at) for axis in (0, 1) for at in range(max(cell[axis] for cell in cells.values()))]
    # A cell as a bit set over the lines: the bit says on which side of the line it lies.
    sides = {name: sum(1 << i for i, (axis, at) in enumerate(lines) if cell[axis] > at) for name, cell in cells.items()}

    truck_at = {task.bit(("at", trucks[0], cell)): side for cell, side in sides.items()}
    lying: dict[int, tuple[int, int]] = {}  # bit of a package that lies in a wrong cell -> its side and its target's
    carried: dict[int, int] = {}
    for package, target in targets.items():
        carried[task.bit(("carrying", trucks[0], package))] = sides[target]
        for cell, side in sides.items():
            if cell != target:
                lying[task.bit(("at", package, cell))] = (side, sides[target])
    truck_mask, lying_mask, carried_mask = sum(truck_at), sum(lying), sum(carried)

    def bound(state: int) -> int:
        truck = truck_at.get(state & truck_mask)
        if truck is None:
            return 0
        value = 0
        up = [0] * len(lines)  # by line: packages that have to cross to the far side
        down = up[:]
        away = 0  # lines with a package on the other side from the truck
        trips = [lying[bit] for bit in bits(state & lying_mask)]
        value += 2 * len(trips)
        for bit in bits(state & carried_mask):
            trips.append((truck, carried[bit]))
            value += 1
        for origin, target in trips:
            away |= truck ^ origin
            changes = origin ^ target
            while changes:
                low = changes & -changes
                changes ^= low
                if target & low:
                    up[low.bit_length() - 1] += 1
                else:
                    down[low.bit_length() - 1] += 1
        for i, (more, less) in enumerate(zip(up, down, strict=True)):
            if truck >> i & 1:
                more, less = less, more
            # `more` cross away from the truck's side, `less` back to it.
            if more > less:
                value += 2 * more - 1
            elif less:
                value += 2 * less
            elif away >> i & 1:
                value += 1
        return value

    return remembered(bound, truck_mask | lying_mask | carried_mask)


def policy(problem: Problem, rng: random.Random | None = None) -> tuple[Step, ...] | None:
    """Package by package: drive to it, pick it up, bring it to its cell; every move leads a step nearer.

    Where several moves do, the one to the cell listed first is made, or one drawn with a generator. Of a forbidden edge's two
    ends, the one without work is never entered.
    """
    truck = next(name for name, kind in problem.objects.items() if kind == "truck")
    place = {atom[1]: atom[2] for atom in problem.init if atom[0] == "at"}
    deliveries = [atom[1:] for atom in drawn_order(goal_atoms(problem.goal), rng) if atom not in problem.init]
    busy = {place[truck]} | {cell for package, target in deliveries for cell in (place[package], target)}
    neighbours, _ = _neighbours_to_use(problem, busy, rng)
    steps: list[Step] = []
    here = place[truck]
    for package, target in deliveries:
        for action, cell in (("pick-package", place[package]), ("drop-package", target)):
            steps += [("move", truck, *edge) for edge in pairwise(_route(here, cell, neighbours, rng))]
            steps.append((action, truck, package, cell))
            here = cell
    return tuple(steps)


def reasoned_policy(problem: Problem) -> Reasoned | None:
    """The search for the ways, written down, and the plan that follows them, package by package.

    The search goes breadth first from the cell that all packages are for, through all cells:

        ! c3 ; c9 c5 c7 ; c5 c2 ; c7 c8 ; c2 ; c8 ; t1 c8 c7 c9 ; p1 c2 c5 c9 ; p2 c7 c9 ;

    `!` the cell that is never entered, then each cell with those that are met from it, neighbours in the order in which the
    compact prompt has them, then the way of the truck and of each package to that first cell. So each word follows from few
    others: a model of some layers cannot see that a move brings it nearer to a cell five moves away, but it can write this, and
    then read off every move. Where several packages have several cells: None. A plan may take a few moves more than one of
    `policy`.
    """
    place = {atom[1]: atom[2] for atom in problem.init if atom[0] == "at"}
    deliveries = [atom[1:] for atom in goal_atoms(problem.goal) if atom not in problem.init]
    targets = {target for _, target in deliveries}
    truck = next(name for name, kind in problem.objects.items() if kind == "truck")
    if len(targets) != 1:
        return None
    (target,) = targets
    movers = [truck, *(package for package, _ in deliveries)]
    neighbours, avoided = _neighbours_to_use(problem, targets | {place[mover] for mover in movers}, None)
    number = {cell: i for i, cell in enumerate(neighbours)}
    onward: dict[str, str] = {target: target}  # by cell: the next one on its way to the target
    search = [[target]]
    for line in search:  # grows as it is read
        here = line[0]
        for cell in sorted(neighbours[here], key=lambda cell: (number[cell] < number[here], numbers_in_order(cell))):
            if cell not in onward:
                onward[cell] = here
                line.append(cell)
                search.append([cell])
    if not onward.keys() >= {place[mover] for mover in movers}:
        return None
    ways = {mover: [place[mover]] for mover in movers}
    for way in ways.values():
        while way[-1] != target:
            way.append(onward[way[-1]])
    steps: list[Step] = []
    route = ways[truck]
    for package, _ in deliveries:
        way = ways[package]
        joins = next(i for i, cell in enumerate(route) if cell in way)
        route = route[:joins] + way[: way.index(route[joins]) + 1][::-1]
        steps += [("move", truck, *edge) for edge in pairwise(route)]
        steps.append(("pick-package", truck, package, way[0]))
        steps += [("move", truck, *edge) for edge in pairwise(way)]
        steps.append(("drop-package", truck, package, target))
        route = [target]
    return in_lines([*(["!", cell] for cell in avoided), *search, *([mover, *way] for mover, way in ways.items())]), tuple(steps)


def _neighbours_to_use(problem: Problem, busy: set[str], rng: random.Random | None) -> tuple[dict[str, list[str]], list[str]]:
    """By cell, its neighbours as they are listed; less one end of a forbidden edge, because who leaves one end may never enter
    the other. And that end, if there is one."""
    ends = _LEFT_CELL.findall(render_constraint(problem.constraints)) if problem.constraints is not None else []
    avoided = drawn_order((cell for cell in ends if cell not in busy), rng)[:1]
    neighbours: dict[str, list[str]] = {cell: [] for cell, kind in problem.objects.items() if kind == "cell"}
    place = {cell: number for number, cell in enumerate(neighbours)}
    edges = sorted((atom[1:] for atom in problem.init if atom[0] == "adjacent"), key=lambda edge: [place[cell] for cell in edge])
    for cell, neighbour in edges:
        if neighbour not in avoided:
            neighbours[cell].append(neighbour)
    return neighbours, avoided


def _route(start: str, target: str, neighbours: dict[str, list[str]], rng: random.Random | None) -> list[str]:
    """The cells of a shortest way, both ends included; `start` alone where no way leads to the target. Edges count both ways."""
    distances = {target: 0}
    frontier = [target]
    for cell in frontier:  # grows as it is read: breadth first
        for neighbour in neighbours[cell]:
            if neighbour not in distances:
                distances[neighbour] = distances[cell] + 1
                frontier.append(neighbour)
    route = [start]
    while distances.get(route[-1], 0) > 0:
        here = route[-1]
        nearer = (cell for cell in neighbours[here] if distances[cell] < distances[here])
        route.append(drawn_order(nearer, rng)[0])
    return route


DOMAIN = PlanningDomain(
    name="delivery",
    domain_pddl=DOMAIN_PDDL,
    file_name_format="delivery-s{s}-p{p}-seed{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["p"] + 3.0 * parameters["s"],
    sizes={
        "small": {"s": (2, 3), "p": (1, 2)},
        "train": {"s": (2, 4), "p": (1, 2)},
        "harder": {"s": (5, 5), "p": (2, 3)},
        "far": {"s": (7, 8), "p": (3, 4)},
    },
    generate=generate,
    implied_atoms=implied_atoms,
    atoms_by_name=atoms_by_name,
    heuristic=heuristic,
    policy=policy,
    reasoned_policy=reasoned_policy,
    valid_parameters=lambda parameters: parameters["s"] >= 2 and parameters["p"] >= 1,
    phrases={
        "at": "{0} is at {1}",
        "carrying": "{0} carries {1}",
        "empty": "{0} is empty",
        "adjacent": "{0} is next to {1}",
        "last": "{0} has been at {1} and left it",
    },
    object_names=[*(f"c_{row}_{column}" for row in range(8) for column in range(8)), *numbered("p", 1, 9), *numbered("t", 1, 3)],
)
