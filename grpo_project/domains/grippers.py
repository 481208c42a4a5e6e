"""Grippers: robots with two grippers each carry balls between rooms.

Constraints: a gripper that must stay empty, a room that two robots must never share, or one that a robot must not enter.
"""

from __future__ import annotations

import random
import re
from itertools import groupby

from grpo_project.common.text import numbers_in_order
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
from grpo_project.pddl import Atom, Problem, Step, Task, render_constraint
from grpo_project.pddl.model import And, Forall, Formula, Literal, Not, TrajectoryConstraint, TypedName

DOMAIN_PDDL = """\
; Robots with grippers carry balls between rooms. `object` is declared like any other type, so it holds the balls only.
(define (domain gripper-strips)
  (:requirements :strips :typing :constraints)
  (:types room object robot gripper)
  (:predicates
    (at-robby ?robot - robot ?room - room)
    (at ?ball - object ?room - room)
    (free ?robot - robot ?gripper - gripper)
    (carry ?robot - robot ?ball - object ?gripper - gripper))

  (:action move
    :parameters (?robot - robot ?start - room ?target - room)
    :precondition (at-robby ?robot ?start)
    :effect (and (not (at-robby ?robot ?start)) (at-robby ?robot ?target)))

  (:action pick
    :parameters (?robot - robot ?ball - object ?room - room ?gripper - gripper)
    :precondition (and (at-robby ?robot ?room) (at ?ball ?room) (free ?robot ?gripper))
    :effect (and (not (at ?ball ?room)) (not (free ?robot ?gripper)) (carry ?robot ?ball ?gripper)))

  (:action drop
    :parameters (?robot - robot ?ball - object ?room - room ?gripper - gripper)
    :precondition (and (at-robby ?robot ?room) (carry ?robot ?ball ?gripper))
    :effect (and (not (carry ?robot ?ball ?gripper)) (free ?robot ?gripper) (at ?ball ?room))))
"""


