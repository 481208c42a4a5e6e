"""PNG files where matplotlib is, one clear line where it is not."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from grpo_project.errors import BackendMissing, ConfigError, DataError
from grpo_project.evaluation.results import SUCCESS, EvaluationResult, ProblemResult, SampleResult
from grpo_project.reporting import page_data, read_run, write_figures
from grpo_project.reporting.figures import write_figure
from grpo_project.reporting.strategies_chart import strategies_chart
from tests.report_runs import write_drawn_evaluation

NAMES = {"by_size", "success_by_domain", "success_by_difficulty", "curriculum", "domain_distribution", "verdicts", "timing"}
NAMES |= {"course", "held_out", "reward_by_domain", "reward_by_difficulty", "success_by_cell", "equal_rewards"}
OF_EVALUATIONS = {"while_training", "pass_at_k"}


@pytest.mark.slow
def test_every_figure_of_two_runs_is_drawn(finished_run, make_run, tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib (requirements-cpu.txt)")
    other = make_run(steps=3, max_steps=12, prefer=1)
    written = write_figures(page_data([read_run(finished_run.path), read_run(other.path)]), tmp_path / "png")
    assert {path.stem for path in written} == NAMES  # neither drew answers or was evaluated while it trained
    for path in written:
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert path.stat().st_size > 5000, f"{path.name} is too small to hold a chart"


@pytest.mark.slow
def test_evaluations_while_training_and_drawn_answers_have_figures_of_their_own(make_run, tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib (requirements-cpu.txt)")
    one, two = (make_run(name, prefer=place, feedback_every=3) for place, name in enumerate(("one", "two")))
    write_drawn_evaluation(one, "drawn_step_0", whole=1)
    write_drawn_evaluation(one, "drawn_step_12", whole=6)
    written = write_figures(page_data([read_run(one.path), read_run(two.path)]), tmp_path / "png")
    assert {path.stem for path in written} == NAMES | OF_EVALUATIONS
    for path in written:
        assert path.stat().st_size > 5000, f"{path.name} is too small to hold a chart"


@pytest.mark.slow
def test_equal_data_give_equal_files(finished_run, tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib (requirements-cpu.txt)")
    data = page_data([read_run(finished_run.path)])
    one, two = (write_figures(data, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_run_without_data_has_no_figures(bare_run, tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib (requirements-cpu.txt)")
    assert write_figures(page_data([read_run(bare_run([]))]), tmp_path) == []


def test_without_matplotlib_the_requirement_is_named(finished_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BackendMissing, match=r"need matplotlib: pip install -r requirements-cpu\.txt"):
        write_figures(page_data([read_run(finished_run.path)]), tmp_path)


def test_what_more_seconds_buy_is_drawn_with_every_strategy_in_its_panel(tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib (requirements-cpu.txt)")
    about = {"model": "models/small", "data_root": "data/test"}
    solved, failed = (SampleResult(kind, 1.0, "", 10, 5, 2.0, False) for kind in (SUCCESS, "plan_format_error"))

    def problem(first, samples=(), repairs=()):
        return ProblemResult(
            "ferry",
            "p",
            "easy",
            False,
            first.verdict_class,
            1.0,
            1.0,
            "c",
            "none",
            10,
            5,
            2.0,
            False,
            samples=samples,
            repairs=repairs,
        )

    open_loop = (problem(failed, (solved,), (failed, solved)), problem(solved, (failed,)))
    results = [
        EvaluationResult(open_loop, 1.0, settings={**about, "repair_turns": 2}),
        EvaluationResult((problem(failed), problem(solved)), 1.0, settings={**about, "step_by_step": 50}),
        EvaluationResult((problem(failed),), 1.0, settings={**about, "data_root": "data/test_harder"}),
    ]
    chart = strategies_chart(results)
    assert [panel.title for panel in chart.panels] == ["small, data/test", "small, data/test_harder"]
    drawn = {series.name: [(point.x, point.value) for point in series.points] for series in chart.panels[0].series}
    assert drawn == {"best of N": [(2, 0.5), (3, 1)], "repairs": [(2, 0.5), (3, 0.5), (4, 1)], "step by step": [(2, 0.5)]}
    one, two = (write_figure(chart, tmp_path / f"{name}.svg") for name in "ab")
    assert one.read_bytes() == two.read_bytes() and b"</svg>" in one.read_bytes()
    with pytest.raises(ConfigError, match="as one of png, svg, pdf"):
        write_figure(chart, tmp_path / "a.txt")
    with pytest.raises(DataError, match="without seconds"):
        strategies_chart([EvaluationResult((replace(problem(failed), seconds=None),), 1.0)])
