"""Blocksworld with four operators: towers of blocks, one arm.

Constraints: one goal support may only come about after another one has held. Where the earlier one rests on the later one the
plan must build, take apart and build again.
"""

from __future__ import annotations

import random
import re

from grpo_project.domains.base import Heuristic, Parameters, PlanningDomain
from grpo_project.pddl import Atom, Problem, Task
from grpo_project.pddl.model import And, Literal, TrajectoryConstraint

DOMAIN_PDDL = """\
; Blocks on a table and one arm that holds at most one block.
(define (domain blocksworld)
  (:requirements :strips :constraints :negative-preconditions)
  (:predicates
    (arm-empty)
    (holding ?block)
    (clear ?block)
    (on-table ?block)
    (on ?upper ?lower))

  (:action pickup
    :parameters (?block)
    :precondition (and (arm-empty) (clear ?block) (on-table ?block))
    :effect (and (not (arm-empty)) (not (clear ?block)) (not (on-table ?block)) (holding ?block)))

  (:action putdown
    :parameters (?block)
    :precondition (holding ?block)
    :effect (and (not (holding ?block)) (arm-empty) (clear ?block) (on-table ?block)))

  (:action stack
    :parameters (?upper ?lower)
    :precondition (and (holding ?upper) (clear ?lower))
    :effect (and (not (holding ?upper)) (not (clear ?lower)) (arm-empty) (clear ?upper) (on ?upper ?lower)))

  (:action unstack
    :parameters (?upper ?lower)
    :precondition (and (arm-empty) (clear ?upper) (on ?upper ?lower))
    :effect (and (not (arm-empty)) (not (clear ?upper)) (not (on ?upper ?lower)) (holding ?upper) (clear ?lower))))
"""


def _random_towers(rng: random.Random, blocks: list[str]) -> dict[str, str | None]:
    """Block to what it stands on, None for the table."""
    order = rng.sample(blocks, len(blocks))
    below: dict[str, str | None] = {}
    tops: list[str] = []
    for block in order:
        # One slot per tower and one for the table: towers of every height come up.
        choice = rng.randrange(len(tops) + 1)
        if choice == len(tops):
            below[block] = None
            tops.append(block)
        else:
            below[block] = tops[choice]
            tops[choice] = block
    return below


def _support(block: str, below: dict[str, str | None]) -> Atom:
    lower = below[block]
    return ("on-table", block) if lower is None else ("on", block, lower)


def generate(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem:
    blocks = [f"b{i}" for i in range(1, parameters["n"] + 1)]
    start = _random_towers(rng, blocks)
    goal = _random_towers(rng, blocks)
    while goal == start or all(lower is None for lower in goal.values()):
        start = _random_towers(rng, blocks)
        goal = _random_towers(rng, blocks)
    covered = {lower for lower in start.values() if lower is not None}
    init = {_support(block, start) for block in blocks} | {("arm-empty",)}
    init |= {("clear", block) for block in blocks if block not in covered}
    goals = [_support(block, goal) for block in blocks]
    constraint = None
    if constraints:
        later = rng.choice([g for g in goals if g not in init and g[0] == "on"] or [g for g in goals if g not in init])
        others = [g for g in goals if g != later]
        # Half of the time the support that itself rests on `later`, or on which `later` rests, as in published problems.
        near = [g for g in others if g[0] == "on" and set(g[1:]) & set(later[1:])]
        earlier = rng.choice(near if near and rng.random() < 0.5 else others)
        constraint = TrajectoryConstraint("sometime-before", (Literal(later), Literal(earlier)))
    return Problem(
        f"bw-rand-{len(blocks)}",
        "blocksworld",
        {block: "object" for block in blocks},
        frozenset(init),
        And(tuple(Literal(g) for g in goals)),
        constraint,
    )


def implied_atoms(problem: Problem) -> frozenset[Atom]:
    """The arm is empty, and a block with nothing on it is clear."""
    covered = {atom[2] for atom in problem.init if atom[0] == "on"}
    return frozenset({("arm-empty",)} | {("clear", block) for block in problem.objects if block not in covered})


def heuristic(task: Task) -> Heuristic | None:
    """Two steps for every block that does not stand where the goal wants it, one if it is in the arm already."""
    if not isinstance(task.problem.goal, And):
        return None
    pairs = []
    for part in task.problem.goal.parts:
        if isinstance(part, Literal) and part.atom[0] in ("on", "on-table"):
            pairs.append((task.bit(part.atom), task.bit(("holding", part.atom[1]))))

    def bound(state: int) -> float:
        total = 0
        for support, holding in pairs:
            if not state & support:
                total += 1 if state & holding else 2
        return total

    return bound


DOMAIN = PlanningDomain(
    name="blocksworld",
    domain_pddl=DOMAIN_PDDL,
    file_name_pattern=re.compile(r"bw_ops(?P<ops>\d+)_n(?P<n>\d+)_seed(?P<seed>\d+)\.pddl"),
    file_name_format="bw_ops{ops}_n{n}_seed{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["n"],
    # `ops` is a label of the published file names; it changes nothing in the problem.
    sizes={"train": {"ops": (3, 4), "n": (3, 6)}, "harder": {"ops": (3, 4), "n": (7, 8)}},
    generate=generate,
    implied_atoms=implied_atoms,
    heuristic=heuristic,
)
