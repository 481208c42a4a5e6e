"""The console: one line that refreshes itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, Any

from grpo_project.runs.observer import Control, Observer, Record

BAR_WIDTH = 20


def format_duration(seconds: float) -> str:
    """`45s`, `3m 05s`, `2h 10m`; seconds >= 0."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def progress_text(step: int, max_steps: int, figures: Mapping[str, Any], seconds_left: float | None) -> str:
    """`step 12/60  reward 0.31  success 54% (blocksworld 80% ferry 31%)  easy 70% ...  3m 05s left` from a metrics record."""
    parts = [f"step {step}/{max_steps}"]
    if figures.get("reward") is not None:
        parts.append(f"reward {figures['reward']:+.3f}")
    elif figures.get("loss") is not None:  # of supervised training
        parts.append(f"loss {figures['loss']:.4f}")
    if figures.get("success_rate") is not None:
        domains = " ".join(f"{name} {rate:.0%}" for name, rate in figures.get("success_rate_by_domain", {}).items())
        parts.append(f"success {figures['success_rate']:.0%} ({domains})")
    if figures.get("curriculum_weights"):
        parts.append("/".join(f"{name} {weight:.0%}" for name, weight in figures["curriculum_weights"].items()))
    if seconds_left is not None:
        parts.append(f"{format_duration(seconds_left)} left")
    return "  ".join(parts)


class ProgressLine(Observer):
    """On a terminal a line that is written over after every step; elsewhere a line per record, so that logs stay short.

    figures(step): what is known of the step that ended, as in a record; where it is nothing, the latest record's stand.
    """

    def __init__(
        self,
        max_steps: int,
        figures: Callable[[int], Mapping[str, Any]],
        stream: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_steps = max_steps
        self._figures = figures
        self._latest: Mapping[str, Any] = {}
        self._stream = stream or sys.stdout
        self._live = bool(getattr(self._stream, "isatty", lambda: False)())
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=20)  # seconds per step; old steps say little about the next ones
        self._last: float | None = None
        self._shown = 0

    def training_begins(self, step: int, control: Control, model: Any, optimizer: Any) -> None:
        """The clock starts: time spent loading and evaluating says nothing about a step."""
        self._last = self._clock()

    def step_ended(self, step: int, control: Control) -> None:
        now = self._clock()
        if self._last is not None:
            self._recent.append(now - self._last)
        self._last = now
        if self._live:
            done = round(BAR_WIDTH * step / max(self._max_steps, 1))
            text = progress_text(step, self._max_steps, self._figures(step) or self._latest, self._left(step))
            self._draw(f"[{'#' * done}{'.' * (BAR_WIDTH - done)}] {text}")

    def record_made(self, record: Record) -> None:
        """The plain line; none for an evaluation before the first step."""
        if "loss" not in record:
            return
        self._latest = record
        if not self._live:
            text = progress_text(record["step"], self._max_steps, record, self._left(record["step"]))
            print(text, file=self._stream, flush=True)

    def say(self, text: str) -> None:
        """A line of its own that stays, above the live line."""
        self._draw("")
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the last live line standing."""
        if self._live and self._shown:
            print(file=self._stream, flush=True)
            self._shown = 0

    def _left(self, step: int) -> float | None:
        if not self._recent:
            return None
        return (self._max_steps - step) * sum(self._recent) / len(self._recent)

    def _draw(self, text: str) -> None:
        if not self._live:
            return
        import shutil

        width = shutil.get_terminal_size((130, 24)).columns - 1
        text = text[:width]
        print("\r" + text.ljust(self._shown), end="\r" if not text else "", file=self._stream, flush=True)
        self._shown = len(text)
