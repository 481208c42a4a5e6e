"""Around the main of every script: a mistake is one line and status 2, and no character or closed pipe ends the work."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Callable
from functools import wraps
from typing import TextIO

from grpo_project.common.paths import from_home
from grpo_project.errors import GrpoProjectError, printable

Main = Callable[..., int]
MISTAKE, INTERRUPTED = 2, 130
# What a disk or a path refuses; anything else that the operating system says is a fault of ours, and keeps its traceback.
REFUSED = frozenset(
    getattr(errno, name)
    for name in "ENOENT ENOSPC EDQUOT EROFS EACCES EPERM ENOTDIR EISDIR EEXIST ENAMETOOLONG ELOOP EFBIG EIO ENXIO".split()
)


def entry_point(interrupted: str = "stopped") -> Callable[[Main], Main]:
    """For a script's `main`, which returns its exit status. `interrupted`: what Ctrl-C leaves the user with."""

    def around(main: Main) -> Main:
        @wraps(main)
        def guarded(argv: list[str] | None = None) -> int:
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


def leave_dead_streams() -> None:
    """Output to a terminal that was closed, or to a pipe that nobody reads, goes nowhere from now on instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        number = _number(stream)
        if number is not None:
            poll = select.poll()
            poll.register(number, 0)
            if poll.poll(0):  # asked for nothing, it tells of errors and hang-ups alone
                _lead_nowhere(stream)


def _lead_nowhere(stream: TextIO) -> None:
    number = _number(stream)
    if number is not None:
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
