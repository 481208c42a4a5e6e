"""Numbers and tables as people read them: in results, leaderboards, reports and on the console."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grpo_project.common.statistics import wilson_interval

NOTHING = "\u2013"


def percent(share: float | None, digits: int = 1) -> str:
    """57.1%"""
    return NOTHING if share is None else f"{100 * share:.{digits}f}%"


def interval_text(low: float, high: float) -> str:
    """Bounds of a share, in percent: [50.0, 63.9]"""
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def rate_text(successes: float, count: float, counts: bool = False) -> str:
    """57.1% [50.0, 63.9] by Wilson at 95%, or 57.1% 40/70 [50.0, 63.9] with `counts`; - without observations."""
    if not count:
        return "-"
    between = f"{successes}/{count} " if counts else ""
    return f"{percent(successes / count)} {between}{interval_text(*wilson_interval(successes, count))}"


def points(change: float) -> str:
    """A difference of two shares, in points: +12.3"""
    return f"{100 * change:+.1f}".replace("-", "\u2212") if round(100 * change, 1) else "\u00b10.0"


def figure(value: float | None) -> str:
    """Three significant digits: 0.123, 45 k, 1.2 M, 3.4e-05."""
    if value is None:
        return NOTHING
    size = abs(value)
    if size >= 1e6:
        text = f"{value / 1e6:.{0 if size >= 1e7 else 1}f} M"
    elif size >= 1e4:
        text = f"{value / 1e3:.0f} k"
    elif size and size < 1e-3:
        text = f"{value:.1e}"
    else:
        text = f"{value:.3g}" if size < 100 else f"{value:.0f}"
    return text.replace("-", "\u2212")


def duration(seconds: float | None) -> str:
    """4.2 s, 3 min 07 s, 2 h 05 min, 3 days."""
    if seconds is None:
        return NOTHING
    if seconds < 59.5:
        return f"{seconds:.{1 if seconds < 9.95 else 0}f} s"
    if seconds < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    if seconds < 172_800:
        hours, rest = divmod(int(seconds), 3600)
        return f"{hours} h {rest // 60:02d} min"
    return f"{seconds / 86_400:.0f} days"


def numbers_in_order(name: str) -> list[tuple[int, str]]:
    """A key that sorts b2 before b10."""
    return [(int(run) if run.isdecimal() else -1, run) for run in re.split(r"(\d+)", name)]


def counted(number: int, what: str) -> str:
    """1 error, 2 errors"""
    return f"{number} {what}{'' if number == 1 else 's'}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[str] = ()) -> str:
    """A Markdown table with padded columns, so that it reads as plain text too. Left-aligned are the first column and those whose
    head is in `texts`."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    left = [number == 0 or head in texts for number, head in enumerate(header)]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.ljust(w) if to_left else cell.rjust(w) for cell, w, to_left in zip(cells, widths, left, strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if to_left else ":") for w, to_left in zip(widths, left, strict=True)) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])
