"""How many processors there are for this process, which a scheduler or a container may have given only some of the machine's."""

from __future__ import annotations

import os


def usable_processors() -> int:
    """Those that this process may run on, 1 or more; what limits a container's share of their time is not looked at."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
