"""The charts of the page as PNG files for papers, from the same data. Needs matplotlib; nothing else of the suite does."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_project.common.files import write_bytes_atomically
from grpo_project.common.statistics import wilson_interval
from grpo_project.errors import BackendMissing

Run = Mapping[str, Any]

# Okabe and Ito's colours for the colour-blind, without their yellow, which a white page swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6C00", "#56B4E9", "#E69F00", "#666666")
MOST_WINDOWS = 30  # points of a curve; neighbouring log lines are pooled until there are no more
DOTS_PER_INCH = 200
PANEL = (2.6, 2.0)  # inches
WIDEST, NARROWEST = 3, 5.0  # panels in a row; inches of a figure, so that its legend has room
OF_VERDICT = {
    "success_plans": COLOURS[2],
    "goal_not_satisfied": COLOURS[5],
    "safety_constraints_violation": COLOURS[3],
    "precondition_violation": COLOURS[1],
    "plan_format_error": COLOURS[7],
}


def write_figures(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws every figure that `page_data` has numbers for. Returns the files; raises BackendMissing without matplotlib."""
    try:
        import matplotlib.style
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise BackendMissing(
            "--png needs matplotlib: pip install -r requirements-cpu.txt. The page was written without it"
        ) from None

    written = []
    for name, panels in _figures(data):
        if not panels:
            continue
        columns = min(len(panels), WIDEST)
        rows = math.ceil(len(panels) / columns)
        with matplotlib.style.context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
            size = (max(NARROWEST, PANEL[0] * columns), PANEL[1] * rows + 0.35)
            figure = Figure(figsize=size, layout="constrained")
            axes = figure.subplots(rows, columns, squeeze=False).ravel()
            for axis, (title, draw) in zip(axes, panels, strict=False):
                axis.set_title(title, fontsize=8, loc="left")
                axis.grid(alpha=0.25, linewidth=0.5)
                axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
                draw(axis)
            for axis in axes[len(panels) :]:
                axis.set_axis_off()
            _legend(figure, list(axes[: len(panels)]))
            buffer = io.BytesIO()
            # Without the time and version that matplotlib puts in, equal data give an equal file.
            figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        path = folder / f"{name}.png"
        write_bytes_atomically(path, buffer.getvalue())
        written.append(path)
    return written


Panels = list[tuple[str, Callable[[Any], None]]]


def _figures(data: Mapping[str, Any]) -> Iterator[tuple[str, Panels]]:
    """(file name, panels) of every figure; no panels where nothing was recorded."""
    runs = [run for run in data["runs"] if run["points"]["step"]]
    yield "success_by_domain", _success_panels(runs, "by_domain", data["domains"])
    yield "success_by_difficulty", _success_panels(runs, "by_bucket", data["buckets"])
    yield "while_training", _while_training_panels(runs, data["domains"])
    yield "pass_at_k", _pass_at_k_panels(data["runs"], data["domains"])
    yield "curriculum", [panel for run in runs for panel in _curriculum_panels(run, data["buckets"], len(runs) > 1)]
    for name, key, title in (
        ("domain_distribution", "prompts_by_domain", "share of prompts"),
        ("verdicts", "verdicts", "share of completions"),
    ):
        yield name, [_share_panel(run, key, title, len(runs) > 1) for run in runs if run["points"][key]]
    yield "timing", [_timing_panel(run, data["timings"], len(runs) > 1) for run in runs if run["points"]["seconds"]]
    yield "course", _course_panels(runs)


def _success_panels(runs: Sequence[Run], key: str, names: Sequence[str]) -> Panels:
    def panel(name: str) -> tuple[str, Callable[[Any], None]]:
        def draw(axis: Any) -> None:
            for number, run in enumerate(runs):
                own = run["points"][key].get(name)
                if own is None:
                    continue
                x, rate, low, high = _rates(run["points"]["step"], own["successes"], own["completions"])
                colour = COLOURS[number % len(COLOURS)]
                axis.plot(x, rate, color=colour, linewidth=1.3, label=run["name"])
                axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
                _evaluations(axis, run, key, name, colour)
            _share_axis(axis, "success rate")

        return name, draw

    return [panel(name) for name in names if any(name in run["points"][key] for run in runs)]


