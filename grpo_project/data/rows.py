"""Rows of a data root: one `<scenario>.jsonl` per domain, read, checked and parsed before anything slow begins.

A row is a JSON object on one line:

    prompt        text, the user turn; where it is missing, the full prompt is made of the row's PDDL
    meta          {scenario, problem_file, and optionally domain_file, problem_pddl, domain_pddl (inline text), constraints
                  (bool), split, reference_cost}
    response      optional text, a reference plan
    class_label   optional text

PDDL is taken from the inline text, else from the file named in meta, relative to the data root, then to the working
directory; a domain file that is nowhere gives way to the domain's own text. A row that cannot be used is named with its file
and line, counted, and skipped or refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from grpo_project.common.files import text_of
from grpo_project.domains import all_domains
from grpo_project.errors import ConfigError, DataError, PddlError
from grpo_project.pddl import Domain, Problem, Task, compile_task, parse_domain, parse_problem
from grpo_project.prompting import render_prompt

logger = logging.getLogger(__name__)

ON_BAD_ROW = ("skip", "error")
# A row of ours takes a few kilobytes. A longer line is a file of another kind, and must not fill the memory.
MAX_LINE_BYTES = 16 * 1024 * 1024
WANTED = "name a folder with one <domain>.jsonl per domain, or run make data"
NAMED_PER_FILE = 20  # bad rows named one by one in the log; `RowTable.bad_rows` holds all
CACHED_TASKS = 4096  # compiled tasks kept; the least recently used go first

_BOM = b"\xef\xbb\xbf"
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
    data_root: Path

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
    def _domain_text_and_name(self) -> tuple[str, str]:
        inline, name = self.meta.get("domain_pddl"), self.meta.get("domain_file")
        if inline is not None:
            return inline, "meta.domain_pddl"  # one name for all rows, so that equal texts are parsed once
        path = _find(name, self.data_root) if name is not None else None
        if path is not None:
            return _read_text(path), str(path)
        return all_domains()[self.scenario].domain_pddl, f"<{self.scenario} domain>"

    @cached_property
    def _problem_text_and_name(self) -> tuple[str, str]:
        inline = self.meta.get("problem_pddl")
        if inline is not None:
            return inline, f"{self.source}:meta.problem_pddl"
        path = _find(self.problem_file, self.data_root)
        if path is None:
            raise DataError(
                f"{self.source}: problem file {_shown(self.problem_file)} is neither under {self.data_root} "
                f"nor under {Path.cwd()}, and the row has no problem_pddl text"
            )
        return _read_text(path), str(path)


class RowTable:
    """The usable rows of a data root, domain after domain, in file order. A row's index in `rows` identifies it everywhere.

    `domains`: names, in the order asked for (else sorted), each with a row or more. `bad_rows`: what was skipped, in reading
    order. `fingerprint`: SHA-256 (hex) over the content of all rows and, where they were validated, of their PDDL texts;
    moving the data root keeps it.
    """

    def __init__(
        self, data_root: Path, domains: Sequence[str], rows: Sequence[Row], bad_rows: Sequence[BadRow], fingerprint: str
    ) -> None:
        self.data_root = data_root
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

    def task(self, row_index: int) -> Task:
        """The compiled task of a row, compiled at first use and kept. Raises IndexError outside 0..len(rows)-1."""
        return self._compiled(row_index)

    def _compile(self, row_index: int) -> Task:
        if row_index < 0:
            raise IndexError(f"row index {row_index} is negative")
        row = self.rows[row_index]
        return compile_task(row.domain, row.problem)


def read_rows(
    data_root: str | Path, domains: Sequence[str] | None = None, on_bad_row: str = "skip", validate_pddl: bool = True
) -> RowTable:
    """All usable rows of `<data_root>/<domain>.jsonl`, for the domains named or for every .jsonl file there (sorted).

    `validate_pddl` parses the PDDL of every row now (0.3 ms a row) and drops what does not parse; without it no problem file
    is opened, and a row needs only its fields.

    Raises ConfigError for an unknown `on_bad_row` or a domain named twice, DataError for a root, file or domain that is not
    there, for a domain left without rows and, with on_bad_row="error", for the first bad row.
    """
    if on_bad_row not in ON_BAD_ROW:
        raise ConfigError(f"on_bad_row must be one of {', '.join(ON_BAD_ROW)}, got {on_bad_row!r}")
    root = Path(data_root)
    rows: list[Row] = []
    bad_rows: list[BadRow] = []
    files = _domain_files(root, domains)
    for domain, path in files.items():
        kept, bad = _keep_usable(_read_file(root, path, domain, validate_pddl), path, on_bad_row)
        if not kept:
            first = f"; the first: {bad[0]}" if bad else ""
            why = f"all {len(bad)} rows are bad{first}" if bad else "the file is empty"
            raise DataError(f"{path}: no row left for {domain}, {why}. Repair the file, or leave {domain} out of the domains")
        rows += kept
        bad_rows += bad
    return RowTable(root, list(files), rows, bad_rows, _fingerprint(rows, validate_pddl))


def _files(root: Path) -> list[Path]:
    """The .jsonl files of a data root, one or more, by name."""
    try:
        if not root.exists():
            raise DataError(f"data root {root} does not exist: {WANTED}")
        if not root.is_dir():
            raise DataError(f"data root {root} is a file: name the folder that holds the <domain>.jsonl files")
        found = sorted(root.glob("*.jsonl"))
    except (OSError, ValueError) as error:
        raise DataError(f"data root {root} cannot be read: {_cause(error)}") from error
    if not found:
        raise DataError(f"data root {root} holds no .jsonl file: {WANTED}")
    return found


def _domain_files(root: Path, domains: Sequence[str] | None) -> dict[str, Path]:
    """Domain name -> its file, in order. Every name is known and every file there."""
    present = sorted(path.stem for path in _files(root))
    names = present if domains is None else list(domains)
    if not names:
        raise ConfigError(f"--domains names none: name some of {', '.join(present)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"--domains names one more than once: {', '.join(twice)}")
    known = all_domains()
    for name in names:
        if name not in known:
            raise DataError(
                f"{root / f'{name}.jsonl'}: {name} is no known domain ({', '.join(known)}). Name others with --domains, "
                f"or add grpo_project/domains/{name}.py"
            )
        if name not in present:
            raise DataError(f"{root / f'{name}.jsonl'} does not exist; --domains may name {', '.join(present)}")
    return {name: root / f"{name}.jsonl" for name in names}


def stream_rows(data_root: str | Path) -> Iterator[Row]:
    """All rows of a data root one by one, so that a million need no memory. PDDL is not opened unless a row lacks its prompt.

    A file may have any name and rows of several domains. Raises DataError as `read_rows` does, and for the first bad row.
    """
    for path in _files(Path(data_root)):
        empty = True
        for found in _read_file(Path(data_root), path, None, validate_pddl=False):
            if isinstance(found, BadRow):
                raise DataError(f"{found}. Repair the row, or take it out")
            empty = False
            yield found
        if empty:
            raise DataError(f"{path}: the file is empty. Fill it, or take it out")


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


def _read_file(root: Path, path: Path, domain: str | None, validate_pddl: bool) -> Iterator[Row | BadRow]:
    """What each line of a file holds; `domain` None: rows of any. Raises DataError where the file cannot be read."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a file of rows")
        with open(path, "rb") as handle:
            for number, line in _lines(handle):
                source = f"{path}:{number}"
                try:
                    yield _read_row(line, source, domain, root, validate_pddl)
                except _Fault as fault:
                    yield BadRow(source, str(fault))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_cause(error)}") from error


