"""Atomic file writes, and line logs that keep every finished line through a crash."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from grpo_project.errors import ConfigError, DataError

LOCK_SECONDS = 3.0


def write_bytes_atomically(path: str | Path, content: bytes) -> None:
    """Writes aside in the same folder, syncs, renames: readers see the old file or the new one, never half of one.

    Missing folders are made; the mode of an existing file is kept. A device or pipe is written to as it is. Raises OSError, which
    names `path`; the file aside is removed then.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a rename would put a file in the place of /dev/null
        with naming(path):
            path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name[:180]}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with naming(path):
            with open(aside, "xb") as handle:
                if path.exists():
                    os.fchmod(handle.fileno(), path.stat().st_mode & 0o7777)
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(aside, path)
    except BaseException:  # Ctrl-C too: no temporary file may stay behind
        with contextlib.suppress(OSError):  # a read-only disk refuses also to remove what is not there
            aside.unlink()
        raise
    sync_folder(path.parent)


def write_text_atomically(path: str | Path, text: str) -> None:
    """`write_bytes_atomically` of UTF-8 text; line ends are written as they are."""
    write_bytes_atomically(path, utf8(text))


def utf8(text: str) -> bytes:
    r"""UTF-8 also of halves of surrogate pairs, which answers and file names can hold: as \ud83d, which JSON reads back."""
    return text.encode("utf-8", "backslashreplace")


def named_in_utf8(path: Path) -> bool:
    """Whether every library can name the file or folder; Linux itself allows names of any bytes."""
    return utf8(str(path.absolute())) == os.fsencode(path.absolute())


def write_json_atomically(path: str | Path, value: Any) -> None:
    """`write_bytes_atomically` of indented JSON with a last newline, keys in their order, text as it is.

    State must come back as it was, so NaN and infinities raise ValueError, and what JSON cannot hold TypeError; the file on
    disk is then untouched.
    """
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n")


