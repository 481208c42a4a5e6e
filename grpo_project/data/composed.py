"""Transport domains put together at random, each with a problem and a plan: what a planner that reads domains practises on.

Something carries things between places. How it moves, whether it is named, how much it holds, how things arrive, which
predicates tell kinds apart and in which order parameters stand is drawn for every row: 152 combinations. Two kinds are left
out. Those that move by an order of the places in two actions and bring things where they want to go: the registry's elevator,
held out, is one, so no row shows how these two go together. And those that are the registry's ferry up to names, the order of
parameters and predicates of kinds: their problems would be on no side of the split.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grpo_project import __version__
from grpo_project.common.files import alone_in, write_json_atomically, write_text_atomically
from grpo_project.common.random_streams import stream
from grpo_project.data.neutral_symbols import inline_pddl, under_neutral_symbols
from grpo_project.domains.base import conjunction
from grpo_project.errors import ConfigError, DataError
from grpo_project.pddl import Atom, Domain, Problem, Step, compile_task, parse_domain, validate
from grpo_project.pddl.model import And, Constraint, Literal, Not, TrajectoryConstraint
from grpo_project.prompting import SCHEMAS, render_plan
from grpo_project.prompting.schemas import render_schemas

NAME = "composed"
ROADS = ("anywhere", "between_different", "by_order")
DRAWS = 1000  # of a row, until there is something to carry, room for the constraint, and a plan that the verifier accepts


@dataclass(frozen=True)
class Parts:
    """What a domain is made of. road: of ROADS, by_order with an action for either direction; named: the carrier is an object;
    one_at_a_time: it holds one thing; wishes: things want to go somewhere and are then done, instead of being there; kinds:
    predicates say what is a place and what a thing; thing_first, from_first: the order of parameters."""

    road: str
    named: bool
    one_at_a_time: bool
    wishes: bool
    kinds: bool
    thing_first: bool
    from_first: bool

    @property
    def is_left_out(self) -> bool:
        like_elevator = self.road == "by_order" and self.wishes
        like_ferry = self.road == "between_different" and self.one_at_a_time and not self.named and not self.wishes
        return like_elevator or like_ferry

    @classmethod
    def drawn(cls, rng: random.Random) -> Parts:
        while True:
            parts = cls(rng.choice(ROADS), *(rng.random() < 0.5 for _ in range(6)))
            if not parts.is_left_out:
                return parts

    def handled(self, thing: str, place: str, carrier: str) -> tuple[str, ...]:
        """The arguments of load and unload."""
        pair = (thing, place) if self.thing_first else (place, thing)
        return (*pair, carrier) if self.named else pair

    def moved(self, start: str, target: str, carrier: str) -> tuple[str, ...]:
        """The arguments of a move."""
        pair = (start, target) if self.from_first else (target, start)
        return (carrier, *pair) if self.named else pair

    def here(self, place: str, carrier: str) -> Atom:
        return ("here", carrier, place) if self.named else ("here", place)

    def inside(self, thing: str, carrier: str) -> Atom:
        return ("inside", thing, carrier) if self.named else ("inside", thing)

    def room(self, carrier: str) -> list[Atom]:
        """That there is room, where that can be otherwise."""
        return [] if not self.one_at_a_time else [("room", carrier)] if self.named else [("room",)]

    def arrived(self, thing: str, place: str) -> Atom:
        return ("done", thing) if self.wishes else ("at", thing, place)

    def domain_pddl(self) -> str:
        """The text of the domain."""
        thing, place, carrier, start, target = "?thing ?place ?carrier ?start ?target".split()
        handled, moved = self.handled(thing, place, carrier), self.moved(start, target, carrier)
        places = [("place", start), ("place", target)] if self.kinds else []
        both = [("place", place), ("thing", thing)] if self.kinds else []
        moves = {"move": [("different", start, target)] if self.road == "between_different" else []}
        if self.road == "by_order":
            moves = {"rise": [("below", start, target)], "sink": [("below", target, start)]}
        actions = [
            _action(
                name,
                moved,
                [self.here(start, carrier), *places, *needs],
                [self.here(target, carrier)],
                [self.here(start, carrier)],
            )
            for name, needs in moves.items()
        ]
        inside, room, wish = self.inside(thing, carrier), self.room(carrier), [("wants", thing, place)] if self.wishes else []
        here = self.here(place, carrier)
        actions.append(
            _action("load", handled, [here, ("at", thing, place), *both, *room], [inside], [("at", thing, place), *room])
        )
        actions.append(_action("unload", handled, [here, inside, *both, *wish], [self.arrived(thing, place), *room], [inside]))
        declared = [self.here("?p", "?c"), self.inside("?t", "?c"), ("at", "?t", "?p"), *self.room("?c")]
        declared += [("done", "?t"), ("wants", "?t", "?p")] if self.wishes else []
        declared += [("place", "?p"), ("thing", "?t")] if self.kinds else []
        roads = {"between_different": [("different", "?p", "?q")], "by_order": [("below", "?p", "?q")]}
        declared += roads.get(self.road, [])
        return f"(define (domain {NAME}) (:predicates {_all(declared)}) {' '.join(actions)})"


def _all(atoms: Sequence[Atom]) -> str:
    return " ".join(f"({' '.join(atom)})" for atom in atoms)


def _action(name: str, parameters: Sequence[str], needs: Sequence[Atom], adds: Sequence[Atom], deletes: Sequence[Atom]) -> str:
    gone = " ".join(f"(not ({' '.join(atom)}))" for atom in deletes)
    conditions, effects = f"(and {_all(needs)})", f"(and {gone} {_all(adds)})"
    return f"(:action {name} :parameters ({' '.join(parameters)}) :precondition {conditions} :effect {effects})"


def composed_problem(
    rng: random.Random, places: tuple[int, int], things: tuple[int, int], constraints_share: float
) -> tuple[Domain, Problem, tuple[Step, ...]]:
    """A domain, a problem of so many places and things (inclusive ranges), and a plan that the verifier accepts: thing after
    thing in the order of the list, with what a constraint asks for on the way, and all by the first carrier."""
    is_constrained = rng.random() < constraints_share
    for _ in range(DRAWS):
        parts = Parts.drawn(rng)
        domain = parse_domain(parts.domain_pddl(), NAME)
        problem, trips, start, carrier = _drawn_problem(rng, parts, rng.randint(*places), rng.randint(*things))
        if not trips:
            continue
        first, by_way_of = list(trips), dict[str, str]()
        if is_constrained:
            constraint, first, by_way_of = _constrained(rng, parts, trips, start, carrier, problem)
            if constraint is None:
                continue
            problem = replace(problem, constraints=constraint)
        steps = _plan(parts, trips, first, by_way_of, start, carrier, problem)
        if validate(compile_task(domain, problem), steps).success:
            return domain, problem, steps
    what = "problem with a constraint" if is_constrained else "problem"
    raise DataError(f"{DRAWS} draws gave no composed {what} of {places} places and {things} things; choose larger sizes")


Trips = dict[str, tuple[str, str]]  # thing to where it is and where it is wanted, in the order of the list


def _drawn_problem(rng: random.Random, parts: Parts, places: int, things: int) -> tuple[Problem, Trips, str, str]:
    """(problem without constraints, trips of what has to move, where the first carrier is, that carrier)."""
    where, what = [f"p{i}" for i in range(places)], [f"t{i}" for i in range(things)]
    carriers = [f"c{i}" for i in range(rng.choice((1, 1, 2)))] if parts.named else []
    objects = [*where, *what, *carriers]
    rng.shuffle(objects)
    starts = {thing: rng.choice(where) for thing in what}
    targets = {thing: rng.choice(where) for thing in what}
    trips = {
        name: (starts[name], targets[name])
        for name in objects
        if name in starts and (parts.wishes or starts[name] != targets[name])
    }
    init: set[Atom] = {("at", thing, place) for thing, place in starts.items()}
    at = {carrier: rng.choice(where) for carrier in carriers or [""]}
    for carrier, place in at.items():
        init |= {parts.here(place, carrier), *parts.room(carrier)}
    if parts.wishes:
        init |= {("wants", thing, place) for thing, place in targets.items()}
    if parts.kinds:
        init |= {("place", place) for place in where} | {("thing", thing) for thing in what}
    if parts.road == "between_different":
        init |= {("different", one, other) for one in where for other in where if one != other}
    if parts.road == "by_order":
        order = rng.sample(where, len(where))
        init |= {("below", lower, upper) for i, lower in enumerate(order) for upper in order[i + 1 :]}
    goal = conjunction([parts.arrived(thing, targets[thing]) for thing in what])
    problem = Problem(NAME, NAME, dict.fromkeys(objects, "object"), frozenset(init), goal)
    first = next((name for name in objects if name in carriers), "")
    return problem, trips, at[first], first


def _constrained(
    rng: random.Random, parts: Parts, trips: Trips, start: str, carrier: str, problem: Problem
) -> tuple[Constraint | None, list[str], dict[str, str]]:
    """(constraint, or None where none fits; the things in the order in which they are brought; where the carrier goes before one
    arrives)."""
    things, order = list(trips), list(trips)
    kind = rng.choice(("order", "apart", "visit")) if len(things) >= 2 else "visit"
    if kind == "visit":
        thing = rng.choice(things)
        places = [name for name in problem.objects if name.startswith("p")]
        thirds = [place for place in places if place not in (start, *trips[thing])]
        if not thirds:
            return None, order, {}
        third = rng.choice(thirds)
        arrived, visited = Literal(parts.arrived(thing, trips[thing][1])), Literal(parts.here(third, carrier))
        return TrajectoryConstraint("sometime-before", (arrived, visited)), order, {thing: third}
    one, other = rng.sample(things, 2)
    if kind == "apart":
        pair = And(tuple(Literal(parts.inside(thing, carrier)) for thing in sorted((one, other))))
        return TrajectoryConstraint("always", (Not(pair),)), order, {}
    order.sort(key=lambda thing: thing != other)  # the earlier one is brought first of all
    both = [Literal(parts.arrived(thing, trips[thing][1])) for thing in (one, other)]
    return TrajectoryConstraint("sometime-before", (both[0], both[1])), order, {}


def _plan(
    parts: Parts, trips: Trips, order: Sequence[str], by_way_of: dict[str, str], here: str, carrier: str, problem: Problem
) -> tuple[Step, ...]:
    steps: list[Step] = []

    def go(target: str) -> None:
        nonlocal here
        if target != here:
            up = ("below", here, target) in problem.init
            name = "move" if parts.road != "by_order" else "rise" if up else "sink"
            steps.append((name, *parts.moved(here, target, carrier)))
            here = target

    for thing in order:
        start, target = trips[thing]
        go(start)
        steps.append(("load", *parts.handled(thing, start, carrier)))
        if thing in by_way_of:
            go(by_way_of[thing])
        go(target)
        steps.append(("unload", *parts.handled(thing, target, carrier)))
    return tuple(steps)


def composed_rows(
    count: int, seed: int, places: tuple[int, int], things: tuple[int, int], constraints_share: float
) -> Iterator[dict[str, Any]]:
    """Rows under neutral symbols with domain and problem inline; row i is a function of the arguments and i."""
    for index in range(count):
        rng = stream(seed, NAME, index)
        domain, problem, steps = composed_problem(rng, places, things, constraints_share)
        told, asked, names = under_neutral_symbols(domain, problem, rng)
        meta = {
            "scenario": NAME,
            "problem_file": f"{NAME}-{seed}-{index}.pddl",
            "constraints": problem.constraints is not None,
            "prompt_style": SCHEMAS,
            **inline_pddl(told, asked),
        }
        yield {"prompt": render_schemas(told, asked), "response": render_plan(names.steps(steps)), "meta": meta}


def write_composed(
    out: str | Path, count: int, seed: int, places: tuple[int, int], things: tuple[int, int], constraints_share: float
) -> None:
    """OUT/manifest.json and OUT/composed.jsonl. Raises ConfigError for a folder without a name, and DataError for one that holds
    anything but the manifest of a stopped one."""
    if not str(out):
        raise ConfigError("--out must name a folder")
    out = Path(out)
    with alone_in(out):
        if any(path.name != "manifest.json" for path in out.iterdir()):
            raise DataError(f"{out} is not empty; nothing was changed. Choose another --out")
        rows = composed_rows(count, seed, places, things, constraints_share)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        arguments = {"count": count, "seed": seed, "places": places, "things": things, "constraints_share": constraints_share}
        written = {"rows": count, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        made = {"arguments": {**arguments, "generator_version": __version__}, "domains": {NAME: written}}
        write_json_atomically(out / "manifest.json", made)
        write_text_atomically(out / f"{NAME}.jsonl", text)
