"""Equal problems are counted aloud: within a set, and between training and test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpo_project.common.random_streams import stream
from grpo_project.configs.training import TrainingConfig
from grpo_project.data.held_out import held_out_set, steering_set
from grpo_project.data.object_names import rename_objects
from grpo_project.data.repeats import repeats_remark
from grpo_project.data.rows import read_rows
from grpo_project.domains import get_domain
from grpo_project.evaluation import evaluate
from grpo_project.pddl import render_problem
from grpo_project.reporting.leaderboard import Entry, leaderboard
from grpo_project.runs.run_folder import RunFolder
from grpo_project.training.evaluations import evaluate_held_out
from grpo_project.training.records import write_results


def copy(source: Path, target: Path, times: int = 1, rename: bool = False) -> Path:
    """The ferry rows of a data root, `times` over; `rename`: with other names of the objects."""
    lines = (source / "ferry.jsonl").read_text().splitlines() * times
    if rename:
        rows = read_rows(source, ["ferry"]).rows
        made = [
            rename_objects(get_domain("ferry"), row.problem, "invented", stream(1, number))[0] for number, row in enumerate(rows)
        ]
        old = [json.loads(line) for line in lines]
        lines = [
            json.dumps({**row, "meta": {**row["meta"], "problem_pddl": render_problem(problem)}})
            for row, problem in zip(old, made, strict=True)
        ]
    target.mkdir()
    (target / "ferry.jsonl").write_text("\n".join(lines) + "\n")
    return target


def test_rows_that_repeat_a_problem_are_counted(data_root: Path, tmp_path: Path) -> None:
    once = read_rows(data_root, ["ferry"])
    assert repeats_remark(once.rows, "here") is None
    thrice = read_rows(copy(data_root, tmp_path / "thrice", times=3))
    expected = "36 rows of here hold 12 different problems: the others repeat one, up to names and order"
    assert repeats_remark(thrice.rows, "here") == expected
    renamed = read_rows(copy(data_root, tmp_path / "renamed", rename=True))
    assert [row.problem_text for row in renamed.rows] != [row.problem_text for row in once.rows]
    assert repeats_remark([*once.rows, *renamed.rows], "here") == expected.replace("36", "24")


@pytest.mark.parametrize("rename", [False, True])
def test_test_problems_that_training_has_are_called_so_everywhere(
    data_root: Path, tmp_path: Path, rename: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    training = read_rows(data_root, ["ferry"])
    test_data = str(copy(data_root, tmp_path / "test", rename=rename))
    config = TrainingConfig(test_data=test_data, eval_samples=10, max_eval_samples=2)
    held_out = held_out_set(config, training)
    assert held_out is not None and held_out.trained_on == 10
    remark = f"10 of 10 problems of {test_data} are training problems too: no held-out success on these"
    assert held_out.remark == remark
    steering = steering_set(config, training, held_out, 25)
    assert steering is not None and steering.trained_on == 2
    folder = RunFolder(tmp_path)
    result = evaluate_held_out(held_out, lambda rows: [""] * len(rows), folder, "before", False, "strict")
    assert result is not None and f"Success ({remark}) before training, greedy" in capsys.readouterr().out
    text = write_results(folder, held_out, 1, result, result, 1.0)
    assert text.startswith("Greedy success on 10 problems (") and text.endswith(f"\n{remark}\n")


def test_new_problems_are_held_out_ones(data_root: Path, test_data_root: Path, tmp_path: Path, capsys: Any) -> None:
    held_out = held_out_set(TrainingConfig(test_data=str(test_data_root), eval_samples=2), read_rows(data_root, ["ferry"]))
    assert held_out is not None and held_out.trained_on == 0 and held_out.remark is None
    folder = RunFolder(tmp_path)
    result = evaluate_held_out(held_out, lambda rows: [""] * len(rows), folder, "after", False, "strict")
    assert result is not None and "Held-out success after training" in capsys.readouterr().out
    assert write_results(folder, held_out, 1, result, result, 1.0).startswith("Greedy success on 2 held-out problems (")


def test_a_result_knows_its_repeats(data_root: Path, tmp_path: Path) -> None:
    table = read_rows(copy(data_root, tmp_path / "thrice", times=3))
    result = evaluate(table, range(len(table)), lambda rows: [""] * len(rows))
    assert len(result.problems) == 36 and len(result.without_repeats().problems) == 12


def test_a_problem_that_stands_thrice_measures_a_run_once_and_never_steers_it(data_root: Path, tmp_path: Path) -> None:
    training = read_rows(data_root, ["ferry"])
    test_data = copy(data_root, tmp_path / "thrice", times=3)
    config = TrainingConfig(test_data=str(test_data), eval_samples=10, max_eval_samples=2)
    held_out = held_out_set(config, training)
    steering = steering_set(config, training, held_out, 25)
    assert held_out is not None and steering is not None
    forms = [row.canonical for row in (*held_out.rows, *steering.rows)]
    assert steering.name == str(test_data) and len(held_out) == 10 and len(set(forms)) == len(forms) == 12


def test_a_leaderboard_counts_a_problem_once_and_says_so(data_root: Path, tmp_path: Path) -> None:
    table = read_rows(copy(data_root, tmp_path / "thrice", times=3))
    result = evaluate(table, range(len(table)), lambda rows: [""] * len(rows))
    shown = leaderboard([Entry.of("thrice", result)])
    assert " 0/12 |" in shown and "/36" not in shown and "24 answers are left out: their problems, equal up to names" in shown
    assert "left out" not in leaderboard([Entry.of("once", result.without_repeats())])