def require_writable(path: Path, flag: str) -> None:
    """Raises ConfigError where this process may not make the folder `path` or write a model to it. Writes nothing itself."""
    if not named_in_utf8(path):
        raise ConfigError(f"{flag} {path} has a name that is not UTF-8, where no tokenizer can be saved: choose another")
    try:
        nearest = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    except OSError as error:  # a name that is too long
        raise ConfigError(f"{flag} {path} cannot be a folder: {error.strerror}") from None
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        why = "is read-only, or not this user's to write to" if nearest.is_dir() else "is a file: choose a folder"
        raise ConfigError(f"{flag} {path} cannot be written to: {nearest} {why}")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError from inside names `path`: what a full disk says of a write names nothing."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Makes `folder` and keeps other processes that ask for it out of it; the system lets go of it however a process ends.

    The folder itself is locked: one of data should hold no file of ours. One that was made here and stayed empty is removed at
    the end. Where the file system has no locks on folders (some network ones), none is held. Raises ConfigError where another
    process is in it.
    """
    is_new = not folder.exists()
    if is_new:
        folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _locked(descriptor):
            raise ConfigError(f"{folder} is in use by another process: wait for it, stop it, or choose another folder")
        try:
            yield
        finally:
            if is_new:
                with contextlib.suppress(OSError):
                    folder.rmdir()
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Tries for LOCK_SECONDS: the workers of a process that was killed hold what they inherited until they notice."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        except OSError:  # no locks here
            return True


def append_json_line(path: str | Path, value: Mapping[str, Any]) -> None:
    """Appends one line of JSON and hands it to the operating system at once. Missing folders are made.

    NaN and infinities become null, so that every line is standard JSON. A last line that a crash left without its end is
    closed first: it costs that one line, not the new one too. Raises OSError, which names `path`.
    """
    line = json.dumps(without_nan(value), ensure_ascii=False, allow_nan=False, default=_plain)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), open(path, "a+b") as handle:
        if handle.seek(0, os.SEEK_END) > 0:
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":
                line = "\n" + line
        handle.write(utf8(line + "\n"))  # append mode writes at the end, wherever reading left off
        handle.flush()


def read_text(path: str | Path) -> str:
    """The text of a file that a user named, standard input for "-". Raises DataError in one line, as `text_of` does."""
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return text_of(raw, "standard input" if path == "-" else path)


def json_value(text: str | bytes, **how: Any) -> Any:
    """What a JSON text holds; `how`: further arguments of json.loads.

    Raises ValueError for one that is none, also where it is nested too deeply.
    """
    try:
        return json.loads(text, **how)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json_object(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ConfigError, naming the file, where it is not there or holds something else."""
    try:
        found = json_value(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no JSON object")
    return found


def json_settings(text: str) -> Any:
    """JSON that a person wrote. Raises ValueError for other text, and for a name that stands twice: the last would win unseen."""

    def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice is not None:
            raise ValueError(f"{twice!r} stands in it twice")
        return dict(pairs)

    return json_value(text, object_pairs_hook=each_once)


def json_object(text: str, flag: str) -> dict[str, Any]:
    """The JSON object that a flag was given as text. Raises ConfigError, naming the flag, for other text."""
    try:
        found = json_settings(text)
    except ValueError as error:
        raise ConfigError(f"{flag} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{flag} must be a JSON object, such as '{{\"top_p\": 0.9}}', got {text[:60]!r}")
    return found


def json_object_or_none(path: str | Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none, for whatever reason."""
    try:
        return read_json_object(path)
    except ConfigError:
        return None


_SAVE = "save it as UTF-8 (iconv -f {0} -t UTF-8)"
# What files of other formats begin with: what they are, and what to do.
_SIGNATURES = {
    b"\xff\xfe\0\0": ("UTF-32 text", _SAVE.format("UTF-32")),
    b"\0\0\xfe\xff": ("UTF-32 text", _SAVE.format("UTF-32")),
    b"\xff\xfe": ("UTF-16 text", _SAVE.format("UTF-16")),
    b"\xfe\xff": ("UTF-16 text", _SAVE.format("UTF-16")),
    b"\x1f\x8b": ("compressed (gzip)", "unpack it"),
    b"BZh": ("compressed (bzip2)", "unpack it"),
    b"\xfd7zXZ": ("compressed (xz)", "unpack it"),
    b"(\xb5/\xfd": ("compressed (zstd)", "unpack it"),
    b"PK\x03\x04": ("a zip archive", "unpack it"),
    b"PAR1": ("a Parquet file", "save its rows as JSON, one a line"),
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "git lfs pull"),
}


def other_format(content: bytes) -> str | None:
    """`is UTF-16 text: save it as UTF-8 (...)`, of a file whose first bytes are not those of UTF-8 text; None for any other."""
    for signature, (what, advice) in _SIGNATURES.items():
        if content.startswith(signature):
            return f"is {what}: {advice}"
    if len(content) >= 4 and content[:2].count(0) == content[2:4].count(0) == 1:  # ASCII letters, without the mark
        return f"is UTF-16 text: {_SAVE.format('UTF-16LE' if content[1] == 0 else 'UTF-16BE')}"
    return None


def text_of(content: bytes, name: str | Path) -> str:
    """UTF-8 as text, without its byte order mark. Raises DataError, naming the place of the first byte that is none (from 1)."""
    fault = other_format(content)
    if fault:
        raise DataError(f"{name} {fault}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A byte order mark in front is not counted by the decoder.
        place = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        line = content.count(b"\n", 0, place) + 1
        raise DataError(
            f"{name} is not UTF-8 at byte {place + 1} (0x{content[place]:02x}, line {line}): save it as UTF-8, or drop that byte"
        ) from None


def read_lines(path: str | Path) -> list[bytes]:
    """The lines of a file without their ends; the last one too where a crash cut it off. Raises OSError.

    What ends a line is b"\\n" alone: str.splitlines also cuts JSON texts in two, at U+2028 and its like.
    """
    content = Path(path).read_bytes()
    return content.removesuffix(b"\n").split(b"\n") if content else []


def sync_folder(folder: Path) -> None:
    """Makes a rename durable. Some file systems refuse it for folders; the rename itself has happened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _plain(value: Any) -> Any:
    """numpy scalars, paths and sets for JSON; anything else is refused."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def without_nan(value: Any) -> Any:
    """Plain data with None for NaN and infinities, which JSON lacks, and numbers for numpy scalars."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    return value
