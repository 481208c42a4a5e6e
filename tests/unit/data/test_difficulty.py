"""Scores from file names, buckets from scores; the figures of the quick-start guide to the digit."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.data import difficulty
from grpo_project.data.difficulty import BUCKETS, bucket_scores, difficulty_of, fill_buckets
from grpo_project.data.origin import Origin
from grpo_project.errors import DataError, GrpoProjectError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "difficulty" / "distribution.json").read_text())


def golden_names(domain: str) -> list[str]:
    """The file names of a golden domain, rebuilt from how often each combination of parameters occurs."""
    golden = GOLDEN[domain]
    names = []
    for entry in golden["names"]:
        for _ in range(entry["count"]):
            names.append(golden["file_name"].format(**entry, seed=1000 + len(names)))
    return names


def figures(scores: list[float]) -> dict[str, Any]:
    statistics = bucket_scores(scores)
    numbers = {name: f"{getattr(statistics, name):.1f}" for name in ("min", "max", "mean", "median", "p40", "p80")}
    counts = {name: f"{statistics.counts[name]} ({100 * statistics.share(name):.1f}%)" for name in BUCKETS}
    return numbers | counts


@pytest.mark.parametrize(
    ("scenario", "name", "score", "parameters"),
    [
        ("blocksworld", "bw_ops3_n4_seed200074.pddl", 20, {"ops": 3, "n": 4}),
        ("ferry", "ferry-l4-c2-s122320450.pddl", 26, {"l": 4, "c": 2}),
        ("grippers", "grippers-n1-r4-o3-s299249445.pddl", 23, {"n": 1, "r": 4, "o": 3}),
        ("spanner", "spanner-s3-n2-l4-s1595284416.pddl", 28, {"s": 3, "n": 2, "l": 4}),
        ("delivery", "delivery-s3-p2-seed1179514078.pddl", 19, {"s": 3, "p": 2}),
    ],
)
@pytest.mark.parametrize("folder", ["", "some/where/", "C:\\data\\"])
def test_the_guides_names_score_by_the_guides_formulas(
    scenario: str, name: str, score: float, parameters: dict[str, int], folder: str
) -> None:
    found = difficulty_of(scenario, folder + name)
    assert found.matched
    assert found.score == score
    assert {key: found.parameters[key] for key in parameters} == parameters


@pytest.mark.parametrize(
    "name", ["problem-7.pddl", "bw_ops3_n4_seed1.pddl.bak", "", "x" * 5000, "bw_ops3_n" + "9" * 5000 + "_seed1.pddl"]
)
def test_a_name_that_does_not_fit_is_easy_and_warned_about_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(difficulty, "_warned", set())
    with caplog.at_level(logging.WARNING):
        found = [difficulty_of("blocksworld", name), difficulty_of("blocksworld", name)]
    assert [(one.score, one.matched) for one in found] == [(0.0, False)] * 2
    (message,) = caplog.messages
    assert message.startswith("blocksworld: file name ")
    assert len(message) < 400


def test_an_unknown_scenario_is_an_error() -> None:
    with pytest.raises(GrpoProjectError, match="chess"):
        difficulty_of("chess", "bw_ops3_n4_seed1.pddl")


@pytest.mark.parametrize("domain", GOLDEN)
def test_golden_figures(domain: str) -> None:
    names = golden_names(domain)
    assert len(names) == 500
    expected = {name: value for name, value in GOLDEN[domain]["expected"].items() if value is not None}
    assert len(expected) >= 7
    found = figures([difficulty_of(domain, name).score for name in names])
    assert {name: found[name] for name in expected} == expected


@given(scores=st.lists(st.integers(0, 60).map(float), min_size=1, max_size=60))
def test_borders_separate_the_buckets(scores: list[float]) -> None:
    statistics = bucket_scores(scores)
    buckets = [statistics.bucket_of(score) for score in scores]
    assert [buckets.count(name) for name in BUCKETS] == list(statistics.counts.values())
    assert list(statistics.counts) == list(BUCKETS)
    assert statistics.count == len(scores)
    for score, bucket in zip(scores, buckets, strict=True):
        assert bucket == ("easy" if score <= statistics.p40 else "medium" if score <= statistics.p80 else "hard")
    # At least 40% lie at or below p40 and 80% at or below p80, up to the one score that interpolation cuts through.
    assert statistics.counts["easy"] >= 0.4 * len(scores) - 1
    assert statistics.counts["hard"] <= 0.2 * len(scores) + 1
    assert buckets[scores.index(min(scores))] == "easy"


def test_percentiles_interpolate_linearly() -> None:
    statistics = bucket_scores([10, 20, 30, 40])
    assert (statistics.p40, statistics.p80) == (pytest.approx(22.0), pytest.approx(34.0))
    assert (statistics.mean, statistics.median, statistics.min, statistics.max) == (25, 25, 10, 40)
    assert statistics.counts == {"easy": 2, "medium": 1, "hard": 1}


def test_scores_that_cannot_be_sorted_are_refused() -> None:
    with pytest.raises(DataError, match="no difficulty score"):
        bucket_scores([])
    with pytest.raises(DataError, match="not finite"):
        bucket_scores([1.0, float("nan")])


@dataclass
class Named:
    scenario: str
    problem_file: str
    origin: Origin = Origin(Path())


def test_rows_fall_into_the_buckets_of_their_own_domain() -> None:
    sizes = [3, 4, 5, 6, 7]
    rows = [Named("blocksworld", f"bw_ops4_n{n}_seed{n}.pddl") for n in sizes]
    rows += [Named("ferry", f"ferry-l{n + 20}-c2-s1.pddl") for n in reversed(sizes)]
    buckets = fill_buckets(rows, ["ferry", "blocksworld"])
    assert list(buckets.rows) == ["ferry", "blocksworld"]
    assert buckets.rows["blocksworld"] == {"easy": [0, 1], "medium": [2, 3], "hard": [4]}
    assert buckets.rows["ferry"] == {"easy": [8, 9], "medium": [6, 7], "hard": [5]}
    assert list(buckets.of_row) == ["easy", "easy", "medium", "medium", "hard", "hard", "medium", "medium", "easy", "easy"]
    assert buckets.scores[0] == 15
    with pytest.raises(DataError, match="no rows for grippers"):
        fill_buckets(rows, ["ferry", "blocksworld", "grippers"])
    with pytest.raises(DataError, match="row 0 is of blocksworld"):
        fill_buckets(rows, ["ferry"])