def _lines(handle: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, line) of every line that is not blank; None stands for one longer than MAX_LINE_BYTES."""
    number = 0
    while line := handle.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = handle.readline(MAX_LINE_BYTES)
            yield number, None
            continue
        if number == 1:
            line = line.removeprefix(_BOM)
        if line.strip():
            yield number, line


class _Fault(Exception):
    """Why one row cannot be used; never leaves this module."""


def _read_row(line: bytes | None, source: str, domain: str | None, root: Path, validate_pddl: bool) -> Row:
    """The row of a line, or _Fault."""
    value = _decode(line)
    if not isinstance(value, dict):
        raise _Fault(f"a JSON object was expected, found {_kind(value)}")
    meta = value.get("meta")
    if "meta" not in value:
        raise _Fault("field meta is missing")
    if not isinstance(meta, dict):
        raise _Fault(f"meta must be an object, found {_kind(meta)}")
    row = Row(
        prompt=_text(value, "prompt") if "prompt" in value else "",
        scenario=_text(meta, "scenario", "meta."),
        problem_file=_text(meta, "problem_file", "meta."),
        response=_optional_text(value, "response"),
        class_label=_optional_text(value, "class_label"),
        meta=meta,
        source=source,
        data_root=root,
    )
    for name in ("domain_file", "problem_pddl", "domain_pddl", "split"):
        _optional_text(meta, name, "meta.")
    constraints, cost = meta.get("constraints"), meta.get("reference_cost")
    if constraints is not None and not isinstance(constraints, bool):
        raise _Fault(f"meta.constraints must be true or false, found {_kind(constraints)}")
    if cost is not None and (isinstance(cost, bool) or not isinstance(cost, (int, float))):
        raise _Fault(f"meta.reference_cost must be a number, found {_kind(cost)}")
    known = row.scenario in all_domains()
    if not known or domain not in (None, row.scenario):
        whose = "another domain's" if known else "no known domain's"
        where = f", in the file of {domain}" if domain is not None else ""
        raise _Fault(f"meta.scenario is {_shown(row.scenario)}, {whose} name{where}")
    if validate_pddl or not row.prompt:
        try:
            _ = row.problem
        except (PddlError, DataError) as error:
            raise _Fault(str(error).removeprefix(f"{source}:").lstrip()) from error
        except RecursionError as error:
            raise _Fault("the PDDL is nested too deeply") from error
    if not row.prompt:
        # A prompt_style in meta is that of a prompt which is not there.
        own = {**meta, "prompt_style": "full"} if "prompt_style" in meta else meta
        row = replace(row, prompt=render_prompt(row.scenario, row.domain_text, row.problem, "full"), meta=own)
    return row


def _decode(line: bytes | None) -> Any:
    if line is None:
        raise _Fault(f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _Fault(f"not UTF-8 at byte {error.start + 1} of the line") from error
    except json.JSONDecodeError as error:
        raise _Fault(f"broken JSON at column {error.colno}: {error.msg}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
        raise _Fault("broken JSON: nested too deeply, or a number with too many digits") from error


def _text(holder: Mapping[str, Any], name: str, where: str = "") -> str:
    if name not in holder:
        raise _Fault(f"field {where}{name} is missing")
    text = _encodable(holder[name], where + name)
    if not text.strip():
        raise _Fault(f"{where}{name} is empty")
    return text


def _optional_text(holder: Mapping[str, Any], name: str, where: str = "") -> str | None:
    return None if holder.get(name) is None else _encodable(holder[name], where + name)


def _encodable(value: Any, name: str) -> str:
    """The text. JSON can spell half of a surrogate pair; every tokenizer and file would fail on it much later."""
    if not isinstance(value, str):
        raise _Fault(f"{name} must be text, found {_kind(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _Fault(f"{name} holds half of a surrogate pair at character {error.start + 1}") from error
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names[type(value)]


def _find(name: str, root: Path) -> Path | None:
    """The file of a name in meta: relative to the data root, then to the working directory."""
    for folder in (root, Path.cwd()):
        try:
            if (folder / name).is_file():
                return folder / name
        except (OSError, ValueError):  # too long for a file name, or with a NUL
            return None
    return None


def _read_text(path: Path) -> str:
    try:
        return text_of(path.read_bytes(), path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_cause(error)}") from error


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _fingerprint(rows: Sequence[Row], with_pddl: bool) -> str:
    digest = hashlib.sha256()
    for row in rows:
        content = [row.prompt, row.meta, row.response, row.class_label]
        if with_pddl:
            content += [row.domain_text, row.problem_text]
        digest.update(json.dumps(content, sort_keys=True).encode("ascii") + b"\n")
    return digest.hexdigest()
