"""From curves to paired ratios with intervals, on curves whose answers are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.common.statistics import bootstrap_interval
from grpo_project.errors import DataError
from grpo_project.reporting.curriculum_comparison import (
    Run,
    Success,
    compare,
    completions_to,
    geometric_summary_of,
    mean,
    mean_rate,
    non_decreasing,
    reach_of,
    read_run,
    tables,
)

DOCS = Path(__file__).resolve().parents[3] / "docs"


def success(step: int, rate: float) -> Success:
    return Success(step, 400, {"ferry": rate, "spanner": rate}, {"easy": rate, "hard": rate})


def run(curriculum: str, seed: int, rates: list[float], completions: list[int] | None = None, final: float | None = None) -> Run:
    evaluations = tuple(success(step, rate) for step, rate in enumerate(rates))
    last = success(len(rates), rates[-1] if final is None else final)
    return Run(curriculum, seed, tuple(completions or [100 * n for n in range(len(rates))]), evaluations, last, 0.25)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_fit_rises_keeps_the_mean_and_keeps_what_rises_already(values: list[float]) -> None:
    fitted = non_decreasing(values)
    assert all(a <= b + 1e-12 for a, b in zip(fitted, fitted[1:], strict=False))
    assert sum(fitted) == pytest.approx(sum(values))
    assert non_decreasing(sorted(values)) == pytest.approx(sorted(values))


def test_a_level_is_reached_between_two_evaluations_and_not_by_one_lucky_one() -> None:
    assert completions_to(0.3, run("a", 1, [0.0, 0.2, 0.4])) == pytest.approx(150)
    assert completions_to(0.4, run("a", 1, [0.0, 0.2, 0.4])) == 200
    assert completions_to(0.5, run("a", 1, [0.0, 0.2, 0.4])) is None
    assert completions_to(0.0, run("a", 1, [0.0, 0.2])) == 0
    assert completions_to(0.5, run("a", 1, [0.0, 0.6, 0.2, 0.2])) is None  # fitted: 0, 1/3, 1/3, 1/3
    assert mean_rate(run("a", 1, [0.0, 0.4, 0.4], [0, 100, 300])) == pytest.approx((20 + 80) / 300)


def problems(domain: str, solved: dict[float, tuple[int, int]]) -> list[dict[str, Any]]:
    return [
        {"domain": domain, "difficulty": score, "verdict_class": "success_plans" if number < won else "goal_not_satisfied"}
        for score, (won, count) in solved.items()
        for number in range(count)
    ]


def test_the_reach_is_the_largest_size_with_half_of_the_problems_solved() -> None:
    falling = {2.0: (10, 10), 3.0: (7, 10), 5.0: (5, 10), 6.0: (2, 10), 9.0: (1, 1)}
    assert reach_of(problems("ferry", falling)) == {"ferry": 5.0}  # one lucky large problem is none
    assert reach_of(problems("ferry", {3.0: (0, 4), 4.0: (1, 4)}) + problems("spanner", {7.0: (4, 4)})) == {
        "ferry": 3.0,
        "spanner": 7.0,
    }
    assert reach_of(list(reversed(problems("ferry", falling)))) == {"ferry": 5.0}


def test_the_ratio_of_reaches_is_the_mean_over_domains() -> None:
    rates = [0.0, 0.1]
    runs = [replace(run("uniform", seed, rates), reach={"ferry": 2.0, "spanner": 3.0}) for seed in (1, 2)]
    runs += [replace(run("frontier", seed, rates), reach={"ferry": 8.0, "spanner": 3.0}) for seed in (1, 2)]
    found = compare(runs)
    assert found["curricula"]["frontier"]["reach_ratio"]["value"] == pytest.approx(2.0)
    assert found["curricula"]["uniform"]["reach_ratio"]["value"] == pytest.approx(1.0)
    assert tables(found).splitlines()[-1].replace("|", " ").split() == ["frontier", "8.0", "3.0", "2.00", "[2.00,", "2.00]"]


def test_intervals_hold_the_value_and_are_the_same_each_time() -> None:
    values = [0.1, 0.4, 0.2, 0.3, 0.25]
    low, high = bootstrap_interval(values, "x")
    assert 0.1 < low < mean(values) < high < 0.4
    assert bootstrap_interval(values, "x") == (low, high)
    assert bootstrap_interval(values, "y") != (low, high)
    assert geometric_summary_of([0.5, 2.0], "x")["value"] == pytest.approx(1.0)


def test_a_curriculum_twice_as_fast_needs_half_the_completions() -> None:
    slow = {seed: [0.0, 0.1 + seed / 100, 0.2, 0.3, 0.4] for seed in (1, 2, 3)}
    fast = {seed: [0.0, 0.2, 0.4, 0.4, 0.4] for seed in (1, 2, 3)}
    runs = [run("uniform", seed, rates) for seed, rates in slow.items()]
    runs += [run("adaptive", seed, rates, final=0.5) for seed, rates in fast.items()]
    found = compare([*runs, run("adaptive", 9, [0.0, 0.0, 0.0, 0.0, 0.0])])  # a seed that the control lacks
    assert found["seeds"] == found["curricula"]["adaptive"]["seeds"] == [1, 2, 3] and found["completions_per_run"] == 400
    assert (found["problems_per_evaluation"], found["problems_at_the_end"]) == (400, 400)
    ratios = found["curricula"]["adaptive"]["completions_ratio"]
    assert ratios["the end of the control with the same seed"]["value"] == pytest.approx(0.5)
    assert ratios["75% of the control's gain"]["value"] == pytest.approx(0.5)
    assert found["curricula"]["uniform"]["completions_ratio"]["75% of the control's gain"]["value"] == 1.0
    assert found["curricula"]["adaptive"]["final_minus_control"]["value"] == pytest.approx(0.1)
    assert found["curricula"]["adaptive"]["final_by_domain"]["ferry"]["value"] == pytest.approx(0.5)
    carried = json.loads(json.dumps(found, allow_nan=False))["runs"]
    assert len(carried) == 7 and compare([Run.from_json(one) for one in carried]) == found
    shown = tables(found)
    assert "| adaptive" in shown and "0.50 [0.50, 0.50]" in shown and "+10.0" in shown


def test_a_curriculum_is_compared_on_the_seeds_that_it_has() -> None:
    runs = [run("uniform", seed, [0.0, 0.1 * seed]) for seed in (1, 2, 3)]
    found = compare([*runs, run("step", 2, [0.0, 0.3]), run("ladder", 9, [0.0, 0.5])])
    assert found["seeds"] == [1, 2, 3] and list(found["curricula"]) == ["uniform", "step"] and len(found["runs"]) == 5
    step = found["curricula"]["step"]
    assert step["seeds"] == [2] and step["final_minus_control"]["by_seed"] == [pytest.approx(0.1)]
    counts = [line.split("|")[2].strip() for line in tables(found).splitlines() if line.startswith(("| step", "| uniform"))]
    assert counts[:2] == ["3", "1"]


def test_a_run_that_never_gets_there_is_a_lower_bound_and_said_so() -> None:
    runs = [run("uniform", 1, [0.0, 0.2, 0.4]), run("uniform", 2, [0.0, 0.2, 0.4])]
    runs += [run("step", 1, [0.0, 0.1, 0.2]), run("step", 2, [0.0, 0.4, 0.4])]
    found = compare(runs)["curricula"]["step"]["completions_ratio"]["the end of the control with the same seed"]
    assert found["by_seed"] == [1.0, 0.5] and found["never_reached"] == 1
    assert ">= 0.71" in tables(compare(runs)) and "(1 never)" in tables(compare(runs))


def test_a_control_that_learns_nothing_gives_no_ratio() -> None:
    found = compare([run("uniform", 1, [0.2, 0.2, 0.1]), run("step", 1, [0.2, 0.3, 0.4])])
    for ratio in found["curricula"]["step"]["completions_ratio"].values():
        assert ratio["value"] is None and ratio["seeds"] == 0
    assert " - " in tables(found)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([run("step", 1, [0.0, 0.1])], "no finished run of uniform"),
        ([run("uniform", 1, [0.0, 0.1]), run("step", 1, [0.0, 0.1], [0, 112])], "cost 112 completions, uniform seed 1 100"),
        (
            [run("uniform", 1, [0.0, 0.1, 0.2]), run("uniform", 2, [0.0, 0.2], [0, 200])],
            "uniform seed 2 was evaluated 2 times, unlike its other seeds",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(runs: list[Run], words: str) -> None:
    with pytest.raises(DataError, match=words):
        compare(runs)


def _write(folder: Path, records: list[dict[str, Any]]) -> None:
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    classes = ("success_plans", "plan_format_error")
    problems = [{"domain": "ferry", "bucket": "easy", "difficulty": 3.0, "verdict_class": name} for name in classes]
    (folder / "evaluation_after.json").write_text(json.dumps({"problems": problems}))


def test_a_run_is_read_from_what_training_writes(tmp_path: Path) -> None:
    cells = {"ferry": {"easy": [1, 4]}}
    records: list[dict[str, Any]] = [
        {"step": 0, "eval_step": 0, "eval_counts": cells},
        {"step": 1, "completions": 32, "zero_variance_groups": 0.5},
        {"step": 2, "completions": 96, "zero_variance_groups": 0.25, "eval_step": 2, "eval_counts": cells},
    ]
    _write(tmp_path / "run", records)
    found = read_run(tmp_path / "run", "step", 4)
    assert found.completions == (0, 128) and found.rates == (0.25, 0.25)
    assert found.final == Success(2, 2, {"ferry": 0.5}, {"easy": 0.5}) and found.reach == {"ferry": 3.0}
    assert found.zero_variance == pytest.approx((32 * 0.5 + 96 * 0.25) / 128)
    for name in ("metrics.jsonl", "evaluation_after.json"):
        (tmp_path / "run" / name).rename(tmp_path / name)
        with pytest.raises(DataError, match="holds no finished run"):
            read_run(tmp_path / "run", "step", 4)
        (tmp_path / name).rename(tmp_path / "run" / name)


@pytest.mark.parametrize("page", ["curriculum_evidence", "ladder_evidence"])
def test_the_shipped_evidence_is_what_these_figures_give(page: str) -> None:
    """Every interval from its values by seed; the page beside it from the file."""
    evidence = json.loads((DOCS / f"{page}.json").read_text(encoding="utf-8"))
    for name, arm in evidence["curricula"].items():
        for figure, stream in {
            "final_success": "final",
            "final_minus_control": "final difference",
            "mean_over_run": "area",
            "mean_over_run_minus_control": "area difference",
            "zero_variance_groups": "zero variance",
        }.items():
            shipped = arm[figure]["interval"]
            assert list(bootstrap_interval(arm[figure]["by_seed"], f"{name} {stream}")) == pytest.approx(shipped, abs=1e-12)
    assert tables(evidence) in (DOCS / f"{page}.md").read_text(encoding="utf-8")
    if "runs" in evidence:  # not in the one of before they were kept
        runs = [Run.from_json(one) for one in evidence["runs"]]
        assert json.loads(json.dumps(compare(runs))) == {name: value for name, value in evidence.items() if name != "made_with"}
