"""Ctrl-C, SIGTERM and a scheduler's warnings: the first lets the step finish and writes a checkpoint, a second Ctrl-C or SIGTERM
stops at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from grpo_project.common import ranks, signals
from grpo_project.runs.observer import Control, Observer


class Interrupts(Observer):
    """`interrupted`: whether a signal asked the run to stop, `signal_number` which. Of several processes all stop at one step.

    may_save(step): whether a run could be continued exactly from there; until then the run goes on.
    """

    def __init__(self, may_save: Callable[[int], bool]) -> None:
        self._may_save = may_save
        self.interrupted = False
        self.signal_number = 0
        self._told_to_stop = False

    def step_ended(self, step: int, control: Control) -> None:
        self.interrupted = ranks.any_rank(self.interrupted)
        if self.interrupted and self._may_save(step) and not control.should_training_stop:
            control.should_training_stop = True  # who stopped it before decided about the checkpoint, too
            control.should_save = True

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Takes over the signals of common/signals.py inside, and gives them back. Does nothing outside the main thread."""

        def first_asks_second_stops(raised: int, frame: Any) -> None:
            # A warning comes before the signal that it warns of, and a terminal may hang up twice: neither is a second Ctrl-C.
            if raised in signals.STOPS and self._told_to_stop:
                raise KeyboardInterrupt
            self._told_to_stop |= raised in signals.STOPS
            if not self.interrupted:
                self.interrupted, self.signal_number = True, raised
                with suppress(RuntimeError):  # it may come in the middle of another line
                    print(
                        "\nStopping after this step, with a checkpoint. Ctrl-C again stops at once.", file=sys.stderr, flush=True
                    )

        with signals.caught(signals.STOPS | signals.WARNINGS, first_asks_second_stops):
            yield
