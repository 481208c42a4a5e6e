"""Blocksworld with four operators: towers of blocks, one arm.

The label `ops` of the published file names shows in how they write goals: 3 lists the whole arrangement, 4 only which block
stands on which. The domain is the same. Constraints: one goal support may only come about after another one has held. Where the
earlier one rests on the later one, the plan must build, take apart and build again.
"""

from __future__ import annotations

import random
from itertools import pairwise

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
from grpo_project.pddl.model import Literal, TrajectoryConstraint

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
    return first_drawn(lambda: _draw(rng, parameters, constraints), f"blocksworld with {parameters['n']} blocks")


def _draw(rng: random.Random, parameters: Parameters, constraints: bool) -> Problem | None:
    blocks = [f"b{i}" for i in range(1, parameters["n"] + 1)]
    start = _random_towers(rng, blocks)
    goal = _random_towers(rng, blocks)
    covered = {lower for lower in start.values() if lower is not None}
    init = {_support(block, start) for block in blocks} | {("arm-empty",)}
    init |= {("clear", block) for block in blocks if block not in covered}
    goals = [_support(block, goal) for block in blocks if parameters.get("ops") != 4 or goal[block] is not None]
    # Goals on the table alone are left out, as they are in published problems.
    if init.issuperset(goals) or all(lower is None for lower in goal.values()):
        return None
    constraint = None
    if constraints:
        constraint = _constraint(rng, start, [g for g in goals if g not in init])
        if constraint is None:
            return None
    objects = {block: "object" for block in blocks}
    return Problem(f"bw-rand-{len(blocks)}", "blocksworld", objects, frozenset(init), conjunction(goals), constraint)


def _constraint(rng: random.Random, start: dict[str, str | None], open_goals: list[Atom]) -> TrajectoryConstraint | None:
    """`sometime-before later earlier` over two goals that do not hold at the start; None where there are no two."""
    pairs = [(a, b) for a in open_goals for b in open_goals if a != b and _avoidable(a, start)]
    if not pairs:
        return None
    # A tower grows from below. That b1 is on b2 before b2 is on b3 takes a detour: b2 has to be somewhere else meanwhile.
    detours = [(later, earlier) for later, earlier in pairs if earlier[0] == "on" and earlier[2] == later[1]]
    later, earlier = rng.choice(detours if detours and rng.random() < 0.5 else pairs)
    return TrajectoryConstraint("sometime-before", (Literal(later), Literal(earlier)))


def _avoidable(later: Atom, start: dict[str, str | None]) -> bool:
    """Whether every other goal can come about while `later` has never held.

    With `on` as the later one all blocks can go to the table first. A block that has to stay off the table needs another one to
    rest on meanwhile: with three blocks, or on top of a tower of all blocks, there may be none.
    """
    if later[0] == "on":
        return True
    one_tower = sum(lower is None for lower in start.values()) == 1
    return len(start) >= 4 and not (one_tower and later[1] not in start.values())


def atoms_by_name(problem: Problem) -> frozenset[Atom]:
    """The arm is empty. Which blocks are clear follows from the rest too, but a plan begins with it, so the prompt states it."""
    return frozenset({("arm-empty",)})


