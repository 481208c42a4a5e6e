"""Rows of a data root for tests: good ones, and files of them."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

from grpo_project.domains import get_domain
from grpo_project.pddl import render_problem

SIZES = {"blocksworld": {"ops": 4, "n": 3}, "ferry": {"l": 3, "c": 2}}


@lru_cache
def problem_text(scenario: str, seed: int) -> str:
    domain = get_domain(scenario)
    return render_problem(domain.generate(random.Random(f"rows/{seed}"), SIZES[scenario], False))


def a_row(scenario: str = "blocksworld", seed: int = 1, **changes: Any) -> dict[str, Any]:
    """A good row with its problem inline. `changes` replace fields; those named meta__x replace x in meta; None removes."""
    name = get_domain(scenario).file_name(SIZES[scenario], seed)
    meta = {"scenario": scenario, "problem_file": f"{scenario}/{name}", "domain_file": f"{scenario}/domain.pddl"}
    row: dict[str, Any] = {"prompt": f"Plan {seed}", "meta": {**meta, "problem_pddl": problem_text(scenario, seed)}}
    for key, value in changes.items():
        holder, key = (row["meta"], key.removeprefix("meta__")) if key.startswith("meta__") else (row, key)
        if value is None:
            del holder[key]
        else:
            holder[key] = value
    return row


def write(root: Path, scenario: str, lines: list[Any]) -> Path:
    """Lines that are no text or bytes become JSON."""
    path = root / f"{scenario}.jsonl"
    encoded = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode() for line in lines
    ]
    path.write_bytes(b"\n".join(encoded) + b"\n")
    return path


# A domain of a user's own, which the registry does not know.
DEPOT = """(define (domain depot) (:requirements :strips :typing) (:types place truck crate)
 (:predicates (at ?c - crate ?p - place) (in ?c - crate ?t - truck) (stands ?t - truck ?p - place))
 (:action drive :parameters (?t - truck ?from ?to - place)
  :precondition (stands ?t ?from) :effect (and (stands ?t ?to) (not (stands ?t ?from))))
 (:action load :parameters (?c - crate ?t - truck ?p - place)
  :precondition (and (at ?c ?p) (stands ?t ?p)) :effect (and (in ?c ?t) (not (at ?c ?p))))
 (:action unload :parameters (?c - crate ?t - truck ?p - place)
  :precondition (and (in ?c ?t) (stands ?t ?p)) :effect (and (at ?c ?p) (not (in ?c ?t)))))
"""


def depot_rows(count: int, crates: int = 0) -> list[dict[str, Any]]:
    """Rows of `count` problems with crates + 0, 1, 2, ... crates; the domain is in depot.pddl, which the rows name."""
    rows = []
    for size in range(crates, crates + count):
        names = [f"crate{number}" for number in range(size)]
        goal = " ".join(f"(at {name} away)" for name in names) + " (stands van away)"
        text = (
            f"(define (problem depot-{size}) (:domain depot) (:objects home away - place van - truck {' '.join(names)}"
            f"{' - crate' if names else ''}) (:init (stands van home) {' '.join(f'(at {name} home)' for name in names)})"
            f" (:goal (and {goal})))"
        )
        meta = {
            "scenario": "depot",
            "problem_file": f"depot/depot-{size}.pddl",
            "domain_file": "depot.pddl",
            "problem_pddl": text,
        }
        rows.append({"meta": meta})
    return rows
