"""The files of a data root: which of them hold a domain's rows, and the JSON value on each of their lines."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from grpo_project.common.files import other_format
from grpo_project.domains import all_domains
from grpo_project.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

SUFFIX = ".jsonl"
# A row of ours takes a few kilobytes. A longer line is a file of another kind, and must not fill the memory.
MAX_LINE_BYTES = 16 * 1024 * 1024
WANTED = "name a folder with one <domain>.jsonl per domain, or run make data"
CONVERT = "script/convert_data.py makes a data root of it"
NAMED_FILES = 5  # of many, in a message

_BOM = b"\xef\xbb\xbf"
# How texts begin that are no rows, one JSON object a line: what they are, and what to do.
_NO_ROWS = {
    b"<": "is a web page, not rows: download the file itself",
    b"[": f"is one JSON array, not one object a line: {CONVERT}",
}


class RowFault(Exception):
    """Why one row cannot be used; the reader of rows catches it."""


def domain_files(root: Path, domains: Sequence[str] | None = None) -> dict[str, Path]:
    """Domain to the file of its rows, for the domains named or for all (sorted); domains in lower case.

    A file is a domain's where its name is a domain of the registry, or the meta.scenario of its own first row. Others, such as
    merged.jsonl, are left out, and named in the log unless domains are. Raises DataError for a root, file or domain that is not
    there and for two files of one domain; ConfigError for domains that name none, or one twice.
    """
    present, others = _sorted_out(root)
    names = sorted(present) if domains is None else [name.lower() for name in domains]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"--domains names one more than once: {', '.join(twice)}")
    if not present:
        raise DataError(f"{root}: no file is named after the domain of its rows ({_listed(others)}): {CONVERT}")
    if not names:
        raise ConfigError(f"--domains names none: name some of {', '.join(sorted(present))}")
    for name in names:
        if name not in present:
            raise DataError(f"{root / (name + SUFFIX)} does not exist; --domains may name {', '.join(sorted(present))}")
    if domains is None:
        _tell(others)
    return {name: present[name] for name in names}


def domain_names(root: Path) -> list[str]:
    """The domains that have a file, sorted. Raises DataError for a root without any file of rows."""
    return sorted(_sorted_out(root)[0])


def row_files(root: Path) -> list[Path]:
    """Every domain's file; where no file is one, every file of rows, which may then be of several domains. Raises DataError."""
    present, others = _sorted_out(root)
    if not present:
        return list(others)
    _tell(others)
    return list(present.values())


def json_lines(path: Path) -> Generator[tuple[str, Any | RowFault]]:
    """("file:line", the value or what is wrong with it) of every line that is not blank, lines counted from 1.

    Raises DataError for a file that cannot be read or is no JSON Lines in UTF-8.
    """
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a file of rows")
        with open(path, "rb") as handle:
            _refuse_other_formats(path, handle.read(4096))
            handle.seek(0)
            for number, line in _lines(handle):
                source = f"{path}:{number}"
                try:
                    yield source, decode(line)
                except RowFault as fault:
                    yield source, fault
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _sorted_out(root: Path) -> tuple[dict[str, Path], dict[Path, str]]:
    """The file of each domain, and why each of the other .jsonl files is none, both by name."""
    present: dict[str, Path] = {}
    others: dict[Path, str] = {}
    for path in _files(root):
        name = path.stem.lower()
        reason = None if name in all_domains() else _why_no_domain(path, name)
        if reason is not None:
            others[path] = reason
        elif name in present:
            raise DataError(f"{present[name]} and {path} are both of {name}: put their rows into one file")
        else:
            present[name] = path
    return dict(sorted(present.items())), others


def _files(root: Path) -> list[Path]:
    """The .jsonl files of a data root, one or more, by name, in capitals or not; hidden ones (`._ferry.jsonl`) do not count."""
    try:
        if not root.exists():
            raise DataError(f"data root {root} does not exist: {WANTED}")
        if not root.is_dir():
            raise DataError(f"data root {root} is a file: name the folder that holds the <domain>.jsonl files; {CONVERT}")
        found = sorted(filter(_holds_rows, root.iterdir()))
        deeper = [] if found else sorted(filter(_holds_rows, root.rglob("*")))
        packed = [] if found or deeper else sorted(path.name for path in root.glob(f"*{SUFFIX}.*"))
    except (OSError, ValueError) as error:
        raise DataError(f"data root {root} cannot be read: {_cause(error)}") from error
    if deeper:
        folders = sorted({str(path.parent) for path in deeper})
        raise DataError(f"data root {root} holds no {SUFFIX} file, but folders in it do: name one ({_listed(folders)})")
    if not found:
        near = f" (unpack {_listed(packed)})" if packed else ""
        raise DataError(f"data root {root} holds no {SUFFIX} file{near}: {WANTED}")
    return found


def _holds_rows(path: Path) -> bool:
    return path.suffix.lower() == SUFFIX and not path.name.startswith(".")


def _why_no_domain(path: Path, name: str) -> str | None:
    """None where the first row is of the domain that the file is named after."""
    try:
        with closing(json_lines(path)) as lines:
            _, first = next(lines, ("", None))
    except DataError as error:
        return str(error)
    meta = first.get("meta") if isinstance(first, dict) else None
    scenario = meta.get("scenario") if isinstance(meta, dict) else None
    if not isinstance(scenario, str):
        return "its first row has no meta.scenario"
    return None if scenario.lower() == name else f"its first row is of {scenario[:80]}"


def _tell(others: dict[Path, str]) -> None:
    for path, reason in others.items():
        logger.warning("%s is left out: it is named after no domain of its rows (%s)", path, reason)


def _listed(names: dict[Path, str] | list[str]) -> str:
    shown = [f"{path.name}: {reason}" for path, reason in names.items()] if isinstance(names, dict) else names
    more = f" and {len(shown) - NAMED_FILES} more" if len(shown) > NAMED_FILES else ""
    return ", ".join(shown[:NAMED_FILES]) + more


def _refuse_other_formats(path: Path, head: bytes) -> None:
    """One line for the file, where every one of its lines would be refused for the same cause."""
    start = head.removeprefix(_BOM).lstrip()
    fault = other_format(head)
    if fault:
        raise DataError(f"{path} {fault}")
    for beginning, what in _NO_ROWS.items():
        if start.startswith(beginning):
            raise DataError(f"{path} {what}")
    if b"\0" in head[:4]:
        raise DataError(f"{path} is no text: name a folder with files of rows, one JSON object a line in UTF-8")
    if re.match(rb'\{\s*\n\s*"', start):
        raise DataError(f"{path} has a JSON object on several lines, but a row is one line: {CONVERT}")


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


def decode(line: bytes | None) -> Any:
    """The JSON value of a line; None, a line that is too long, and anything else that is none raise RowFault."""
    if line is None:
        raise RowFault(f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_nothing)
    except UnicodeDecodeError as error:
        raise RowFault(f"not UTF-8 at byte {error.start + 1} of the line") from error
    except json.JSONDecodeError as error:
        raise RowFault(f"broken JSON at column {error.colno}: {error.msg}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
        raise RowFault("broken JSON: nested too deeply, or a number with too many digits") from error


def _nothing(name: str) -> None:
    """NaN and the infinities are no JSON; a table writes them where a value is missing."""
