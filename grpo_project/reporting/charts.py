"""Every chart of a report once, as plain data: the page's script and matplotlib draw the same.

All counting is done here: log lines are pooled, rates get their intervals, values their texts. A renderer only places them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from grpo_project.common.metrics import METRICS, TIMINGS, VERDICTS, Metric, key_label, pool
from grpo_project.common.statistics import wilson_interval
from grpo_project.common.text import duration, figure, interval_text, percent
from grpo_project.reporting.chart import Axis, Chart, Panel, Point, Series

Run = Mapping[str, Any]
Columns = Sequence[Any]  # numbers, None where nothing was recorded
Text = Callable[[float], str]

MOST_WINDOWS = 30  # points of a pooled curve
SINGLE_LINES = "_single_lines"  # ends the name of a chart that is not pooled
RUN_COLOURS, RUN_DASHES = 6, 4
COURSE = (
    "completion_length_mean completions_cut_off entropy mixed_groups resampled_groups reward kl loss grad_norm learning_rate"
).split()
TIMING_COLOURS = {
    "generation": "c0", "log_probs": "c2", "backward": "c1", "reward": "c3", "checkpoint": "c4", "other": "c5",
    "sampling": "easy", "entropy": "medium", "logging": "hard", "evaluation": "goal_not_satisfied",
}  # fmt: skip


def charts(data: Mapping[str, Any]) -> list[Chart]:
    """The charts for what `page_data` holds; those without any number are left out."""
    runs = _Runs(data)
    long = any(len(run["points"]["step"]) > MOST_WINDOWS for run in data["runs"])
    found = [
        Chart("held_out", "Held-out success", _filled(runs.held_out()), "large"),
        Chart("by_size", "Held-out success by size of the problem", _filled(runs.by_size())),
        Chart("while_training", "Held-out success during training", _filled(runs.while_training())),
        Chart("pass_at_k", "pass@k", _filled(runs.pass_at_k())),
        *runs.learning(MOST_WINDOWS),
        *(runs.learning(0) if long else ()),
        Chart("curriculum", "Curriculum", _filled(runs.curriculum()), "small"),
        Chart("curriculum_state", "What the curriculum says of itself", _filled(runs.curriculum_state()), "small"),
        Chart("expected_reward_std", "Expected reward std", _filled(runs.expected_reward_std()), "small"),
        Chart("domain_distribution", "Domains in each batch", _filled(runs.domain_distribution()), "large"),
        Chart("verdicts", "Verdicts", _filled(runs.verdicts()), "large"),
        Chart("course", "Lengths, entropy and the update", _filled(runs.course())),
        Chart("equal_rewards", "Groups with equal rewards, by domain", _filled(runs.equal_rewards())),
        Chart("timing", "Where the time goes", _filled(runs.timing()), "large"),
    ]
    return [chart for chart in found if chart.panels]


class _Runs:
    """The panels of every chart, and what they share: the runs, their names and colours, the last step."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.runs: Sequence[Run] = data["runs"]
        self.domains: Sequence[str] = data["domains"]
        self.buckets: Sequence[str] = data["buckets"]
        self.several = len(self.runs) > 1
        last = max([1, *(max(run["max_steps"], run["step"]) for run in self.runs)])
        ticks = [tick for tick in _ticks(0, last, 4) if tick == int(tick)]
        self.steps = Axis("step", 0, last, tuple((tick, str(int(tick))) for tick in ticks))
        self.logged = [(place, run) for place, run in enumerate(self.runs) if run["points"]["step"]]
        self.evaluated = [(place, one) for place, run in enumerate(self.runs) for one in run["evaluations"]]

    def _line(self, name: str, place: int, points: Iterable[Point], also: str = "", **how: Any) -> Series:
        """In the colour and dash of its run, and with its name where there are several."""
        name = ", ".join(filter(None, (self.runs[place]["name"], also))) if self.several else name
        style = {"colour": run_colour(place), "dash": place // RUN_COLOURS % RUN_DASHES, **how}
        return Series(name, points=tuple(points), run=place, **style)

    def _evaluation(self, place: int, one: Mapping[str, Any], points: Iterable[Point]) -> Series:
        """A marker, hollow for all evaluations of a run but its last."""
        hollow = one is not self.runs[place]["evaluations"][-1]
        colour = run_colour(place) if self.several else "soft" if hollow else "ink"
        name = f"held-out {one['label']}, step {one['step']}"
        return self._line(
            name, place, points, also=f"held-out {one['label']}", colour=colour, kind="marker", hollow=hollow, dash=0
        )

    def _domain_colour(self, domain: str) -> str:
        return run_colour(self.domains.index(domain))

    # -- evaluations ----------------------------------------------------------------------------------------------------

    def held_out(self) -> Iterator[Panel]:
        domains = [d for d in self.domains if any(row["domain"] == d for _, one in self.evaluated for row in one["rows"])]
        series = []
        for number, (place, one) in enumerate(self.evaluated):
            offset = 0.5 + min(0.3, 0.8 / len(self.evaluated)) * (number - (len(self.evaluated) - 1) / 2)
            rows = [(domains.index(row["domain"]) + offset, row["successes"], row["count"]) for row in one["rows"]]
            series.append(self._evaluation(place, one, _rates(rows)))
        axis = Axis("", 0, len(domains), tuple((i + 0.5, name) for i, name in enumerate(domains)), categories=True)
        yield Panel("", axis, _shares("success"), tuple(series))

    def by_size(self) -> Iterator[Panel]:
        """Success over the difficulty score that a problem's file name states, a panel a domain."""
        for domain in self.domains:
            own = [(place, one, one["by_score"].get(domain, ())) for place, one in self.evaluated]
            highest = max((score for *_, points in own for score, *_ in points), default=1.0)
            series = []
            for place, one, points in own:
                dash = {} if one is self.runs[place]["evaluations"][-1] else {"dash": 1}
                series.append(self._line(one["label"], place, _rates(points), kind="dots", also=one["label"], **dash))
            yield Panel(domain, _axis("difficulty score", 0, highest, figure), _shares("success"), tuple(series))

    def pass_at_k(self) -> Iterator[Panel]:
        drawn = [(place, one) for place, one in self.evaluated if one["pass_at_k"]]
        newest = dict(drawn)
        ks = sorted({k for _, one in drawn for found in one["pass_at_k"].values() for k, *_ in found})
        axis = Axis("k", 1, max([2, *ks]), tuple((k, str(k)) for k in ks), log2=True)
        for domain in self.domains:
            series = []
            for place, one in drawn:
                points = [_share_point(*found) for found in one["pass_at_k"].get(domain, ())]
                dash = {} if one is newest[place] else {"dash": 1}
                series.append(self._line(one["label"], place, points, kind="dots", also=one["label"], **dash))
            yield Panel(domain, axis, _shares("pass@k"), tuple(series))

    def while_training(self) -> Iterator[Panel]:
        """What steers the curriculum, on problems of its own."""

        def average(one: Mapping[str, Any]) -> list[Point]:
            found = (one["average"], one["interval"].get("low"), one["interval"].get("high"))
            return [] if None in found else [_share_point(one["step"], *found)]

        def of_domain(domain: str) -> Callable[[Mapping[str, Any]], list[Point]]:
            return lambda one: _rates([(one["step"], *one["by_domain"].get(domain, (0, 0)))])

        for title, points in {"mean of domains": average, **{name: of_domain(name) for name in self.domains}}.items():
            series = [
                self._line("held-out success", place, [point for one in run["outcomes"] for point in points(one)])
                for place, run in enumerate(self.runs)
            ]
            yield Panel(title, self.steps, _shares("held-out success"), tuple(series))

    # -- sampled completions --------------------------------------------------------------------------------------------

    def learning(self, most: int) -> Iterator[Chart]:
        """Success and reward by domain, by difficulty and, success alone, by both; `most` points each, 0: every log line."""
        suffix = "" if most else SINGLE_LINES
        for by, names in (("domain", self.domains), ("bucket", self.buckets)):
            words = f"by {'difficulty' if by == 'bucket' else by}"
            success, reward = (_filled(draw(f"by_{by}", name, most) for name in names) for draw in (self._success, self._reward))
            yield Chart(f"success_{words.replace(' ', '_')}{suffix}", f"Success {words}", success, paper=bool(most))
            yield Chart(f"reward_{words.replace(' ', '_')}{suffix}", f"Reward {words}", reward, paper=bool(most))
        cells = _filled(self._cell(domain, bucket, most) for domain in self.domains for bucket in self.buckets)
        yield Chart(f"success_by_cell{suffix}", "Success by domain and difficulty", cells, "small", bool(most))

    def _success(self, key: str, name: str, most: int) -> Panel:
        own = [(place, run, run["points"][key][name]) for place, run in self.logged if name in run["points"][key]]
        panel = self._success_of(name, own, most)
        marks = []
        for place, one in self.evaluated if own else ():
            rows = one["buckets"] if key == "by_bucket" else {row["domain"]: row for row in one["rows"]}
            if name in rows:
                points = _rates([(one["step"], rows[name]["successes"], rows[name]["count"])])
                marks.append(self._evaluation(place, one, points))
        return replace(panel, series=(*panel.series, *marks), beside=self._latest(panel.series))

    def _success_of(self, title: str, own: Sequence[tuple[int, Run, Mapping[str, Columns]]], most: int) -> Panel:
        """own: (place, run, its columns of completions and successes)."""
        series = [
            self._line("success", place, _pooled_rates(run, found["successes"], found["completions"], most))
            for place, run, found in own
        ]
        return Panel(title, self.steps, _shares("success rate"), tuple(series))

    def _reward(self, key: str, name: str, most: int) -> Panel:
        series = []
        for place, run in self.logged:
            if name in run["points"][key]:
                own = run["points"][key][name]
                found = [(x, summed(own["reward_sum"][a:b]), summed(own["completions"][a:b])) for x, a, b in _windows(run, most)]
                series.append(self._line("reward", place, _points([(x, total / n) for x, total, n in found if n], figure)))
        return Panel(name, self.steps, _numbers("mean reward", series), tuple(series), beside=self._latest(series))

    def _latest(self, series: Sequence[Series]) -> str:
        return "" if self.several or not series or not series[0].points else series[0].points[-1].text.split()[0]

    def _cell(self, domain: str, bucket: str, most: int) -> Panel:
        found = [(place, run, run["points"]["cells"].get(domain, {}).get(bucket)) for place, run in self.logged]
        own = [(place, run, cell) for place, run, cell in found if cell]
        beside = f"{figure(sum(summed(cell['completions']) for _, _, cell in own))} completions"
        return replace(self._success_of(f"{domain}, {bucket}", own, most), beside=beside)

    # -- the curriculum -------------------------------------------------------------------------------------------------

    def curriculum(self) -> Iterator[Panel]:
        """The weights asked for, and the difficulties really drawn."""
        for place, run in self.logged:
            drawn, weights = run["points"]["prompts_by_bucket"], run["points"]["weights"]
            for bucket in self.buckets:
                series = []
                if bucket in drawn:
                    share = _pooled_rates(run, drawn[bucket], totals(drawn), MOST_WINDOWS)
                    series.append(Series("realised share, 95% interval", "c1", tuple(share), place, "dots"))
                if bucket in weights:
                    asked = _points(_by_step(run, weights[bucket]), percent)
                    if asked and asked[0].x > 0:  # the weights under which the first step was drawn
                        asked.insert(0, asked[0]._replace(x=asked[0].x - 1))
                    series.append(Series("weight the curriculum asks for", "c0", tuple(asked), place, "step"))
                yield Panel(bucket, self.steps, _shares("share of prompts"), tuple(series), place)

    def curriculum_state(self) -> Iterator[Panel]:
        """Single figures of a curriculum that learns from the run."""
        for place, run in self.logged:
            for name, values in run["points"]["curriculum"].items():
                metric = METRICS.get(f"curriculum/{name}") or Metric(name, key_label(name))
                share = metric.unit == "share"
                points = _points(_by_step(run, values), percent if share else figure)
                series = [Series(metric.label, "c0", tuple(points), place, "step")]
                yield Panel(series[0].name, self.steps, _shares("share") if share else _numbers("", series), tuple(series), place)

    def expected_reward_std(self) -> Iterator[Panel]:
        for place, run in self.logged:
            for domain, buckets in run["points"]["expected_reward_std"].items():
                series = [
                    Series(bucket, bucket, tuple(_points(_by_step(run, values), figure)), place, "step")
                    for bucket, values in buckets.items()
                ]
                yield Panel(domain, self.steps, _numbers("reward std", series), tuple(series), place)

    # -- piled up -------------------------------------------------------------------------------------------------------

    def domain_distribution(self) -> Iterator[Panel]:
        for place, run in self.logged:
            yield self._pile("Share of prompts by domain", place, run["points"]["prompts_by_domain"], self._domain_colour)

    def verdicts(self) -> Iterator[Panel]:
        for place, run in self.logged:
            yield self._pile("Share of completions by verdict", place, run["points"]["verdicts"], verdict_colour)

    def _pile(self, title: str, place: int, columns: Mapping[str, Columns], colour: Callable[[str], str]) -> Panel:
        windows = _windows(self.runs[place], MOST_WINDOWS)
        whole = [sum(summed(values[a:b]) for values in columns.values()) or 1 for _, a, b in windows]
        series = []
        for name, values in columns.items():
            counts = [summed(values[a:b]) for _, a, b in windows]
            points = [
                Point(x, count / of, f"{percent(count / of)} {count}/{of}")
                for (x, *_), count, of in zip(windows, counts, whole, strict=True)
            ]
            series.append(Series(key_label(name), colour(name), tuple(points), place, "bars"))
        return Panel(title, self.steps, _shares("share"), tuple(series), place)

    def timing(self) -> Iterator[Panel]:
        for place, run in self.logged:
            series = []
            for name in timings(run):
                found = [(x, max(0.0, value or 0)) for x, value in _pooled(run, "seconds_per_step", name)]
                series.append(Series(key_label(name), timing_colour(name), tuple(_points(found, duration)), place, "bars"))
            tops = [sum(point.value for point in column) for column in zip(*(one.points for one in series), strict=True)]
            axis = _axis("seconds", 0, max(tops, default=0) * 1.04, lambda seconds: f"{figure(seconds)} s")
            yield Panel("Seconds per step", self.steps, axis, tuple(series), place)

    # -- lengths, entropy and the update --------------------------------------------------------------------------------

    def course(self) -> Iterator[Panel]:
        """Single figures; completion lengths in a band from the shortest to the longest, where there is one run."""
        for name in COURSE:
            metric = METRICS[name]
            share = metric.unit == "share"
            series = []
            for place, run in self.logged:
                points = _points(_pooled(run, name), percent if share else figure)
                if name == "completion_length_mean" and not self.several:
                    points = _with_extremes(run, points)
                series.append(self._line(metric.label.lower(), place, points))
            axis = _shares("share") if share else _numbers(metric.unit, series)
            yield Panel(metric.label, self.steps, axis, tuple(series), beside=metric.unit)

    def equal_rewards(self) -> Iterator[Panel]:
        for place, run in self.logged:
            series = []
            known = [name for name in run["points"]["zero_variance_by_domain"] if name in self.domains]  # a log may be damaged
            for domain in known:
                points = _points(_pooled(run, "zero_variance_by_domain", domain), percent)
                series.append(Series(domain, self._domain_colour(domain), tuple(points), place))
            yield Panel("Share of groups that teach nothing", self.steps, _shares("share of groups"), tuple(series), place)


def timings(run: Run) -> list[str]:
    """The parts of a step that were measured, without the total."""
    seconds = run["points"]["seconds"]
    return [name for name in [*TIMINGS, *sorted(set(seconds) - set(TIMINGS))] if name in seconds and name != "total"]


def timing_colour(name: str) -> str:
    return TIMING_COLOURS.get(name, "c3")


def verdict_colour(name: str) -> str:
    return name if name in VERDICTS else "c5"


def run_colour(place: int) -> str:
    return f"c{place % RUN_COLOURS}"


# -- pooling ------------------------------------------------------------------------------------------------------------


def spans(run: Run) -> list[int]:
    """How many optimizer steps each point stands for."""
    steps = run["points"]["step"]
    return [step - before for before, step in zip([0, *steps], steps, strict=False)]


def totals(columns: Mapping[str, Columns]) -> list[Any]:
    """The sums of columns, point by point."""
    return [summed(values) for values in zip(*columns.values(), strict=True)]


def _windows(run: Run, most: int) -> list[tuple[int, int, int]]:
    """(last step, from, to) of neighbouring points, until there are no more windows than `most`; 0: each by itself."""
    steps = run["points"]["step"]
    size = max(1, math.ceil(len(steps) / most)) if most else 1
    ends = [(start, min(len(steps), start + size)) for start in range(0, len(steps), size)]
    return [(steps[b - 1], a, b) for a, b in ends]


def _pooled(run: Run, name: str, key: str = "") -> list[tuple[float, Any]]:
    """(last step, figure or None) of each window; nothing where the run has not that figure of METRICS. key: of a nested one."""
    columns = run["points"].get("seconds" if name == "seconds_per_step" else name)
    values = columns.get(key) if key and columns else columns
    if values is None:
        return []
    how = METRICS[name].pooled
    weights = spans(run) if how == "mean by step" else [count or 1 for count in run["points"]["completions"]]
    return [(x, pool(how, values[a:b], weights[a:b])) for x, a, b in _windows(run, MOST_WINDOWS)]


def _pooled_rates(run: Run, successes: Columns, counts: Columns, most: int) -> list[Point]:
    """Counts are added up over a window, so that rate and interval rest on all of them."""
    return _rates([(x, summed(successes[a:b]), summed(counts[a:b])) for x, a, b in _windows(run, most)])


def _by_step(run: Run, values: Columns) -> list[tuple[float, Any]]:
    return list(zip(run["points"]["step"], values, strict=True))


def summed(values: Iterable[Any]) -> Any:
    """Their sum, without those that were not recorded."""
    return sum(value for value in values if value is not None)


# -- points and axes ----------------------------------------------------------------------------------------------------


def _points(pairs: Iterable[tuple[float, Any]], text: Text) -> list[Point]:
    return [Point(x, value, text(value)) for x, value in pairs if value is not None]


def _rates(counted: Iterable[tuple[float, Any, Any]]) -> list[Point]:
    """(x, successes, count) to rates with 95% Wilson intervals; none where nothing was counted."""
    found = []
    for x, won, of in counted:
        if of:
            point = _share_point(x, won / of, *wilson_interval(won, of))
            found.append(point._replace(text=f"{point.text} {won}/{of}"))
    return found


def _share_point(x: float, value: float, low: float, high: float) -> Point:
    return Point(x, value, f"{percent(value)} {interval_text(low, high)}", low, high)


def _with_extremes(run: Run, points: Sequence[Point]) -> list[Point]:
    """Completion lengths with the shortest and the longest of their windows."""
    shortest, longest = (dict(_pooled(run, f"completion_length_{end}")) for end in ("min", "max"))
    found = []
    for point in points:
        low, high = shortest.get(point.x), longest.get(point.x)
        known = low is not None and high is not None
        text = f"{point.text}, {figure(low)} to {figure(high)}"
        found.append(Point(point.x, point.value, text, low, high) if known else point)
    return found


def _filled(panels: Iterable[Panel]) -> tuple[Panel, ...]:
    """The panels that have any point, without series that have none."""
    there = [(panel, tuple(one for one in panel.series if one.points)) for panel in panels]
    return tuple(replace(panel, series=series) for panel, series in there if series)


def _shares(name: str) -> Axis:
    return _axis(name, 0, 1, lambda share: percent(share, 0))


def _numbers(name: str, series: Sequence[Series]) -> Axis:
    """From the least of all values and bounds, at most 0, to a little above the largest."""
    found = [value for one in series for p in one.points for value in (p.value, p.low, p.high) if value is not None]
    return _axis(name, min(found, default=0), max(0, *found) * 1.06 if found else 0, figure)


def _axis(name: str, low: float, high: float, text: Text) -> Axis:
    low = min(0, low)
    high = high if high > low else low + 1
    return Axis(name, low, high, tuple((tick, text(tick)) for tick in _ticks(low, high, 4)))


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round values between the bounds, about `count` steps of 1, 2, 2.5 or 5 times a power of ten."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-6)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]
