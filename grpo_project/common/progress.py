"""How far a long command is: a line that renews itself on a terminal, a line a minute where standard error is a file."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from grpo_project.common.text import duration

SECONDS_BETWEEN_LINES = 60.0


class ProgressLine:
    """A context manager around the work. `total` may be raised as more work turns up. `longest`: tokens of one piece of work at
    most, where tokens are told of, so that time can be estimated before the first piece is done; 0 where unknown."""

    def __init__(self, name: str = "", total: int = 0, done: int = 0, longest: int = 0) -> None:
        self._progress: Any = None
        self._bar: Any = None
        self.about(name, total, done, longest)

    def about(self, name: str, total: int, done: int = 0, longest: int = 0) -> ProgressLine:
        """Begins again, with other work."""
        self._name, self._total, self._done, self._longest = name, total, done, longest
        self._before, self._writing, self._tokens, self._finished = done, 0, 0, 0  # tokens of all, and of what is done
        self._began = self._said = time.monotonic()
        return self

    def __enter__(self) -> ProgressLine:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
            self._progress = Progress(*columns, transient=True, console=Console(stderr=True))
            self._progress.start()
            self._bar = self._progress.add_task(self._name, total=self._total, completed=self._done, pace="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def expect(self, more: int, name: str | None = None) -> None:
        """So much is left from here; `name` says what it is."""
        self._total, self._name = self._done + more, name or self._name
        self._show()

    def advance(self, tokens: int = 0) -> None:
        """One more is done, of so many tokens."""
        self._done, self._finished = self._done + 1, self._finished + tokens
        self._show()

    def wrote(self, tokens: int) -> None:
        """One more token was written to each of so many pieces of work."""
        self._tokens, self._writing = self._tokens + tokens, tokens
        self._show()

    def pace(self) -> str:
        """`12,345 tokens, 210 a second, about 3 min 07 s left`; at most so long before anything is done; "" where nothing is
        known."""
        seconds, new = time.monotonic() - self._began, self._done - self._before
        tokens, left = max(self._tokens, self._finished), self._total - self._done
        rate = tokens / seconds if seconds else 0.0
        parts = [f"{tokens:,} tokens, {rate:.0f} a second"] if rate else []
        if rate and (self._finished if new else self._longest):
            # What is still being written may be longer already than what was done first.
            each = max(self._finished / new, tokens / (new + self._writing)) if new else self._longest
            seconds_left = max(0.0, left * each - (tokens - self._finished)) / rate
            parts.append(f"{'about' if new else 'at most'} {duration(seconds_left)} left")
        elif new:
            parts.append(f"about {duration(seconds / new * left)} left")
        return ", ".join(parts)

    def _show(self) -> None:
        if self._progress is not None:
            self._progress.update(self._bar, total=self._total, completed=self._done, description=self._name, pace=self.pace())
        elif time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            pace = self.pace()
            print(f"{self._name}: {self._done}/{self._total}" + (f", {pace}" if pace else ""), file=sys.stderr, flush=True)