def _evaluations(axis: Any, run: Run, key: str, name: str, colour: str) -> None:
    """Diamonds: greedy success on the held-out problems, with the interval; hollow for all evaluations but the last."""
    for evaluation in run["evaluations"]:
        inside = colour if evaluation is run["evaluations"][-1] else "white"
        if key == "by_domain":
            row = next((row for row in evaluation["rows"] if row["domain"] == name), None)
        else:
            row = evaluation["buckets"].get(name)
        if row is not None and row["count"]:
            spread = [[row["rate"] - row["low"]], [row["high"] - row["rate"]]]
            diamond = {"fmt": "D", "markersize": 3.5, "color": colour, "markerfacecolor": inside, "linewidth": 0.9}
            axis.errorbar([evaluation["step"]], [row["rate"]], spread, **diamond)


def _while_training_panels(runs: Sequence[Run], domains: Sequence[str]) -> Panels:
    """Held-out success measured during training: what steers the curriculum, on problems of its own."""
    found = [run for run in runs if run["outcomes"]]

    def points(run: Run, name: str) -> list[tuple[int, float, float, float]]:
        """(step, rate, low, high) of a domain, or of the mean of the domains for an empty name."""
        if not name:
            means = [(one["step"], one["average"], *map(one["interval"].get, ("low", "high"))) for one in run["outcomes"]]
            return [mean for mean in means if None not in mean]
        counts = [(one["step"], *one["by_domain"].get(name, (0, 0))) for one in run["outcomes"]]
        return [(step, won / asked, *wilson_interval(won, asked)) for step, won, asked in counts if asked]

    def panel(name: str) -> tuple[str, Callable[[Any], None]]:
        def draw(axis: Any) -> None:
            for number, run in enumerate(runs):
                measured = points(run, name) if run in found else []
                if measured:
                    _line_in_band(axis, measured, COLOURS[number % len(COLOURS)], run["name"])
            _share_axis(axis, "held-out success")

        return name or "mean of domains", draw

    return [panel(name) for name in ("", *domains) if any(points(run, name) for run in found)]


def _pass_at_k_panels(runs: Sequence[Run], domains: Sequence[str]) -> Panels:
    """The chance that one of k drawn answers solves a held-out problem, for the evaluations that drew some."""
    drawn = [(run, one) for run in runs for one in run["evaluations"] if one["pass_at_k"]]
    several = len({run["name"] for run, _ in drawn}) > 1

    def panel(name: str) -> tuple[str, Callable[[Any], None]]:
        def draw(axis: Any) -> None:
            for number, (run, one) in enumerate(drawn):
                label = f"{run['name']}: {one['label']}" if several else one["label"]
                if name in one["pass_at_k"]:
                    _line_in_band(axis, one["pass_at_k"][name], COLOURS[number % len(COLOURS)], label)
            _share_axis(axis, "pass@k")
            ks = sorted({int(k) for _, one in drawn for k, *_ in one["pass_at_k"].get(name, ())})
            axis.set_xscale("log", base=2)
            axis.set_xticks(ks, map(str, ks))
            axis.set_xlabel("k")

        return name, draw

    return [panel(name) for name in domains if any(name in one["pass_at_k"] for _, one in drawn)]


def _curriculum_panels(run: Run, buckets: Sequence[str], several: bool) -> Panels:
    points = run["points"]
    found = [name for name in buckets if name in points["weights"] or name in points["prompts_by_bucket"]]
    total = [
        sum(points["prompts_by_bucket"][name][i] or 0 for name in points["prompts_by_bucket"]) for i in range(len(points["step"]))
    ]

    def panel(name: str) -> tuple[str, Callable[[Any], None]]:
        def draw(axis: Any) -> None:
            if name in points["prompts_by_bucket"]:
                x, rate, low, high = _rates(points["step"], points["prompts_by_bucket"][name], total)
                axis.plot(x, rate, color=COLOURS[1], linewidth=1, marker=".", markersize=3, label="realised share, 95% interval")
                axis.fill_between(x, low, high, color=COLOURS[1], alpha=0.18, linewidth=0)
            if name in points["weights"]:
                values = [math.nan if value is None else value for value in points["weights"][name]]
                axis.step(points["step"], values, where="pre", color=COLOURS[0], linewidth=1.5, label="curriculum weight")
            _share_axis(axis, "share of prompts")

        return (f"{run['name']}: {name}" if several else name), draw

    return [panel(name) for name in found]


