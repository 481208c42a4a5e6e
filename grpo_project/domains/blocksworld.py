"""Blocksworld with four operators: towers of blocks, one arm.

The label `ops` of the published file names shows in how they write goals: 3 lists the whole arrangement, 4 only which block
stands on which. The domain is the same. Constraints: one goal support may only come about after another one has held. Where the
earlier one rests on the later one, the plan must build, take apart and build again.
"""

from __future__ import annotations

import random
import re

from grpo_project.domains.base import (
    Heuristic,
    Parameters,
    PlanningDomain,
    bits,
    conjunction,
    first_drawn,
    goal_atoms,
)
from grpo_project.pddl import Atom, Problem, Step, Task
from grpo_project.pddl.model import Literal, TrajectoryConstraint

_Towers = dict[str, str | None]  # by block: the one below it, None for the table
_Move = tuple[str, str | None]  # a block and the one that it is put on, None for the table

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


def implied_atoms(problem: Problem) -> frozenset[Atom]:
    """The arm is empty, and a block with nothing on it is clear."""
    covered = {atom[2] for atom in problem.init if atom[0] == "on"}
    return frozenset({("arm-empty",)} | {("clear", block) for block in problem.objects if block not in covered})


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
    # Towers repeat far more often than states with all their fluents do.
    known: dict[int, int] = {}

    def bound(state: int) -> int:
        key = state & (placings | any_holding)
        value = known.get(key)
        if value is not None:
            return value
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
        if key & any_holding:
            value += 1  # wherever it goes
        known[key] = value
        return value

    return bound


def policy(problem: Problem, rng: random.Random | None = None) -> tuple[Step, ...] | None:
    """A block whose goal place is ready goes there; where there is no such block, one that must move goes onto the table.

    With a constraint `sometime-before later earlier`, no move brings `later` about until `earlier` has been: see `_moves`.
    """
    below: _Towers = dict.fromkeys(problem.objects)
    below |= {atom[1]: atom[2] for atom in problem.init if atom[0] == "on"}
    goals = goal_atoms(problem.goal)
    wanted = dict(map(_move_to, goals))
    order = _ordered_moves(problem)
    steps: list[Step] = []
    for _ in range(4 * len(below)):  # far more moves than it takes
        if all(_support(atom[1], below) == atom for atom in goals):
            return tuple(steps)
        moves = _moves(below, wanted, order)
        if not moves:
            return None
        block, target = moves[0] if rng is None else rng.choice(moves)
        source, below[block] = below[block], target
        steps.append(("pickup", block) if source is None else ("unstack", block, source))
        steps.append(("putdown", block) if target is None else ("stack", block, target))
        if order and order[1] == (block, target):
            order = None
    return None


def _moves(below: _Towers, wanted: _Towers, order: tuple[_Move, _Move] | None) -> list[_Move]:
    """The moves of the most useful kind that has any. order: a move that must wait, and the one that it waits for.

    The awaited move is made as soon as it can be where the goal's towers alone would never lead to it (it is then undone), and
    else when nothing else is left. At last, the block that must wait is parked on another one, to get at what is below it.
    """
    clear = [block for block in below if block not in below.values()]
    settled = _settled_blocks(below, wanted)
    loose = [block for block in clear if block not in settled]
    places = {None, *settled.intersection(clear)}
    kinds: list[list[_Move]] = [
        [(block, wanted[block]) for block in loose if block in wanted and wanted[block] in places],
        [(block, None) for block in loose if below[block] is not None],
    ]
    if order:
        later, earlier = order
        awaited = [earlier] if {None, *clear}.issuperset(earlier) else []
        detour = later[0] in _tower(earlier[0], wanted)
        parkings = [block for block in clear if block != later[0]] if later[0] in clear else []
        parkings.sort(key=lambda block: block in earlier)  # the awaited blocks are wanted clear
        kinds = [awaited if detour else [], *kinds, awaited, [(later[0], block) for block in parkings[:1]]]
        kinds = [[move for move in moves if move != later] for moves in kinds]
    return next(filter(None, kinds), [])


def _settled_blocks(below: _Towers, wanted: _Towers) -> set[str]:
    """The blocks that need not move: on settled blocks all the way down, where the goal wants them or in no other one's place."""

    def fits(block: str) -> bool:
        support = below[block]
        if block in wanted:
            return support == wanted[block]
        return support is None or support not in wanted.values()

    return {block for block in below if all(map(fits, _tower(block, below)))}


def _tower(top: str, below: _Towers) -> list[str]:
    """The blocks from `top` down."""
    blocks = [top]
    while (support := below.get(blocks[-1])) is not None:
        blocks.append(support)
    return blocks


def _ordered_moves(problem: Problem) -> tuple[_Move, _Move] | None:
    """The moves that bring about the two atoms of the problem's sometime-before; None without one, or where nothing is to do."""
    constraint = problem.constraints
    if isinstance(constraint, TrajectoryConstraint) and len(constraint.formulas) == 2:
        later, earlier = constraint.formulas
        if isinstance(later, Literal) and isinstance(earlier, Literal) and earlier.atom not in problem.init:
            return _move_to(later.atom), _move_to(earlier.atom)
    return None


def _move_to(atom: Atom) -> _Move:
    return atom[1], atom[2] if atom[0] == "on" else None


DOMAIN = PlanningDomain(
    name="blocksworld",
    domain_pddl=DOMAIN_PDDL,
    file_name_pattern=re.compile(r"bw_ops(?P<ops>\d+)_n(?P<n>\d+)_seed(?P<seed>\d+)\.pddl"),
    file_name_format="bw_ops{ops}_n{n}_seed{seed}.pddl",
    difficulty=lambda parameters: 5.0 * parameters["n"],
    sizes={"train": {"ops": (3, 4), "n": (3, 6)}, "harder": {"ops": (3, 4), "n": (7, 8)}},
    generate=generate,
    implied_atoms=implied_atoms,
    heuristic=heuristic,
    policy=policy,
    valid_parameters=lambda parameters: parameters["ops"] in (3, 4) and parameters["n"] >= 2,
    phrases={
        "arm-empty": "the arm is empty",
        "holding": "the arm holds {0}",
        "clear": "{0} is clear",
        "on-table": "{0} is on the table",
        "on": "{0} is on {1}",
    },
)
