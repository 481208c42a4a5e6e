"""Rows of a data root: one `<scenario>.jsonl` per domain, read, checked and parsed before anything slow begins.

A row is a JSON object on one line:

    prompt        text, the user turn; where it is missing, the full prompt is made of the row's PDDL
    meta          {scenario, problem_file, and optionally domain_file, problem_pddl, domain_pddl (inline text), constraints
                  (bool), split, reference_cost}
    response      optional text, a reference plan
    class_label   optional text

PDDL is taken from the inline text, else from the file named in meta (`Origin.find`); a domain file that is nowhere gives way to
the text that the registry has of the domain. Scenarios are read in lower case. A row that cannot be used is named with its file
and line, counted, and skipped or refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from grpo_project.common.files import read_text
from grpo_project.data.origin import Origin
from grpo_project.data.row_files import RowFault, domain_files, json_lines, row_files
from grpo_project.domains import all_domains
from grpo_project.errors import ConfigError, DataError, PddlError
from grpo_project.pddl import Domain, Problem, Task, compile_task, parse_domain, parse_problem
from grpo_project.pddl.canonical import canonical_form
from grpo_project.prompting import render_prompt

logger = logging.getLogger(__name__)

ON_BAD_ROW = ("skip", "error")
NAMED_PER_FILE = 20  # bad rows named one by one in the log; `RowTable.bad_rows` holds all
CACHED_TASKS = 4096  # compiled tasks kept; the least recently used go first

_parsed_domain = lru_cache(maxsize=64)(parse_domain)  # rows of one file mostly share their domain text


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: `source` is "file:line" (line counts from 1), `reason` one line of text."""

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@dataclass(frozen=True)
class Row:
    """One usable row. `source` is "file:line"; `response` and `class_label` are None where the row has none.

    `domain` and `problem` are parsed at first use and kept; after `read_rows(validate_pddl=True)` they cannot fail. Otherwise
    they raise DataError (no such file) or PddlError.
    """

    prompt: str
    scenario: str
    problem_file: str
    response: str | None
    class_label: str | None
    meta: Mapping[str, Any]
    source: str
    origin: Origin
    turns: tuple[str, ...] = ()  # what was said between prompt and response: failed answer, verdict, ...

    @cached_property
    def domain_text(self) -> str:
        return self._domain_text_and_name[0]

    @cached_property
    def problem_text(self) -> str:
        return self._problem_text_and_name[0]

    @cached_property
    def domain(self) -> Domain:
        return _parsed_domain(*self._domain_text_and_name)

    @cached_property
    def problem(self) -> Problem:
        return parse_problem(self.problem_text, self.domain, self._problem_text_and_name[1])

    @cached_property
    def canonical(self) -> str:
        """`canonical_form` of the problem: equal for rows whose problems differ in names and order alone."""
        return canonical_form(self.domain, self.problem)

    @cached_property
    def known_forms(self) -> frozenset[str]:
        """The canonical forms under which others may hold this problem: its own, and meta.canonical, which obfuscated rows and
        rows in symbols have from before their predicates got other names."""
        told = self.meta.get("canonical")
        return frozenset({self.canonical, told} if isinstance(told, str) else {self.canonical})

    @cached_property
    def _domain_text_and_name(self) -> tuple[str, str]:
        inline, name = self.meta.get("domain_pddl"), self.meta.get("domain_file")
        if inline:
            return inline, "meta.domain_pddl"  # one name for all rows, so that equal texts are parsed once
        path = self.origin.find(name, self.scenario) if name else None
        if path is not None:
            return read_text(path), str(path)
        if self.scenario not in all_domains():
            raise DataError(self._nowhere("domain", name or "") + "; the suite has no domain of that name")
        return all_domains()[self.scenario].domain_pddl, f"<{self.scenario} domain>"

    @cached_property
    def _problem_text_and_name(self) -> tuple[str, str]:
        inline = self.meta.get("problem_pddl")
        if inline:
            return inline, f"{self.source}:meta.problem_pddl"
        path = self.origin.find(self.problem_file, self.scenario)
        if path is None:
            raise DataError(self._nowhere("problem", self.problem_file))
        return read_text(path), str(path)

    def _nowhere(self, what: str, name: str) -> str:
        return (
            f"{self.source}: {what} file {_shown(name)} is neither under {self.origin.places}, and the row has no {what}_pddl "
            "text: name its folder with --problem_root"
        )


