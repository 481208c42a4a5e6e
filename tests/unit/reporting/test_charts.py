"""The charts as plain data: the log's counts pooled, with Wilson's intervals; the same whoever draws them."""

from __future__ import annotations

import json

import pytest

from grpo_project.common.statistics import wilson_interval
from grpo_project.reporting import page_data, read_run, read_runs
from grpo_project.reporting.charts import MOST_WINDOWS, SINGLE_LINES, charts
from grpo_project.reporting.figures import PALETTE
from grpo_project.reporting.page import ASSETS
from grpo_project.reporting.sections import sections
from tests.report_runs import write_drawn_evaluation


def log(count):
    return [
        {
            "step": step,
            "completions": 8,
            "successes": step % 9,
            "success_rate_by_domain": {"ferry": (step % 9) / 8},
            "completions_by_domain": {"ferry": 8},
            "reward_by_domain": {"ferry": 0.5},
            "loss": float(step),
            "learning_rate": 1 / step,
            "seconds_per_step": {"generation": 2.0, "total": 2.0},
        }
        for step in range(1, count + 1)
    ]


def by_name(data):
    return {chart.name: chart for chart in charts(data)}


def test_a_point_rests_on_all_completions_of_its_log_lines(bare_run):
    lines = log(3 * MOST_WINDOWS)
    found = by_name(page_data([read_run(bare_run(lines))]))
    (panel,) = found["success_by_domain"].panels
    (series,) = panel.series
    assert len(series.points) == MOST_WINDOWS
    won = sum(line["successes"] for line in lines[:3])
    first = series.points[0]
    assert (first.x, first.value, first.low, first.high) == (3, won / 24, *wilson_interval(won, 24))
    assert first.text.endswith(f"{won}/24")
    single = found["success_by_domain" + SINGLE_LINES].panels[0].series[0]
    assert [point.x for point in single.points] == list(range(1, len(lines) + 1))
    assert not found["success_by_domain" + SINGLE_LINES].paper


def test_single_figures_are_pooled_as_the_schema_says(bare_run):
    panels = {panel.title: panel for panel in by_name(page_data([read_run(bare_run(log(2 * MOST_WINDOWS)))]))["course"].panels}
    assert panels["Loss"].series[0].points[0].value == 1.5  # the mean of 1 and 2
    assert panels["Learning rate"].series[0].points[0].value == 0.5  # the last of 1 and 1/2


def test_a_short_log_has_no_second_set_of_curves(finished_run):
    assert not [name for name in by_name(page_data([read_run(finished_run.path)])) if name.endswith(SINGLE_LINES)]


def test_everything_that_is_drawn_lies_between_the_ends_of_its_axes(make_run):
    runs = [make_run(name, prefer=place, feedback_every=3) for place, name in enumerate(("one", "two"))]
    write_drawn_evaluation(runs[0], "drawn", whole=4)
    for chosen in (runs[:1], runs):
        found = charts(page_data(read_runs([run.path for run in chosen])))
        assert len(found) >= 14
        for chart in found:
            for panel in chart.panels:
                for series in panel.series:
                    assert series.points and series.colour in PALETTE
                    for point in series.points:
                        bounds = [value for value in (point.value, point.low, point.high) if value is not None]
                        assert panel.x.low <= point.x <= panel.x.high, (chart.name, panel.title)
                        assert panel.y.low <= min(bounds) and max(bounds) <= panel.y.high, (chart.name, panel.title)
                        assert point.low is None or point.low <= point.value <= point.high
            json.dumps(chart.as_json(), allow_nan=False)


@pytest.mark.parametrize("name", ["verdicts", "domain_distribution"])
def test_shares_of_a_pile_make_one(finished_run, name):
    (panel,) = by_name(page_data([read_run(finished_run.path)]))[name].panels
    for column in zip(*(series.points for series in panel.series), strict=True):
        assert len({point.x for point in column}) == 1
        assert sum(point.value for point in column) == pytest.approx(1)


def test_every_chart_stands_somewhere_on_the_page(make_run):
    def names(blocks):
        for block in blocks:
            yield from [block["name"]] if block["kind"] == "chart" else ()
            yield from names([*block.get("left", ()), *block.get("right", ()), *block.get("blocks", ())])

    run = make_run(feedback_every=3)
    write_drawn_evaluation(run, "drawn", whole=4)
    data = page_data([read_run(run.path)])
    drawn = {chart.name for chart in charts(data)}
    assert drawn == {name for section in sections(data, drawn) for name in names(section["blocks"])}


def test_the_pages_style_knows_every_colour():
    style = (ASSETS / "page.css").read_text()
    assert [name for name in PALETTE if style.count(f"--{name}: #") != 2] == []  # light and dark


def test_the_script_counts_nothing():
    """Rates, means and intervals come from Python alone."""
    script = "".join(path.read_text() for path in ASSETS.glob("*.js"))
    for word in ("wilson", "1.96", "Math.sqrt", "mean(", "toFixed(2)", "toPrecision"):
        assert word not in script, word
