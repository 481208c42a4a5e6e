"""Ctrl-C and SIGTERM: the first lets the step finish and writes a checkpoint, the second stops at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from grpo_project.common import ranks
from grpo_project.runs.observer import Control, Observer


class Interrupts(Observer):
    """`interrupted`: whether a signal asked the run to stop, `signal_number` which. Of several processes all stop at one step.

    may_save(step): whether a run could be continued exactly from there; until then the run goes on.
    """

    def __init__(self, may_save: Callable[[int], bool]) -> None:
        self._may_save = may_save
        self.interrupted = False
        self.signal_number = 0

    def step_ended(self, step: int, control: Control) -> None:
        self.interrupted = ranks.any_rank(self.interrupted)
        if self.interrupted and self._may_save(step) and not control.should_training_stop:
            control.should_training_stop = True  # who stopped it before decided about the checkpoint, too
            control.should_save = True

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Takes over SIGINT and SIGTERM inside, and gives them back. Does nothing outside the main thread."""

        def first_asks_second_stops(raised: int, frame: Any) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted, self.signal_number = True, raised
            print("\nStopping after this step, with a checkpoint. Ctrl-C again stops at once.", file=sys.stderr, flush=True)

        before: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, first_asks_second_stops)
        except ValueError:
            pass  # another thread's business
        try:
            yield
        finally:
            for taken, handler in before.items():
                signal.signal(taken, handler)