def _share_panel(run: Run, key: str, title: str, several: bool) -> tuple[str, Callable[[Any], None]]:
    def draw(axis: Any) -> None:
        own = run["points"][key]
        windows = _windows(len(run["points"]["step"]))
        counts = {name: [_total(values[a:b]) for a, b in windows] for name, values in own.items()}
        totals = [sum(column) or 1 for column in zip(*counts.values(), strict=True)]
        shares = [[count / total for count, total in zip(values, totals, strict=True)] for values in counts.values()]
        _stack(axis, run["points"]["step"], windows, list(own), shares)
        _share_axis(axis, title)

    return (run["name"] if several else ""), draw


def _timing_panel(run: Run, names: Sequence[str], several: bool) -> tuple[str, Callable[[Any], None]]:
    def draw(axis: Any) -> None:
        seconds = run["points"]["seconds"]
        windows = _windows(len(run["points"]["step"]))
        there = [name for name in names if name in seconds]
        means = [[max(0.0, _mean(seconds[name][a:b])) for a, b in windows] for name in there]
        _stack(axis, run["points"]["step"], windows, [name.replace("_", " ") for name in there], means)
        axis.set_ylabel("seconds per step")
        axis.set_xlabel("step")

    return (run["name"] if several else ""), draw


def _course_panels(runs: Sequence[Run]) -> Panels:
    figures = (
        ("completion_length_mean", "completion length (tokens)"),
        ("entropy", "entropy (nats per token)"),
        ("reward", "mean reward"),
        ("mixed_groups", "groups that differ in reward"),
        ("grad_norm", "gradient norm"),
        ("kl", "KL to the starting model"),
    )

    def panel(name: str, title: str) -> tuple[str, Callable[[Any], None]]:
        def draw(axis: Any) -> None:
            for number, run in enumerate(runs):
                values = run["points"].get(name)
                if values is None:
                    continue
                windows = _windows(len(values))
                x = [run["points"]["step"][b - 1] for _, b in windows]
                axis.plot(
                    x,
                    [_mean(values[a:b]) for a, b in windows],
                    color=COLOURS[number % len(COLOURS)],
                    linewidth=1.3,
                    label=run["name"],
                )
            axis.set_xlabel("step")

        return title, draw

    return [panel(name, title) for name, title in figures if any(name in run["points"] for run in runs)]


# -- arithmetic and axes ------------------------------------------------------------------------------------------------


def _windows(count: int) -> list[tuple[int, int]]:
    size = max(1, math.ceil(count / MOST_WINDOWS))
    return [(start, min(count, start + size)) for start in range(0, count, size)]


def _rates(
    steps: Sequence[int], successes: Sequence[int | None], counts: Sequence[int | None]
) -> tuple[list[int], list[float], list[float], list[float]]:
    """(last step, rate, low, high) of every window with observations; pooled counts, 95% Wilson intervals."""
    found = []
    for a, b in _windows(len(steps)):
        won, total = _total(successes[a:b]), _total(counts[a:b])
        if total:
            found.append((steps[b - 1], won / total, *wilson_interval(int(won), int(total))))
    columns = [list(column) for column in zip(*found, strict=True)] or [[], [], [], []]
    return columns[0], columns[1], columns[2], columns[3]


def _total(values: Sequence[float | None]) -> float:
    return sum(value for value in values if value is not None)


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan


def _stack(
    axis: Any, steps: Sequence[int], windows: Sequence[tuple[int, int]], names: Sequence[str], values: Sequence[Sequence[float]]
) -> None:
    ends = [steps[b - 1] for _, b in windows]
    starts = [0 if a == 0 else steps[a - 1] for a, _ in windows]
    base = [0.0] * len(windows)
    for number, (name, own) in enumerate(zip(names, values, strict=True)):
        widths = [end - start for start, end in zip(starts, ends, strict=True)]
        colour = OF_VERDICT.get(name, COLOURS[number % len(COLOURS)])
        axis.bar(starts, own, widths, base, align="edge", color=colour, label=name.replace("_", " "))
        base = [low + (0.0 if math.isnan(value) else value) for low, value in zip(base, own, strict=True)]


def _line_in_band(axis: Any, points: Sequence[Sequence[float]], colour: str, label: str) -> None:
    """points: (x, value, low, high) each."""
    x, value, low, high = zip(*points, strict=True)
    axis.plot(x, value, color=colour, linewidth=1.3, marker="o", markersize=2.5, clip_on=False, label=label)
    axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def _share_axis(axis: Any, label: str) -> None:
    axis.set_ylim(0, 1)
    axis.set_ylabel(label)
    axis.set_xlabel("step")


def _legend(figure: Any, axes: Sequence[Any]) -> None:
    """One legend below all panels, where there is more than one thing to tell apart."""
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if len(entries) > 1:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=3, frameon=False)
