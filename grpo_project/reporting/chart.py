"""A chart as plain data, which the page's script and matplotlib draw alike: panels, axes, series, points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A value at x with what it says of itself, and its interval where it has one."""

    x: float
    value: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, with (value, text) of every tick. log2: equal steps double. categories: a list from the top down."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log2: bool = False
    categories: bool = False


@dataclass(frozen=True)
class Series:
    """kind: line, dots (a line through dots), step (a value holds from the point before), bars (piled up, each from the point
    before; all of a panel have the same x) or marker.

    colour: a name of the palette. run: the place of its run. dash: 0 is a full line. hollow: of markers.
    """

    name: str
    colour: str
    points: tuple[Point, ...]
    run: int
    kind: str = "line"
    dash: int = 0
    hollow: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes. run: the place of the run that it is about, None where it compares runs. beside: a word by the title."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    run: int | None = None
    beside: str = ""


@dataclass(frozen=True)
class Chart:
    """Panels that belong together. size: of the panels: small, medium or large. paper: whether it is a figure for papers, too."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    size: str = "medium"
    paper: bool = True

    def as_json(self) -> dict[str, Any]:
        """Plain data of few digits, without what is not there."""
        found: dict[str, Any] = _short(asdict(self))
        return found


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {name: _short(inner) for name, inner in value.items() if not (inner is None or inner is False or inner == "")}
    if isinstance(value, Point) and value.low is None:
        value = value[:3]
    return [_short(inner) for inner in value] if isinstance(value, (list, tuple)) else value
