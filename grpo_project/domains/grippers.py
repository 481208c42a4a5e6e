"""Grippers: robots with two grippers each carry balls between rooms.

Constraints: a gripper that must stay empty, or two robots that must never share a certain room.
"""

from __future__ import annotations

import random
import re

from grpo_project.domains.base import Heuristic, Parameters, PlanningDomain
from grpo_project.pddl import Atom, Problem, Task
from grpo_project.pddl.model import And, Forall, Literal, Not, TrajectoryConstraint, TypedName

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
    robots = [f"robot{i}" for i in range(1, parameters["n"] + 1)]
    rooms = [f"room{i}" for i in range(1, parameters["r"] + 1)]
    balls = [f"ball{i}" for i in range(1, parameters["o"] + 1)]
    objects = {robot: "robot" for robot in robots}
    objects |= {f"{side}gripper{i}": "gripper" for i in range(1, len(robots) + 1) for side in "rl"}
    objects |= {room: "room" for room in rooms} | {ball: "object" for ball in balls}
    start = {ball: rng.choice(rooms) for ball in balls}
    target = {ball: rng.choice(rooms) for ball in balls}
    while start == target:
        target = {ball: rng.choice(rooms) for ball in balls}
    init: set[Atom] = {("at", ball, room) for ball, room in start.items()}
    where = {robot: rng.choice(rooms) for robot in robots}
    constraint = None
    if constraints:
        if len(robots) >= 2 and rng.random() < 0.5:
            first, second = rng.sample(robots, 2)
            room = rng.choice([room for room in rooms if not where[first] == where[second] == room])
            pair = sorted((first, second))
            together = And(tuple(Literal(("at-robby", robot, room)) for robot in pair))
            constraint = TrajectoryConstraint("always", (Not(together),))
        else:
            number = rng.randint(1, len(robots))
            gripper = f"{'l' if rng.random() < 0.8 else 'r'}gripper{number}"
            carry = Literal(("carry", f"robot{number}", "?b", gripper))
            constraint = TrajectoryConstraint("always", (Forall((TypedName("?b"),), Not(carry)),))
    init |= {("at-robby", robot, room) for robot, room in where.items()}
    init |= {("free", f"robot{i}", f"{side}gripper{i}") for i in range(1, len(robots) + 1) for side in "rl"}
    return Problem(
        f"gripper-{len(robots)}-{len(rooms)}-{len(balls)}",
        "gripper-strips",
        objects,
        frozenset(init),
        And(tuple(Literal(("at", ball, target[ball])) for ball in balls)),
        constraint,
    )


def implied_atoms(problem: Problem) -> frozenset[Atom]:
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
    """Pick and drop for every ball not in place; one move into every room with such work where no robot stands."""
    if not isinstance(task.problem.goal, And):
        return None
    kinds = task.problem.objects
    rooms = [name for name, kind in kinds.items() if kind == "room"]
    robots = [name for name, kind in kinds.items() if kind == "robot"]
    grippers = [name for name, kind in kinds.items() if kind == "gripper"]
    stands = [sum(task.bit(("at-robby", robot, room)) for robot in robots) for room in rooms]
    balls = []
    for part in task.problem.goal.parts:
        if not isinstance(part, Literal) or part.atom[0] != "at":
            continue
        ball, room = part.atom[1], part.atom[2]
        carried = sum(task.bit(("carry", robot, ball, gripper)) for robot in robots for gripper in grippers)
        sources = [(task.bit(("at", ball, source)), 1 << number) for number, source in enumerate(rooms)]
        balls.append((task.bit(part.atom), 1 << rooms.index(room), carried, sources))

    def bound(state: int) -> float:
        steps = 0
        visits = 0
        for done, target, carried, sources in balls:
            if state & done:
                continue
            visits |= target
            if state & carried:
                steps += 1
                continue
            steps += 2
            for at_source, source in sources:
                if state & at_source:
                    visits |= source
                    break
        for number, standing in enumerate(stands):
            if visits >> number & 1 and not state & standing:
                steps += 1
        return steps

    return bound


DOMAIN = PlanningDomain(
    name="grippers",
    domain_pddl=DOMAIN_PDDL,
    file_name_pattern=re.compile(r"grippers-n(?P<n>\d+)-r(?P<r>\d+)-o(?P<o>\d+)-s(?P<seed>\d+)\.pddl"),
    file_name_format="grippers-n{n}-r{r}-o{o}-s{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["n"] + 3.0 * parameters["r"] + 2.0 * parameters["o"],
    sizes={"train": {"n": (1, 2), "r": (2, 4), "o": (2, 4)}, "harder": {"n": (2, 3), "r": (5, 6), "o": (5, 6)}},
    generate=generate,
    implied_atoms=implied_atoms,
    heuristic=heuristic,
)