def heuristic(task: Task) -> Heuristic | None:
    """Two steps for each block that has to move, two more for each that has to move twice, one less for the one held.

    A block has to move where it does not stand as the goal says, where the block below it has to move, or where the goal wants
    another block in its place. It has to move twice where its tower holds, further down, a block that has to move and
    that the goal wants somewhere below it: its own place cannot be ready when it is first lifted.
    """
    if sum(atom[0] in ("holding", "arm-empty") for atom in task.problem.init) > 1:
        return None  # a start that lets the arm hold more than one block
    blocks = task.objects_of("object")
    number = {block: i for i, block in enumerate(blocks)}
    table = len(blocks)
    wanted: list[int | None] = [None] * len(blocks)  # by block: what the goal wants below it
    occupant: list[int | None] = [None] * (table + 1)  # by block: what the goal wants on it
    for atom in goal_atoms(task.problem.goal):
        if atom[0] == "on-table":
            wanted[number[atom[1]]] = table
        elif atom[0] == "on" and atom[1] != atom[2]:
            wanted[number[atom[1]]] = number[atom[2]]
            occupant[number[atom[2]]] = number[atom[1]]
    foundations: list[int] = []  # by block: bit set of the blocks that the goal wants somewhere below it
    for block in range(table):
        mask = 0
        support = wanted[block]
        while support is not None and support != table and not mask >> support & 1:
            mask |= 1 << support
            support = wanted[support]
        foundations.append(mask)

    placing: dict[int, tuple[int, int, bool]] = {}  # bit -> block, support, whether that contradicts the goal by itself
    placings = 0
    for block in range(table):
        for support in range(table + 1):
            if support == block:
                continue
            atom = ("on-table", blocks[block]) if support == table else ("on", blocks[block], blocks[support])
            want = wanted[block]
            wrong = support != want if want is not None else occupant[support] not in (None, block)
            bit = task.bit(atom)
            placing[bit] = (block, support, wrong)
            placings |= bit
    any_holding = sum(task.bit(("holding", block)) for block in blocks)

    def bound(state: int) -> int:
        above: list[tuple[int, bool] | None] = [None] * table
        value = 0
        bases: list[tuple[int, bool]] = []
        for bit in bits(state & placings):
            block, support, wrong = placing[bit]
            if support == table:
                bases.append((block, wrong))
            else:
                above[support] = (block, wrong)
        for base in bases:
            current: tuple[int, bool] | None = base
            moving = 0  # the blocks further down that have to move
            while current is not None:
                block, wrong = current
                if wrong or moving:
                    value += 4 if foundations[block] & moving else 2
                    moving |= 1 << block
                current = above[block]
        if state & any_holding:
            value += 1  # wherever it goes
        return value

    return remembered(bound, placings | any_holding)


def policy(problem: Problem, rng: random.Random | None = None) -> tuple[Step, ...] | None:
    """All blocks onto the table, then every goal tower from its base.

    With a constraint `sometime-before later earlier`: earlier comes about between the two, by a detour where goals contradict
    it, and a block that must stay off the table until then is parked on another one.
    """
    found = _tower_by_tower(problem, rng)
    return found[1] if found else None


def reasoned_policy(problem: Problem) -> Reasoned | None:
    """As `policy`, with what it does in front: towers that are taken down, from the top; constraints; goal towers, from the base.

        b3 b1 b5 ; b6 b4 ; ! b4 b2 ; ? b1 b2 ; = b2 b4 b1 ; = b5 b3 ;

    `!` which block is parked on which one, `?` a detour, which block is put where for once, `=` a tower of the goal.
    """
    return _tower_by_tower(problem, None)


def _tower_by_tower(problem: Problem, rng: random.Random | None) -> Reasoned | None:
    hand = _Hand({atom[1]: atom[2] for atom in problem.init if atom[0] == "on"})
    later, earlier = _ordered_atoms(problem)
    delayed = later[1] if later and later[0] == "on-table" else None
    tops = [block for block in problem.objects if block in hand.below and hand.is_clear(block)]
    lines = sorted((hand.tower(top) for top in tops), key=lambda tower: delayed in tower)
    hand.lower_all(problem, rng, spare=delayed)
    if delayed is not None and delayed in hand.below:
        top = next(block for block in problem.objects if hand.is_clear(block) and delayed in hand.tower(block))
        hand.lower(top, delayed)
        involved = {delayed, *earlier[1:]}
        # Whether it is in the way or not: a rule without that condition is easier for a model to learn.
        parking = next(iter(drawn_order((b for b in problem.objects if hand.is_clear(b) and b not in involved), rng)), None)
        if parking is not None:
            lines.append(["!", delayed, parking])
            rest = hand.below[delayed]
            hand.move(delayed, parking)
            hand.lower(rest, None)
        elif (involved - {delayed}) & set(hand.tower(delayed)) or delayed in earlier[1:]:
            return None
    goals = {atom[2]: atom[1] for atom in goal_atoms(problem.goal) if atom[0] == "on"}
    towers = [_tower_on(base, goals) for base in problem.objects if base in goals and base not in goals.values()]
    if earlier and earlier[0] == "on":
        upper, lower = earlier[1:]
        if delayed is not None or upper in _tower_on(later[1], goals):  # the goal towers come too late, or rule it out
            if not (hand.is_clear(upper) and hand.is_clear(lower)):
                return None
            lines.append(["?", upper, lower])
            hand.move(upper, lower)
            hand.move(upper, None)
        towers.sort(key=lambda tower: upper not in tower)
    lines += [["=", *tower] for tower in towers]
    hand.lower_all(problem, rng)
    pending = [list(pairwise(tower)) for tower in towers]
    while pending:
        moves = pending[0] if rng is None else rng.choice(pending)
        lower, upper = moves.pop(0)
        hand.move(upper, lower)
        pending = [moves for moves in pending if moves]
    return in_lines(lines), tuple(hand.steps)


