"""The signals that ask a command to stop, taken over for as long as they can be heeded."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPS = frozenset({signal.SIGINT, signal.SIGTERM})
# Of schedulers before the time is over (SLURM's --signal, LSF, Grid Engine), and of a terminal or connection that closes.
WARNINGS = frozenset({signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP})


@contextmanager
def caught(numbers: frozenset[signal.Signals], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Hands these signals to `handler` inside, and gives them back. Does nothing outside the main thread.

    A warning that is ignored (nohup), or that another library listens to, is left as it is.
    """
    before: dict[int, Any] = {}
    try:
        for number in sorted(numbers):
            if number not in WARNINGS or signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    except ValueError:
        pass  # another thread's business
    try:
        yield
    finally:
        for taken, own in before.items():
            signal.signal(taken, own or signal.SIG_DFL)