class RowTable:
    """The usable rows of a data root, domain after domain, in file order. A row's index in `rows` identifies it everywhere.

    `domains`: names, in the order asked for (else sorted), each with a row or more. `bad_rows`: what was skipped, in reading
    order. `fingerprint`: SHA-256 (hex) over the content of all rows and, where they were validated, of their PDDL texts;
    moving the data root keeps it.
    """

    def __init__(
        self, origin: Origin, domains: Sequence[str], rows: Sequence[Row], bad_rows: Sequence[BadRow], fingerprint: str
    ) -> None:
        self.origin = origin
        self.domains = tuple(domains)
        self.rows = tuple(rows)
        self.bad_rows = tuple(bad_rows)
        self.fingerprint = fingerprint
        self._indices: dict[str, list[int]] = {name: [] for name in self.domains}
        for index, row in enumerate(self.rows):
            self._indices[row.scenario].append(index)
        self._compiled = lru_cache(maxsize=CACHED_TASKS)(self._compile)

    def __len__(self) -> int:
        return len(self.rows)

    def indices_of(self, domain: str) -> list[int]:
        """Row indices of a domain, ascending. Raises KeyError for a domain that is not in `domains`."""
        return list(self._indices[domain])

    def different_of(self, domain: str) -> list[int]:
        """Row indices of a domain's different problems, the first of each: what stands twice would count twice as a measure.

        Raises KeyError as `indices_of` does, and PddlError or DataError as the rows' PDDL does.
        """
        first: dict[str, int] = {}
        for index in self._indices[domain]:
            first.setdefault(self.rows[index].canonical, index)
        return list(first.values())

    def task(self, row_index: int) -> Task:
        """The compiled task of a row, compiled at first use and kept. Raises IndexError outside 0..len(rows)-1."""
        return self._compiled(row_index)

    def _compile(self, row_index: int) -> Task:
        if row_index < 0:
            raise IndexError(f"row index {row_index} is negative")
        row = self.rows[row_index]
        return compile_task(row.domain, row.problem)


def read_rows(
    data_root: str | Path | Origin, domains: Sequence[str] | None = None, on_bad_row: str = "skip", validate_pddl: bool = True
) -> RowTable:
    """All usable rows of a data root's domains, those named or all that have a file (`row_files.domain_files`).

    `data_root`: a folder, or one with all that its rows share. `validate_pddl` parses the PDDL of every row now (0.3 ms a row)
    and drops what does not parse; without it no problem file is opened, and a row needs only its fields.

    Raises ConfigError for an unknown `on_bad_row` or a domain named twice, DataError for a root, file or domain that is not
    there, for a domain left without rows and, with on_bad_row="error", for the first bad row.
    """
    if on_bad_row not in ON_BAD_ROW:
        raise ConfigError(f"on_bad_row must be one of {', '.join(ON_BAD_ROW)}, got {on_bad_row!r}")
    origin = data_root if isinstance(data_root, Origin) else Origin(Path(data_root))
    rows: list[Row] = []
    bad_rows: list[BadRow] = []
    files = domain_files(origin.data_root, domains)
    for domain, path in files.items():
        kept, bad = _keep_usable(_read_file(origin, path, domain, validate_pddl), path, on_bad_row)
        if not kept:
            first = f"; the first: {bad[0]}" if bad else ""
            why = f"all {len(bad)} rows are bad{first}" if bad else "the file is empty"
            raise DataError(f"{path}: no row left for {domain}, {why}. Repair the file, or leave {domain} out of the domains")
        rows += kept
        bad_rows += bad
    return RowTable(origin, list(files), rows, bad_rows, _fingerprint(rows, validate_pddl))


def stream_rows(data_root: str | Path | Origin) -> Iterator[Row]:
    """All rows of a data root one by one, so that a million need no memory. PDDL is not opened unless a row lacks its prompt.

    The files are `row_files.row_files`. Raises DataError as `read_rows` does, and for the first bad row.
    """
    origin = data_root if isinstance(data_root, Origin) else Origin(Path(data_root))
    for path in row_files(origin.data_root):
        empty = True
        for found in _read_file(origin, path, None, validate_pddl=False):
            if isinstance(found, BadRow):
                raise DataError(f"{found}. Repair the row, or take it out")
            empty = False
            yield found
        if empty:
            raise DataError(f"{path}: the file is empty. Fill it, or take it out")


def rows_without_files(rows: Sequence[Row]) -> list[BadRow]:
    """The rows whose problem or domain file is nowhere or no text, each with the reason. Parses nothing."""
    found = []
    for row in rows:
        try:
            _ = row.domain_text, row.problem_text
        except DataError as error:
            found.append(BadRow(row.source, str(error).removeprefix(f"{row.source}:").lstrip()))
    return found


def _keep_usable(found: Iterator[Row | BadRow], path: Path, on_bad_row: str) -> tuple[list[Row], list[BadRow]]:
    kept: list[Row] = []
    bad: list[BadRow] = []
    for row in found:
        if isinstance(row, Row):
            kept.append(row)
            continue
        bad.append(row)
        if on_bad_row == "error":
            raise DataError(f"{row}. Repair the row, or skip such rows with --on_bad_row skip")
        if len(bad) <= NAMED_PER_FILE:
            logger.warning("bad row skipped: %s", row)
    if bad:
        total = len(bad) + len(kept)
        unnamed = f" (the first {NAMED_PER_FILE} are named above)" if len(bad) > NAMED_PER_FILE else ""
        logger.warning("%s: %d of %d rows are bad and were skipped%s", path, len(bad), total, unnamed)
    return kept, bad


