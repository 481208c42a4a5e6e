"""Charts as pictures for papers and pages of Markdown. Needs matplotlib; nothing else of the suite does."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_project.common.files import write_bytes_atomically
from grpo_project.errors import BackendMissing, ConfigError
from grpo_project.reporting.chart import Axis, Chart, Panel, Series
from grpo_project.reporting.charts import charts

# Okabe and Ito's colours for the colour-blind, without their yellow, which a white page swallows.
PALETTE = {
    "c0": "#0072B2", "c1": "#D55E00", "c2": "#009E73", "c3": "#CC79A7", "c4": "#8A6C00", "c5": "#666666",
    "easy": "#9CC6E3", "medium": "#3B8BC2", "hard": "#0A3D6B", "ink": "#222222", "soft": "#777777",
    "success_plans": "#009E73", "goal_not_satisfied": "#56B4E9", "safety_constraints_violation": "#CC79A7",
    "precondition_violation": "#D55E00", "plan_format_error": "#666666",
}  # fmt: skip
METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
DASHES = ("-", "--", ":", "-.")
DOTS_PER_INCH = 200
PANEL = (2.6, 2.0)  # inches
LIST_STRETCH = 1.5  # of the height, for a list of domains with several marks each
INCHES_PER_LETTER = 0.07
WIDEST, NARROWEST = 3, 5.0  # panels in a row; inches of a figure, so that its legend has room


def write_figures(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws the charts for papers that `page_data` has numbers for. Returns the files; BackendMissing without matplotlib."""
    names = [run["name"] for run in data["runs"]]
    return [write_figure(chart, folder / f"{chart.name}.png", names) for chart in charts(data) if chart.paper]


def write_figure(chart: Chart, path: Path, names: Sequence[str] = ()) -> Path:
    """Draws a chart as the picture that the file's ending asks for, png, svg or pdf. names: of the runs that it compares.

    Raises BackendMissing without matplotlib, ConfigError for another ending.
    """
    try:
        import matplotlib.style
        from matplotlib.figure import Figure
    except ImportError:
        raise BackendMissing("figures need matplotlib: pip install -r requirements-cpu.txt") from None

    kind = path.suffix[1:]
    if kind not in METADATA:
        raise ConfigError(f"{path}: a figure is written as one of {', '.join(METADATA)}; give the file such an ending")
    alike = len({panel.title for panel in chart.panels}) == 1  # then the run's name says enough
    columns = min(len(chart.panels), WIDEST)
    rows = math.ceil(len(chart.panels) / columns)
    style = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": chart.name}
    with matplotlib.style.context(style):
        height = PANEL[1] * (LIST_STRETCH if chart.panels[0].x.categories else 1.0)
        size = (max(NARROWEST, PANEL[0] * columns), height * rows + 0.35)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, panel in zip(axes, chart.panels, strict=False):
            _draw(axis, panel, names[panel.run] if panel.run is not None and len(names) > 1 else "", alike)
        for axis in axes[len(chart.panels) :]:
            axis.set_axis_off()
        _legend(figure, list(axes[: len(chart.panels)]), chart)
        buffer = io.BytesIO()
        # Without the time and version that matplotlib puts in, equal data give an equal file.
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=METADATA[kind])
    write_bytes_atomically(path, buffer.getvalue())
    return path


def _draw(axis: Any, panel: Panel, run: str, alike: bool) -> None:
    title = run if run and alike else ": ".join(filter(None, (run, panel.title)))
    axis.set_title(title, fontsize=8, loc="left")
    axis.grid(alpha=0.25, linewidth=0.5)
    flipped = panel.x.categories
    _scale(axis, "y" if flipped else "x", panel.x)
    _scale(axis, "x" if flipped else "y", panel.y)
    base: list[float] = []
    for series in panel.series:
        if series.kind == "bars":
            base = _bars(axis, series, base)
        else:
            _curve(axis, series, flipped)
    if flipped:
        axis.invert_yaxis()


def _scale(axis: Any, side: str, scale: Axis) -> None:
    if scale.log2:
        getattr(axis, f"set_{side}scale")("log", base=2)
    values, texts = zip(*scale.ticks, strict=True) if scale.ticks else ((), ())
    getattr(axis, f"set_{side}ticks")(values, texts)
    getattr(axis, f"{side}axis").set_ticks([], minor=True)
    getattr(axis, f"set_{side}label")(scale.label)
    margin = 0.0 if scale.categories or side == "y" else 0.02 * (scale.high - scale.low)
    getattr(axis, f"set_{side}lim")(scale.low if scale.log2 else scale.low - margin, scale.high + margin)


def _curve(axis: Any, series: Series, flipped: bool) -> None:
    """A line with its band, steps, or markers with brackets; markers alone may stand on their side."""
    colour = PALETTE[series.colour]
    points = series.points
    x, value = [point.x for point in points], [point.value for point in points]
    banded = [point for point in points if point.low is not None and point.high is not None]
    low, high = [point.low for point in banded], [point.high for point in banded]
    if series.kind == "marker":
        errors = [
            [p.value - p.low for p in banded if p.low is not None],
            [p.high - p.value for p in banded if p.high is not None],
        ]
        inside = "white" if series.hollow else colour
        places, bars = ((value, x), {"xerr": errors}) if flipped else ((x, value), {"yerr": errors})
        style = {"fmt": "D", "markersize": 3.5, "color": colour, "markerfacecolor": inside, "linewidth": 0.9}
        axis.errorbar(*places, **bars, **style, label=series.name, zorder=3, clip_on=False)
        return
    drawn = {"color": colour, "linewidth": 1.3, "linestyle": DASHES[series.dash], "label": series.name, "clip_on": False}
    if series.kind == "dots" or len(points) == 1:
        drawn |= {"marker": "o", "markersize": 2.5}
    if series.kind == "step":
        drawn |= {"drawstyle": "steps-pre"}
    axis.plot(x, value, **drawn)
    axis.fill_between([point.x for point in banded], low, high, color=colour, alpha=0.18, linewidth=0)


def _bars(axis: Any, series: Series, base: Sequence[float]) -> list[float]:
    """Piles the values upon `base`; returns where the next series begins."""
    ends = [point.x for point in series.points]
    starts = [0.0, *ends[:-1]]
    below = base or [0.0] * len(ends)
    widths = [end - start for start, end in zip(starts, ends, strict=True)]
    values = [point.value for point in series.points]
    axis.bar(starts, values, widths, below, align="edge", color=PALETTE[series.colour], label=series.name)
    return [low + value for low, value in zip(below, values, strict=True)]


def _legend(figure: Any, axes: Sequence[Any], chart: Chart) -> None:
    """One legend below all panels, where there is more than one thing to tell apart in one of them."""
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if max(len(panel.series) for panel in chart.panels) > 1:
        room = int(figure.get_figwidth() / INCHES_PER_LETTER / (max(map(len, entries)) + 6))
        columns = max(1, min(4, room))
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False)
