"""Named random streams: the same names give the same draws in every process, and different names different ones."""

from __future__ import annotations

import random


def stream(seed: int | str, *names: object) -> random.Random:
    """The generator seeded with the text `seed/name/name...`; numbers are written in decimal.

    Seeds are joined as text, never added: seed 1 item 1 must not be seed 2 item 0. A slash or percent sign inside a part is
    written %2F or %25, so that ("a/b",) and ("a", "b") are two streams. A text seeds `random.Random` through SHA-512,
    independent of PYTHONHASHSEED.
    """
    return random.Random("/".join(_part(part) for part in (seed, *names)))


def _part(value: object) -> str:
    return str(value).replace("%", "%25").replace("/", "%2F")
