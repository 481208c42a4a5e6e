"""Data of other tools as a data root of ours: one row a problem, its PDDL inside, only plans that were verified.

Taken are JSON Lines, a JSON array, an object that holds one, and folders of PDDL files with plans beside them (p1.pddl, p1.soln).
A record may have its fields in `meta` or beside it, name its problem by file, key, id or name, hold the plan as `response`,
`chosen`, `candidate`, `completion` or `plan`, and the PDDL itself, in files, or in its prompt.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpo_project.common.files import read_text, text_of, write_text_atomically
from grpo_project.data.instances import SPLITS, split_of
from grpo_project.data.origin import Origin
from grpo_project.data.pddl_files import scenario_of
from grpo_project.data.row_files import SUFFIX, RowFault, decode
from grpo_project.data.rows import Row, read_row
from grpo_project.domains import all_domains
from grpo_project.errors import DataError, PddlError
from grpo_project.pddl import compile_task, parse_domain, validate_text

PROBLEM_NAMES = ("problem_file", "problem_key", "problem_id", "problem_name")
PLANS = ("response", "chosen", "candidate", "completion", "plan")
PLAN_FILES = (".soln", ".plan")
KEPT = ("constraints", "reference_cost", "problem_id")  # of meta, beside what says which problem it is

Record = tuple[str, Any]  # where it stands, and the JSON value or what is wrong with it


@dataclass
class Converted:
    """`rows`: by (split or "", domain), one a problem. `counts`: records, repeats, plans kept and plans dropped. `refused`: by
    their source."""

    rows: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


def convert(sources: Sequence[str], problem_roots: Sequence[str], split: bool) -> Converted:
    """All problems of the sources, each once. `split`: parted by their canonical form, as every problem of this suite is.

    Raises DataError for a source that is not there or holds nothing that is understood.
    """
    converted, by_problem = Converted(), dict[tuple[str, str], dict[str, Any]]()
    for name in sources:
        path = Path(name)
        origin = Origin.of(path if path.is_dir() else path.parent, problem_roots)
        for source, record in _records(path):
            converted.counts["records"] += 1
            try:
                if isinstance(record, RowFault):
                    raise record
                row = read_row(_standard(record, source, origin), source, None, origin, validate_pddl=True)
                _add(converted, by_problem, row, split)
            except (RowFault, PddlError, DataError) as fault:
                converted.refused.append(f"{source}: {str(fault).removeprefix(f'{source}:').lstrip()}")
    return converted


def write_converted(converted: Converted, out: Path) -> None:
    """OUT/<domain>.jsonl, or OUT/train/ and OUT/test/ of them. Raises DataError for a folder that has files in it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already, and not an empty folder: nothing was written. Choose another --out")
    for (part, domain), rows in converted.rows.items():
        write_text_atomically(out / part / f"{domain}{SUFFIX}", "".join(json.dumps(row) + "\n" for row in rows))


def _add(converted: Converted, by_problem: dict[tuple[str, str], dict[str, Any]], row: Row, split: bool) -> None:
    """A new problem, or the plan of a known one that has none yet."""
    known = by_problem.get((row.scenario, row.canonical))
    converted.counts["repeats"] += known is not None
    kept = known or _row(row)
    if known is None:
        by_problem[row.scenario, row.canonical] = kept
        part = split_of(row.canonical) if split else ""
        if part:
            kept["meta"]["split"] = part
        converted.rows.setdefault((part, row.scenario), []).append(kept)
    elif known["meta"]["problem_pddl"] != row.problem_text:
        return  # the same problem under other names: its plan is none of the row that is kept
    if row.response:
        valid = validate_text(compile_task(row.domain, row.problem), row.response).success
        converted.counts["plans kept" if valid else "plans dropped"] += 1
        if valid:
            kept.setdefault("response", row.response)


def _row(row: Row) -> dict[str, Any]:
    known = all_domains().get(row.scenario)
    meta = {"scenario": row.scenario, "problem_file": row.problem_file, "problem_pddl": row.problem_text}
    if known is None or known.domain_pddl != row.domain_text:
        meta["domain_pddl"] = row.domain_text
    meta |= {name: row.meta[name] for name in KEPT if row.meta.get(name) is not None}
    return {"prompt": row.prompt, "meta": meta}


def _standard(record: Any, source: str, origin: Origin) -> Any:
    """The record with its fields where the reader of rows looks for them; what is no object is the reader's to refuse."""
    if not isinstance(record, dict):
        return record
    own = record.get("meta")
    meta = {**record, **(own if isinstance(own, dict) else {})}
    texts = {name: text for name, value in meta.items() if (text := _text(value)).strip()}
    prompt = texts.get("prompt", "")
    name = next((texts[key] for key in PROBLEM_NAMES if key in texts), source.rpartition("/")[2])
    found = {"problem_file": name if name.lower().endswith(".pddl") else f"{name}.pddl"}
    scenario = texts.get("scenario") or texts.get("problem_key", "").rpartition("/")[0]
    for what, file in (("domain", texts.get("domain_file")), ("problem", found["problem_file"])):
        pddl = texts.get(f"{what}_pddl")
        path = origin.find(file, scenario) if pddl is None and file is not None else None
        pddl = pddl or (read_text(path) if path is not None else pddl_in(prompt, what))
        if pddl is not None:
            found[f"{what}_pddl"] = pddl
    if not scenario:
        domain = found.get("domain_pddl")
        scenario = scenario_of(parse_domain(domain, source)) if domain else _named(found.get("problem_pddl", ""), ":domain")
    kept = {key: meta[key] for key in KEPT if key in meta}
    named = {"domain_file": texts["domain_file"]} if "domain_file" in texts else {}
    plan = next((texts[key] for key in PLANS if key in texts), None)
    return {"prompt": prompt or None, "response": plan, "meta": {**kept, **named, **found, "scenario": scenario}}


