"""Around the main of every script: a mistake is one line and status 2, and no character or closed pipe ends the work."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TextIO

from grpo_project.common.paths import from_home
from grpo_project.errors import GrpoProjectError, printable

Main = Callable[..., int]
MISTAKE, INTERRUPTED = 2, 130
# What a disk or a path refuses; anything else that the operating system says is a fault of ours, and keeps its traceback.
REFUSED = frozenset(
    getattr(errno, name)
    for name in "ENOENT ENOSPC EDQUOT EROFS EACCES EPERM ENOTDIR EISDIR EEXIST ENAMETOOLONG ELOOP EFBIG EIO ENXIO".split()
)

DEAD = frozenset({errno.EPIPE, errno.EIO})  # a pipe that nobody reads; a terminal that was closed


def entry_point(interrupted: str = "stopped", *, outlives_output: bool = False) -> Callable[[Main], Main]:
    """For a script's `main`, which returns its exit status. `interrupted`: what Ctrl-C leaves the user with.

    `outlives_output`: its work lies in files, and goes on where nobody can read any more what it says.
    """

    def around(main: Main) -> Main:
        @wraps(main)
        def guarded(argv: list[str] | None = None) -> int:
            if outlives_output:
                sys.stdout, sys.stderr = outliving(sys.stdout), outliving(sys.stderr)
            for stream in (sys.stdout, sys.stderr):
                write_what_it_can(stream)
            try:
                status = main([_from_home(word) for word in (sys.argv[1:] if argv is None else argv)])
                sys.stdout.flush()  # while what a full disk says can still be told
                return status
            except GrpoProjectError as error:
                return _told(f"error: {error}", MISTAKE)
            except KeyboardInterrupt:
                return _told(interrupted, INTERRUPTED)
            except BrokenPipeError:  # `| head`
                _lead_nowhere(sys.stdout)  # or Python would complain of the same once more
                return MISTAKE
            except OSError as error:
                if error.errno not in REFUSED:
                    raise
                what = error.filename
                if what is None:
                    what = "the output"
                    _lead_nowhere(sys.stdout)
                return _told(f"error: {what} cannot be written or read: {error.strerror}", MISTAKE)

        return guarded

    return around


def _from_home(word: str) -> str:
    """A word of a command line, its home folder written out: `--output=~/mine` reaches us as it is."""
    flag, equals, value = word.partition("=")
    return f"{flag}={from_home(value)}" if equals and flag.startswith("--") else from_home(word)


def write_what_it_can(stream: TextIO) -> None:
    """A character that the stream's encoding lacks becomes a `?` (on standard error a code) instead of an error."""
    if getattr(stream, "errors", "") in ("strict", "surrogateescape"):
        stream.reconfigure(errors="replace")  # type: ignore[attr-defined]


class _Outliving(io.FileIO):
    """A file descriptor that leads nowhere once its pipe has no reader or its terminal is closed, instead of failing."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in DEAD or stat.S_ISREG(os.fstat(self.fileno()).st_mode):  # a disk that fails must be told of
                raise
            _to_nowhere(self.fileno())
            return super().write(data)


def outliving(stream: TextIO) -> TextIO:
    """A stream like this one whose output goes nowhere once nobody can read it; the same one where it has no file descriptor of
    its own, as a notebook's."""
    if stream not in (sys.__stdout__, sys.__stderr__) or (number := _number(stream)) is None:
        return stream
    stream.flush()
    how = {name: getattr(stream, name) for name in ("encoding", "errors", "line_buffering", "write_through")}
    raw = _Outliving(number, "w", closefd=False)
    return io.TextIOWrapper(raw if how["write_through"] else io.BufferedWriter(raw), **how)  # type: ignore[type-var]


def _lead_nowhere(stream: TextIO) -> None:
    number = _number(stream)
    if number is not None:
        _to_nowhere(number)


def _to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _number(stream: TextIO) -> int | None:
    """The stream's file descriptor; None where it has none, as a notebook's."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _told(line: str, status: int) -> int:
    print("\n".join(map(printable, line.split("\n"))), file=sys.stderr)
    return status
