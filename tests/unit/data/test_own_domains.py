"""A domain that the registry does not know: read, scored, asked and measured by its own PDDL alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from grpo_project.configs.training import TrainingConfig
from grpo_project.data.difficulty import difficulty_of, difficulty_of_row, fill_buckets
from grpo_project.data.held_out import held_out_set, steering_set
from grpo_project.data.origin import Origin
from grpo_project.data.probes import PROBES, probed_table
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import read_rows
from grpo_project.errors import ConfigError, DataError
from grpo_project.evaluation import evaluate, planner_completions
from grpo_project.rewards.verl import verl_rows
from tests.sample_rows import DEPOT, depot_rows, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "depot", depot_rows(8))
    (tmp_path / "depot.pddl").write_text(DEPOT)
    return tmp_path


def test_its_rows_need_nothing_but_pddl(root: Path) -> None:
    table = read_rows(root, on_bad_row="error")
    assert table.domains == ("depot",) and len(table) == 8
    assert table.rows[0].domain.name == "depot" and "(define (domain depot)" in row_prompt(table.rows[0], "full")
    for form in ("pddl", "json", "nl"):
        assert "load" in row_prompt(table.rows[0], "full", form)
    assert len(list(verl_rows(table, "train"))) == 8
    with pytest.raises(ConfigError, match="compact prompts are for .*; depot is none of them"):
        row_prompt(table.rows[0], "compact")


def test_its_plans_are_verified_and_found(root: Path) -> None:
    table = read_rows(root)
    result = evaluate(table, range(8), lambda rows: planner_completions(table, range(8)))
    assert result.counts() == (8, 8)
    assert [problem.difficulty for problem in result.problems] == [4.0 + 2 * size for size in range(8)]


@pytest.mark.parametrize("probe", PROBES)
def test_its_problems_can_be_probed(root: Path, probe: str) -> None:
    table = probed_table(read_rows(root), probe, 1)
    result = evaluate(table, range(8), lambda rows: planner_completions(table, range(8)))
    assert result.counts() == (8, 8) and len({row.canonical for row in (*table.rows, *read_rows(root).rows)}) == 8


def test_without_its_pddl_a_row_is_refused(tmp_path: Path) -> None:
    rows = depot_rows(3)
    del rows[0]["meta"]["domain_file"]
    rows[1]["meta"]["domain_pddl"] = DEPOT
    path = write(tmp_path, "depot", rows)
    table = read_rows(tmp_path)
    assert len(table) == 1
    reasons = [bad.reason for bad in table.bad_rows]
    assert reasons[0] == "meta.scenario is 'depot', no known domain's name: give meta.domain_pddl or domain_file"
    assert reasons[1].startswith("domain file 'depot.pddl' is neither under")
    assert reasons[1].endswith("name its folder with --problem_root; the suite has no domain of that name")
    assert path.exists()


def test_its_difficulty_is_the_number_of_objects_and_goals(root: Path) -> None:
    table = read_rows(root)
    buckets = fill_buckets(table.rows)
    assert list(buckets.scores) == [4.0 + 2 * size for size in range(8)]  # two places, a truck; crates and their goals
    assert difficulty_of_row(table.rows[2]).parameters == {"objects": 5, "goals": 3}
    assert buckets.statistics["depot"].counts == {"easy": 3, "medium": 3, "hard": 2}


@pytest.mark.parametrize(
    ("pattern", "name", "score"),
    [
        (r"p(\d+)-c(\d+)", "p3-c12.pddl", 15),
        (r"P(\d+)(?:-c(\d+))?", "some/folder/p3.pddl", 3),
        (r"_(\d+\.\d+)", "C:\\x_9\\d_0.5.pddl", 0.5),
        (r"a(\d+)|b(\d+)", "task-b7.pddl", 7),
    ],
)
def test_a_pattern_scores_the_names_that_it_fits(pattern: str, name: str, score: float) -> None:
    assert difficulty_of("depot", name, pattern).score == score


@pytest.mark.parametrize("name", ["q3.pddl", "p.pddl", "pX.pddl"])
def test_a_name_that_the_pattern_does_not_fit_is_easy_and_named(caplog: Any, name: str) -> None:
    with caplog.at_level(logging.WARNING):
        found = difficulty_of("depot", f"{name}", r"p(\w)(?=\d|\.)")
    assert (found.score, found.matched) == (0.0, False)
    assert caplog.messages[0].startswith(f"depot: file name {name!r} does not fit --difficulty_pattern p(")


def test_a_pattern_scores_known_domains_names_of_ones_own_too(root: Path) -> None:
    assert difficulty_of("ferry", "ferry-l4-c2-s1.pddl", r"n(\d+)").score == 26
    assert difficulty_of("ferry", "FERRY-L4-C2-S1.PDDL").score == 26
    assert difficulty_of("ferry", "mine-n5.pddl", r"n(\d+)").score == 5
    table = read_rows(Origin.of(root, (), r"depot-(\d+)"))
    assert fill_buckets(table.rows).scores == list(range(8))


def test_what_measures_and_what_steers_it_comes_from_a_folder(root: Path, tmp_path: Path) -> None:
    training = read_rows(root)
    with pytest.raises(DataError, match=r"no held-out problems of depot, .*--test_data .*--eval_samples 0"):
        held_out_set(TrainingConfig(), training)
    assert held_out_set(TrainingConfig(eval_samples=0), training) is None
    test_data = tmp_path / "test"
    test_data.mkdir()
    (test_data / "depot.pddl").write_text(DEPOT)

    def sets(count: int, **settings: Any) -> tuple[int, int]:
        write(test_data, "depot", depot_rows(count, crates=9))
        config = TrainingConfig(test_data=str(test_data), **settings)
        held_out = held_out_set(config, training)
        steering = steering_set(config, training, held_out, 25)
        assert held_out is not None and held_out.trained_on == 0 and steering is not None
        assert not set(held_out.indices) & set(steering.indices)
        return len(held_out), len(steering)

    with pytest.raises(DataError, match="no held-out problems of depot"):
        steering_set(TrainingConfig(eval_samples=0), training, None, 25)
    assert sets(8) == (6, 2)  # a quarter steers
    assert sets(8, max_eval_samples=1) == (7, 1)
    assert sets(8, eval_samples=3) == (3, 5)
    with pytest.raises(DataError, match="has no problem to steer depot by, .*--eval_every_n_steps 0"):
        sets(3)
    config = TrainingConfig(test_data=str(test_data), eval_every_n_steps=0)
    assert len(held_out_set(config, training) or ()) == 3 and steering_set(config, training, None, 0) is None


def test_beside_it_a_known_domain_shares_its_test_problems_too(root: Path, data_root: Path, tmp_path: Path) -> None:
    ferry = (data_root / "ferry.jsonl").read_text()
    (root / "ferry.jsonl").write_text(ferry)
    training = read_rows(root)
    config = TrainingConfig(test_data=str(root))
    held_out = held_out_set(config, training)
    steering = steering_set(config, training, held_out, 25)
    assert held_out is not None and steering is not None
    counted = [[row.scenario for row in found.rows] for found in (held_out, steering)]
    assert [(names.count("depot"), names.count("ferry")) for names in counted] == [(6, 9), (2, 3)]
    (root / "ferry.jsonl").write_text(ferry.splitlines()[0])
    few = held_out_set(config, read_rows(root))
    with pytest.raises(DataError, match="has no problem to steer ferry by"):
        steering_set(config, training, few, 25)