def _text(value: Any) -> str:
    """Of a text itself, of chat messages their contents; "" of anything else."""
    if isinstance(value, list):
        return "\n\n".join(_text(message.get("content")) for message in value if isinstance(message, dict))
    return value if isinstance(value, str) else ""


def pddl_in(text: str, what: str) -> str | None:
    """The first whole `(define (domain ...` or `(define (problem ...` in a text, comments included; None without one."""
    for start in re.finditer(rf"\(\s*define\s*\(\s*{what}\b", text, re.IGNORECASE):
        depth = 0
        for piece in re.finditer(r";[^\n]*|[()]", text[start.start() :]):
            depth += {"(": 1, ")": -1}.get(piece[0], 0)
            if depth == 0 and piece[0] == ")":
                return text[start.start() : start.start() + piece.end()]
    return None


def _records(path: Path) -> Iterator[Record]:
    """Raises DataError where there are none."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder. Name data files, or a folder of them or of PDDL files")
    if path.is_file():
        yield from _of_file(path)
        return
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in (SUFFIX, ".pddl"))
    data = [file for file in files if file.suffix.lower() == SUFFIX]
    if not files:
        raise DataError(f"{path} holds neither {SUFFIX} nor .pddl files")
    for file in data:
        yield from _of_file(file)
    if not data:
        yield from _of_pddl(path, files)


def _of_file(path: Path) -> Iterator[Record]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = raw.decode("utf-16") if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else text_of(raw, path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is UTF-16 text that breaks off at byte {error.start + 1}") from None
    try:
        whole = decode(text.encode("utf-8"))
    except RowFault:  # it is no single JSON value, so it has one a line
        lines = enumerate(text.split("\n"), 1)
        yield from ((f"{path}:{number}", _decoded(line)) for number, line in lines if line.strip())
        return
    if isinstance(whole, dict) and "prompt" not in whole:
        lists = [value for value in whole.values() if isinstance(value, list)]
        whole = lists[0] if len(lists) == 1 else whole
    records = whole if isinstance(whole, list) else [whole]
    yield from ((f"{path}: record {number}", record) for number, record in enumerate(records, 1))


def _decoded(line: str) -> Any:
    try:
        return decode(line.encode("utf-8"))
    except RowFault as fault:
        return fault


def _of_pddl(root: Path, files: Sequence[Path]) -> Iterator[Record]:
    """A record a problem file, with the nearest domain: in its folder, else above it; of several there, the one it names."""
    texts = {file: read_text(file) for file in files}
    domains: dict[Path, dict[str, str]] = {}
    for file, text in texts.items():
        if pddl_in(text, "domain") is not None:
            domains.setdefault(file.parent, {})[_named(text, r"define\s*\(\s*domain")] = text
    for file, text in texts.items():
        if pddl_in(text, "problem") is None:
            continue
        near = next((domains[folder] for folder in file.parents if folder in domains), {})
        domain = near.get(_named(text, r":domain")) or next(iter(near.values()), None)
        plans = [file.with_suffix(suffix) for suffix in PLAN_FILES]
        plan = next((read_text(found) for found in plans if found.is_file()), None)
        name = file.relative_to(root).as_posix()
        yield str(file), {"problem_file": name, "problem_pddl": text, "domain_pddl": domain, "plan": plan}


def _named(text: str, before: str) -> str:
    match = re.search(rf"{before}\s+([^\s()]+)", text, re.IGNORECASE)
    return match[1].lower() if match else ""


def describe(converted: Converted) -> str:
    """`60 records, 12 different problems (48 repeat one), 10 plans verified, 2 left out ...; train: ferry 9; test: ferry 3`."""
    counts, problems = converted.counts, sum(map(len, converted.rows.values()))
    parts: dict[str, list[str]] = {part: [] for part in ("", *SPLITS)}
    for (part, domain), rows in sorted(converted.rows.items()):
        parts[part].append(f"{domain} {len(rows)}")
    sizes = "; ".join(f"{part}: {', '.join(names)}" if part else ", ".join(names) for part, names in parts.items() if names)
    plans = f"{counts['plans kept']} plans verified, {counts['plans dropped']} left out for they fail"
    return f"{counts['records']} records, {problems} different problems ({counts['repeats']} repeat one), {plans}; {sizes}"


__all__ = ["Converted", "convert", "describe", "pddl_in", "write_converted"]
