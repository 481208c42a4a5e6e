"""What pays: success against seconds a problem, for best of N, repairs and step by step, from evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from grpo_project.common.statistics import wilson_interval
from grpo_project.errors import DataError
from grpo_project.evaluation.results import EvaluationResult
from grpo_project.evaluation.strategies import Outcome, best_of, outcome, repaired, sizes
from grpo_project.reporting.chart import Axis, Chart, Panel, Point, Series

MOST_TICKS = 4
COLOURS = {"best of N": "c0", "repairs": "c1", "step by step": "c2"}


def strategies_chart(results: Sequence[EvaluationResult]) -> Chart:
    """A panel for each model and data set; results of both (an open and a closed loop) share one.

    x: mean seconds a problem, all attempts up to the first verified plan, in steps that double; y: share solved, with Wilson's
    95% interval. Raises DataError for a result without seconds.
    """
    grouped: dict[tuple[str, str], dict[str, Series]] = {}
    for result in results:
        about = str(result.settings.get("model") or result.name), str(result.settings.get("data_root", ""))
        grouped.setdefault(about, {}).update({series.name: series for series in _series(result)})
    y = Axis("solved", 0.0, 1.0, tuple((share / 4, f"{25 * share}%") for share in range(5)))
    panels = [
        Panel(f"{model.rstrip('/').split('/')[-1]}, {data}", _seconds(list(own.values())), y, tuple(own.values()))
        for (model, data), own in grouped.items()
    ]
    return Chart("strategies", "What more seconds buy", tuple(panels))


def _seconds(drawn: Sequence[Series]) -> Axis:
    """From the power of two below all points to the one above them, with MOST_TICKS at most."""
    logs = [math.log2(point.x) for series in drawn for point in series.points]
    least, most = math.floor(min(logs)), math.floor(max(logs)) + 1
    ticks = range(least, most + 1, math.ceil((most - least + 1) / MOST_TICKS))
    return Axis(
        "seconds a problem", 2.0**least, 2.0**most, tuple((2.0**power, f"{2.0**power:.2g}") for power in ticks), log2=True
    )


def _series(result: EvaluationResult) -> list[Series]:
    if result.settings.get("step_by_step"):
        made = [outcome([problem]) for problem in result.problems]
        return [Series("step by step", COLOURS["step by step"], (_point(result, made, "greedy"),), 0, "dots")]
    counts = list(sizes(result.num_samples + 1))
    found = [tuple(_point(result, best_of(result, count), f"N = {count}") for count in counts)]
    turns = range(int(result.settings.get("repair_turns", 0)) + 1)
    if len(turns) > 1:
        found.append(tuple(_point(result, repaired(result, turn), f"{turn} repairs") for turn in turns))
    return [Series(name, COLOURS[name], points, 0, "dots") for name, points in zip(COLOURS, found, strict=False)]


def _point(result: EvaluationResult, outcomes: Sequence[Outcome], text: str) -> Point:
    seconds = [one.seconds for one in outcomes if one.seconds is not None]
    if len(seconds) < len(outcomes) or not sum(seconds):
        raise DataError(f"{result.name}: an evaluation without seconds, as those of files of answers are; ask a model for it")
    solved = sum(one.solved for one in outcomes)
    return Point(sum(seconds) / len(seconds), solved / len(outcomes), text, *wilson_interval(solved, len(outcomes)))
