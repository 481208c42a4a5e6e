"""PNG files where matplotlib is, one clear line where it is not."""

from __future__ import annotations

import sys

import pytest

from grpo_project.errors import BackendMissing
from grpo_project.reporting import page_data, read_run, write_figures
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
    with pytest.raises(BackendMissing, match=r"needs matplotlib: pip install -r requirements-cpu\.txt"):
        write_figures(page_data([read_run(finished_run.path)]), tmp_path)
