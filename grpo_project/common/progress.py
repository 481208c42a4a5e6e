"""One line on a terminal that says how far a long command is; nothing where standard error is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class ProgressLine:
    """A context manager around the work. `total` may be raised as more work turns up."""

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self._name, self._total, self._done = name, total, done
        self._progress: Any = None
        self._bar: Any = None

    def __enter__(self) -> ProgressLine:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, transient=True, console=Console(stderr=True))
            self._progress.start()
            self._bar = self._progress.add_task(self._name, total=self._total, completed=self._done)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def expect(self, more: int, name: str | None = None) -> None:
        """So much is left from here; `name` says what it is."""
        self._total, self._name = self._done + more, name or self._name
        if self._progress is not None:
            self._progress.update(self._bar, total=self._total, description=self._name)

    def advance(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress.advance(self._bar)