def _read_file(origin: Origin, path: Path, domain: str | None, validate_pddl: bool) -> Iterator[Row | BadRow]:
    """What each line of a file holds; `domain` None: rows of any. Raises DataError where the file cannot be read."""
    for source, value in json_lines(path):
        try:
            if isinstance(value, RowFault):
                raise value
            yield read_row(value, source, domain, origin, validate_pddl)
        except RowFault as fault:
            yield BadRow(source, str(fault))


def read_row(value: Any, source: str, domain: str | None, origin: Origin, validate_pddl: bool) -> Row:
    """The row of a JSON value, or RowFault."""
    if not isinstance(value, dict):
        raise RowFault(f"a JSON object was expected, found {_kind(value)}")
    meta = value.get("meta")
    if "meta" not in value:
        raise RowFault("field meta is missing")
    if not isinstance(meta, dict):
        raise RowFault(f"meta must be an object, found {_kind(meta)}")
    row = Row(
        prompt=_text(value, "prompt") if value.get("prompt") is not None else "",
        scenario=_text(meta, "scenario", "meta.").lower(),
        problem_file=_text(meta, "problem_file", "meta."),
        response=_optional_text(value, "response"),
        class_label=_optional_text(value, "class_label"),
        meta=meta,
        source=source,
        origin=origin,
        turns=_turns(value),
    )
    for name in ("domain_file", "problem_pddl", "domain_pddl", "split"):
        _optional_text(meta, name, "meta.")
    constraints, cost = meta.get("constraints"), meta.get("reference_cost")
    if constraints is not None and not isinstance(constraints, bool):
        raise RowFault(f"meta.constraints must be true or false, found {_kind(constraints)}")
    if cost is not None and (isinstance(cost, bool) or not isinstance(cost, (int, float))):
        raise RowFault(f"meta.reference_cost must be a number, found {_kind(cost)}")
    if cost is not None and abs(cost) > sys.float_info.max:
        raise RowFault("meta.reference_cost is larger than any number that a plan can cost")
    known = row.scenario in all_domains()
    if domain not in (None, row.scenario):
        whose = "another domain's" if known else "no known domain's"
        raise RowFault(f"meta.scenario is {_shown(row.scenario)}, {whose} name, in the file of {domain}")
    if not (known or meta.get("domain_pddl") or meta.get("domain_file")):
        wanted = "give meta.domain_pddl or domain_file"
        raise RowFault(f"meta.scenario is {_shown(row.scenario)}, no known domain's name: {wanted}")
    if validate_pddl or not row.prompt:
        try:
            _ = row.problem
        except (PddlError, DataError) as error:
            raise RowFault(str(error).removeprefix(f"{source}:").lstrip()) from error
        except RecursionError as error:
            raise RowFault("the PDDL is nested too deeply") from error
    if not row.prompt:
        # A prompt_style in meta is that of a prompt which is not there.
        own = {**meta, "prompt_style": "full"} if "prompt_style" in meta else meta
        row = replace(row, prompt=render_prompt(row.scenario, row.domain_text, row.problem, "full"), meta=own)
    return row


def _text(holder: Mapping[str, Any], name: str, where: str = "") -> str:
    if name not in holder:
        raise RowFault(f"field {where}{name} is missing")
    text = _encodable(holder[name], where + name)
    if not text.strip():
        raise RowFault(f"{where}{name} is empty")
    return text


def _optional_text(holder: Mapping[str, Any], name: str, where: str = "") -> str | None:
    return None if holder.get(name) is None else _encodable(holder[name], where + name)


def _turns(value: Mapping[str, Any]) -> tuple[str, ...]:
    turns = value.get("turns") or []
    if not isinstance(turns, list) or len(turns) % 2:
        raise RowFault("turns must be a list of pairs, an answer that failed and what was said of it")
    return tuple(_encodable(turn, "turns") for turn in turns)


def _encodable(value: Any, name: str) -> str:
    """The text. JSON can spell half of a surrogate pair; every tokenizer and file would fail on it much later."""
    if not isinstance(value, str):
        raise RowFault(f"{name} must be text, found {_kind(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowFault(f"{name} holds half of a surrogate pair at character {error.start + 1}") from error
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names[type(value)]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _fingerprint(rows: Sequence[Row], with_pddl: bool) -> str:
    digest = hashlib.sha256()
    for row in rows:
        content = [row.prompt, row.meta, row.response, row.class_label]
        if with_pddl:
            content += [row.domain_text, row.problem_text]
        digest.update(json.dumps(content, sort_keys=True).encode("ascii") + b"\n")
    return digest.hexdigest()
