"""Where the seconds of a step go. Sections may nest: the time of an inner section is not counted to the outer one."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from grpo_project.common.metrics import TIMINGS
from grpo_project.runs.observer import Control, Observer, Record

SECTIONS = tuple(name for name in TIMINGS if name != "other")


class StepTimer(Observer):
    """Adds up seconds per section. `clock` returns seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._inner: list[float] = []
        self._steps = 0
        self._step_seconds = 0.0
        self._step_began: float | None = None

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Counts the time spent inside to `name`, less what inner sections take."""
        began = self._clock()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = self._clock() - began
            inner = self._inner.pop()
            self._seconds[name] += spent - inner
            if self._inner:
                self._inner[-1] += spent

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, with its time counted to section `name`."""

        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with self.section(name):
                return function(*args, **kwargs)

        return inner

    def training_begins(self, step: int, control: Control, model: Any, optimizer: Any) -> None:
        """From here on, what happens between two steps, fetching data and logging, counts to the later one."""
        self._step_began = self._clock()

    def step_ended(self, step: int, control: Control) -> None:
        """Ends a step; the next begins at once."""
        now = self._clock()
        self._step_seconds += now - (self._step_began if self._step_began is not None else now)
        self._step_began = now
        self._steps += 1

    def record_due(self, record: Record) -> None:
        """Mean seconds per step since the last record."""
        seconds = self.flush()
        if seconds:
            record["seconds_per_step"] = seconds

    def flush(self) -> dict[str, float]:
        """Mean seconds per step: of each section, of all else (`other`), and `total`; {} before the first step."""
        if not self._steps:
            return {}
        record = {name: self._seconds[name] / self._steps for name in SECTIONS if name in self._seconds}
        record["total"] = self._step_seconds / self._steps
        record["other"] = record["total"] - sum(value for name, value in record.items() if name != "total")
        self._seconds.clear()
        self._steps = 0
        self._step_seconds = 0.0
        return record
