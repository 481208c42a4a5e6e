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
