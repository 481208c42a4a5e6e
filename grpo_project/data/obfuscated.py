"""The problems of a data root with every name replaced: does a model plan, or does it rely on familiar words?

After the Mystery Blocksworld of Valmeekam et al., "PlanBench" (NeurIPS 2023), for every domain, and with names of its own in
every problem: a model can only plan here by reading the domain that stands in the prompt.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from grpo_project import __version__
from grpo_project.common.files import json_object_or_none, write_json_atomically, write_text_atomically
from grpo_project.common.random_streams import stream
from grpo_project.data.rows import Row, read_rows
from grpo_project.errors import DataError
from grpo_project.pddl import extract_plan, render_domain, render_problem
from grpo_project.pddl.renaming import Renaming, obfuscation
from grpo_project.prompting import render_plan

PROBLEM_NAME = "task"  # of every obfuscated problem: the true name would give the domain away


def renaming_of(row: Row, seed: int) -> Renaming:
    """The new names of a row's problem: a pure function of the seed, the scenario and the problem file's name."""
    return obfuscation(row.domain, row.problem, stream(seed, "obfuscation", row.scenario, row.problem_file))


def obfuscated_row(row: Row, seed: int) -> dict[str, Any]:
    """A row of the same problem under other names, with domain and problem inline and no prompt.

    It keeps the problem file's name, from which its difficulty is read, and the canonical form of the original: a canonical form
    holds predicates by name, so that of the renamed problem would say nothing about training problems. Raises DataError for a
    reference plan that cannot be read.
    """
    names = renaming_of(row, seed)
    meta: dict[str, Any] = {
        "scenario": row.scenario,
        "problem_file": row.problem_file,
        "constraints": row.problem.constraints is not None,
        "canonical": row.canonical,
        **{key: row.meta[key] for key in ("split", "reference_cost", "reference_optimal") if key in row.meta},
        "domain_pddl": _on_one_line(render_domain(names.domain(row.domain))),
        "problem_pddl": _on_one_line(render_problem(names.problem(row.problem, PROBLEM_NAME), names.domain(row.domain))),
    }
    if row.response is None:
        return {"meta": meta}
    steps = extract_plan(row.response).steps
    if steps is None:
        raise DataError(f"{row.source}: the reference plan in `response` cannot be read")
    return {"response": render_plan(names.steps(steps)), "meta": meta}


def write_obfuscated(data_root: str | Path, out: str | Path, seed: int) -> dict[str, int]:
    """OUT/<domain>.jsonl and OUT/manifest.json from the rows of `data_root`; returns the number of rows of each domain.

    Raises DataError for a root that cannot be read or an `out` that holds rows of another origin.
    """
    out = Path(out)
    table = read_rows(data_root, on_bad_row="error")
    arguments = {"source": table.fingerprint, "seed": seed, "generator_version": __version__}
    manifest = out / "manifest.json"
    if any(out.glob("*.jsonl")) and (json_object_or_none(manifest) or {}).get("arguments") != arguments:
        raise DataError(
            f"{out} holds rows made from other data or another seed; nothing was changed. Delete it, or choose another --out"
        )
    write_json_atomically(manifest, {"arguments": arguments, "domains": {}})
    written: dict[str, Any] = {}
    for domain in table.domains:
        rows = [obfuscated_row(table.rows[index], seed) for index in table.indices_of(domain)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_text_atomically(out / f"{domain}.jsonl", text)
        written[domain] = {"rows": len(rows), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    write_json_atomically(manifest, {"arguments": arguments, "domains": written})
    return {domain: entry["rows"] for domain, entry in written.items()}


def _on_one_line(pddl: str) -> str:
    """Half of rendered PDDL is indentation; there are no comments that a line end would have to close."""
    return " ".join(pddl.split())