class _Hand:
    """The arm at work: `below` maps a block to the block under it, and `steps` is what was done so far."""

    def __init__(self, below: dict[str, str]) -> None:
        self.below = below
        self.steps: list[Step] = []

    def is_clear(self, block: str) -> bool:
        return block not in self.below.values()

    def tower(self, top: str) -> list[str]:
        """The blocks from `top` down."""
        blocks = [top]
        while blocks[-1] in self.below:
            blocks.append(self.below[blocks[-1]])
        return blocks

    def move(self, block: str, target: str | None) -> None:
        """Puts a clear block on a clear one, or on the table for None."""
        source = self.below.pop(block, None)
        self.steps.append(("pickup", block) if source is None else ("unstack", block, source))
        self.steps.append(("putdown", block) if target is None else ("stack", block, target))
        if target is not None:
            self.below[block] = target

    def lower_all(self, problem: Problem, rng: random.Random | None, spare: str | None = None) -> None:
        """Puts every block on the table but for the tower that holds `spare`: tower by tower, or top by top as drawn."""
        while tops := [
            block
            for block in problem.objects
            if block in self.below and self.is_clear(block) and (spare is None or spare not in self.tower(block))
        ]:
            if rng is None:
                self.lower(tops[0], None)
            else:
                self.move(rng.choice(tops), None)

    def lower(self, top: str, until: str | None) -> None:
        """Puts the blocks from `top` down on the table one by one: all of them, or those above `until`."""
        for block in self.tower(top):
            if block == until or block not in self.below:
                return
            self.move(block, None)


def _ordered_atoms(problem: Problem) -> tuple[Atom, Atom]:
    """(later, earlier) of the problem's sometime-before; empty atoms without one."""
    if isinstance(problem.constraints, TrajectoryConstraint) and len(problem.constraints.formulas) == 2:
        later, earlier = problem.constraints.formulas
        if isinstance(later, Literal) and isinstance(earlier, Literal):
            return later.atom, earlier.atom
    return (), ()


def _tower_on(base: str, goals: dict[str, str]) -> list[str]:
    """The goal tower from `base` up; `goals` maps a block to the one that belongs on it."""
    blocks = [base]
    while blocks[-1] in goals:
        blocks.append(goals[blocks[-1]])
    return blocks


DOMAIN = PlanningDomain(
    name="blocksworld",
    domain_pddl=DOMAIN_PDDL,
    file_name_format="bw_ops{ops}_n{n}_seed{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["n"],
    sizes={
        "small": {"ops": (3, 4), "n": (3, 4)},
        "train": {"ops": (3, 4), "n": (3, 6)},
        "harder": {"ops": (3, 4), "n": (7, 8)},
        "far": {"ops": (3, 4), "n": (11, 12)},
    },
    generate=generate,
    atoms_by_name=atoms_by_name,
    heuristic=heuristic,
    policy=policy,
    reasoned_policy=reasoned_policy,
    valid_parameters=lambda parameters: parameters["ops"] in (3, 4) and parameters["n"] >= 2,
    phrases={
        "arm-empty": "the arm is empty",
        "holding": "the arm holds {0}",
        "clear": "{0} is clear",
        "on-table": "{0} is on the table",
        "on": "{0} is on {1}",
    },
    object_names=numbered("b", 1, 20),
)