def generate(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem:
    what = "grippers with {n} robots, {r} rooms and {o} balls".format(**parameters)
    return first_drawn(lambda: _draw(rng, parameters, constraints), what)


def _draw(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem | None:
    robots = [f"robot{i}" for i in range(1, parameters["n"] + 1)]
    rooms = [f"room{i}" for i in range(1, parameters["r"] + 1)]
    balls = [f"ball{i}" for i in range(1, parameters["o"] + 1)]
    objects = {robot: "robot" for robot in robots}
    objects |= {f"{side}gripper{i}": "gripper" for i in range(1, len(robots) + 1) for side in "rl"}
    objects |= {room: "room" for room in rooms} | {ball: "object" for ball in balls}
    start = {ball: rng.choice(rooms) for ball in balls}
    target = {ball: rng.choice(rooms) for ball in balls}
    if start == target:
        return None
    init: set[Atom] = {("at", ball, room) for ball, room in start.items()}
    where = {robot: rng.choice(rooms) for robot in robots}
    constraint = _constraint(rng, rooms, where) if constraints else None
    init |= {("at-robby", robot, room) for robot, room in where.items()}
    init |= {("free", f"robot{i}", f"{side}gripper{i}") for i in range(1, len(robots) + 1) for side in "rl"}
    return Problem(
        f"gripper-{len(robots)}-{len(rooms)}-{len(balls)}",
        "gripper-strips",
        objects,
        frozenset(init),
        conjunction([("at", ball, target[ball]) for ball in balls]),
        constraint,
    )


def _constraint(rng: random.Random, rooms: list[str], where: dict[str, str]) -> TrajectoryConstraint:
    """`always` something that holds at the start. The last two kinds need a second robot, which can then do all the work."""
    robots = list(where)
    kind = rng.choice(("hand", "apart", "keep out")) if len(robots) >= 2 else "hand"
    formula: Formula
    if kind == "hand":
        number = rng.randint(1, len(robots))
        gripper = f"{'l' if rng.random() < 0.8 else 'r'}gripper{number}"
        # `object` means the balls: see :types.
        formula = Forall((TypedName("?b", "object"),), Not(Literal(("carry", f"robot{number}", "?b", gripper))))
    elif kind == "apart":
        pair = sorted(rng.sample(robots, 2))
        room = rng.choice([room for room in rooms if not where[pair[0]] == where[pair[1]] == room])
        formula = Not(And(tuple(Literal(("at-robby", robot, room)) for robot in pair)))
    else:
        robot = rng.choice(robots)
        formula = Not(Literal(("at-robby", robot, rng.choice([room for room in rooms if room != where[robot]]))))
    return TrajectoryConstraint("always", (formula,))


def atoms_by_name(problem: Problem) -> frozenset[Atom]:
    """Every robot's own two grippers are free."""
    grippers = [name for name, kind in problem.objects.items() if kind == "gripper"]
    robots = [name for name, kind in problem.objects.items() if kind == "robot"]
    return frozenset(
        ("free", robot, gripper)
        for robot in robots
        for gripper in grippers
        if robot.removeprefix("robot") == gripper.removeprefix("rgripper").removeprefix("lgripper")
    )


def heuristic(task: Task) -> Heuristic | None:
    """A pick and a drop for each ball, and the moves into each room.

    Into a room: one move for each full load of balls that has to come from elsewhere; and as many as the loads that have to
    leave it, less the robots that are there. A load is two balls, or one where the only robot may not use a gripper.
    """
    rooms = {room: i for i, room in enumerate(task.objects_of("room"))}
    robots = {robot: i for i, robot in enumerate(task.objects_of("robot"))}
    targets = {atom[1]: rooms[atom[2]] for atom in goal_atoms(task.problem.goal) if atom[0] == "at"}
    hands = {robot: 0 for robot in robots}
    for atom in task.problem.init:
        if atom[0] in ("free", "carry"):
            hands[atom[1]] += 1
    capacity = max(hands.values(), default=0)
    if len(robots) == 1 and _forbids_a_hand(task.problem):
        capacity -= 1
    if capacity < 1:
        return None
    where = {task.bit(("at-robby", robot, room)): (i, j) for robot, i in robots.items() for room, j in rooms.items()}
    lying: dict[int, tuple[int, int]] = {}  # bit of a ball that lies in a wrong room -> the room, its target
    carried: dict[int, tuple[int, int]] = {}  # bit of a ball in a hand -> the robot, its target
    for ball, target in targets.items():
        for room, i in rooms.items():
            if i != target:
                lying[task.bit(("at", ball, room))] = (i, target)
        for robot, i in robots.items():
            for gripper in task.objects_of("gripper"):
                carried[task.bit(("carry", robot, ball, gripper))] = (i, target)
    where_mask, lying_mask, carried_mask = sum(where), sum(lying), sum(carried)
    no_rooms = [0] * len(rooms)

    def bound(state: int) -> int:
        place = [0] * len(robots)
        present, leaving, coming = no_rooms[:], no_rooms[:], no_rooms[:]
        for bit in bits(state & where_mask):
            robot, room = where[bit]
            place[robot] = room
            present[room] += 1
        value = 0
        for bit in bits(state & lying_mask):
            room, target = lying[bit]
            leaving[room] += 1
            coming[target] += 1
            value += 2
        for bit in bits(state & carried_mask):
            robot, target = carried[bit]
            value += 1
            if place[robot] != target:
                leaving[place[robot]] += 1
                coming[target] += 1
        for go, come, here in zip(leaving, coming, present, strict=True):
            if go or come:
                into, out = -(-come // capacity), -(-go // capacity) - here
                value += into if into > out else max(out, 0)
        return value

    return remembered(bound, where_mask | lying_mask | carried_mask)


def _forbids_a_hand(problem: Problem) -> bool:
    match problem.constraints:
        case TrajectoryConstraint("always", (Forall((variable,), Not(Literal(("carry", _, ball, _)))),)):
            return variable == TypedName(ball, "object")
    return False


def policy(problem: Problem, rng: random.Random | None = None) -> tuple[Step, ...] | None:
    """The first robot carries ball by ball in the gripper that comes first by name of its own that no constraint forbids.

    Where a constraint keeps it out of a room, the second robot does. A robot that stands in a room which it must not share
    with the first one leaves it before anything else. With a generator, robot and gripper of each ball are drawn from those
    that the constraint lets carry it.
    """
    return _by_ball(problem, rng)[1]


def reasoned_policy(problem: Problem) -> Reasoned | None:
    """As `policy`, with what it decides in front: whose grippers are whose, who leaves a room first, who carries with which
    gripper, and the robot's rooms for each ball, from where it is then.

    ? robot1 lgripper1 rgripper1 ; ? robot2 lgripper2 rgripper2 ; ! robot2 room1 room3 ; = robot1 lgripper1 ; ball2 room2 room4 ;
    """
    return _by_ball(problem, None)


def _by_ball(problem: Problem, rng: random.Random | None) -> Reasoned:
    place = {atom[1]: atom[2] for atom in problem.init if atom[0] in ("at", "at-robby")}
    robots = [name for name, kind in problem.objects.items() if kind == "robot"]
    constraint = render_constraint(problem.constraints) if problem.constraints is not None else ""
    mentioned = set(re.findall(r"[^\s()]+", constraint))
    named = re.findall(r"at-robby ([^\s()]+) ([^\s()]+)", constraint)
    free = {
        robot: sorted((atom[2] for atom in problem.init if atom[:2] == ("free", robot)), key=numbers_in_order) for robot in robots
    }
    lines = [["?", robot, *grippers] for robot, grippers in free.items()]
    steps: list[Step] = []
    if len(named) == 2 and robots[0] in mentioned:
        for robot, shared in named:
            if robot != robots[0] and place[robot] == shared:
                place[robot] = next(name for name, kind in problem.objects.items() if kind == "room" and name != shared)
                lines.append(["!", robot, shared, place[robot]])
                steps.append(("move", robot, shared, place[robot]))
    # Of two that must not meet only the first one works; who is kept out of a room does not.
    carriers = robots[:1] if len(named) == 2 else [robot for robot in robots if robot not in dict(named)]
    for atom in drawn_order(goal_atoms(problem.goal), rng):
        if atom in problem.init:
            continue
        _, ball, target = atom
        robot = drawn_order(carriers, rng)[0]
        gripper = drawn_order((name for name in free[robot] if name not in mentioned), rng)[0]
        if ["=", robot, gripper] not in lines:  # once, where the choices are not drawn
            lines.append(["=", robot, gripper])
        lines.append([ball, *(room for room, _ in groupby((place[robot], place[ball], target)))])
        if place[robot] != place[ball]:
            steps.append(("move", robot, place[robot], place[ball]))
        steps.append(("pick", robot, ball, place[ball], gripper))
        steps.append(("move", robot, place[ball], target))
        steps.append(("drop", robot, ball, target, gripper))
        place[robot] = target
    return in_lines(lines), tuple(steps)


DOMAIN = PlanningDomain(
    name="grippers",
    domain_pddl=DOMAIN_PDDL,
    file_name_format="grippers-n{n}-r{r}-o{o}-s{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["n"] + 3.0 * parameters["r"] + 2.0 * parameters["o"],
    sizes={
        "small": {"n": (1, 2), "r": (2, 3), "o": (2, 3)},
        "train": {"n": (1, 2), "r": (2, 4), "o": (2, 4)},
        "harder": {"n": (2, 3), "r": (5, 6), "o": (5, 6)},
        "far": {"n": (3, 4), "r": (8, 9), "o": (8, 9)},
    },
    generate=generate,
    atoms_by_name=atoms_by_name,
    heuristic=heuristic,
    policy=policy,
    reasoned_policy=reasoned_policy,
    # In one room every goal holds at the start.
    valid_parameters=lambda parameters: parameters["n"] >= 1 and parameters["r"] >= 2 and parameters["o"] >= 1,
    phrases={
        "at-robby": "{0} stands in {1}",
        "at": "{0} lies in {1}",
        "free": "gripper {1} of {0} is free",
        "carry": "{0} carries {1} in {2}",
    },
    object_names=[
        name
        for family, count in (("robot", 5), ("lgripper", 5), ("rgripper", 5), ("room", 12), ("ball", 12))
        for name in numbered(family, 1, count)
    ],
)
