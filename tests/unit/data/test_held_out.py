"""The held-out problems: new, all different, the same every time."""

from __future__ import annotations

from pathlib import Path

from grpo_project.configs.training import TrainingConfig
from grpo_project.data.rows import read_rows
from grpo_project.data.instances import split_of
from grpo_project.pddl.canonical import canonical_form
from grpo_project.data.held_out import (
    generate_held_out,
    held_out_problems,
)


def test_generated_problems_are_new_all_different_and_the_same_every_time(data_root: Path) -> None:
    training = read_rows(data_root)
    table = generate_held_out(training.domains, 5, training)
    again = generate_held_out(training.domains, 5, training)
    assert [row.problem_text for row in table.rows] == [row.problem_text for row in again.rows]
    assert [row.scenario for row in table.rows] == [name for name in training.domains for _ in range(5)]
    forms = [canonical_form(row.domain, row.problem) for row in table.rows]
    seen = {canonical_form(row.domain, row.problem) for row in training.rows}
    assert len(set(forms)) == 20
    assert not seen & set(forms)
    assert {split_of(form) for form in forms} == {"test"}


def test_a_test_folder_gives_its_first_problems_whatever_the_seed(data_root: Path, test_data_root: Path) -> None:
    training = read_rows(data_root)
    chosen = []
    for seed in (1, 2):
        config = TrainingConfig(test_data=str(test_data_root), eval_samples=3, seed=seed)
        table, rows, name = held_out_problems(config, training)
        assert table is not None and name == str(test_data_root)
        chosen.append([table.rows[row].problem_file for row in rows])
    assert chosen[0] == chosen[1] and len(chosen[0]) == 12
    assert held_out_problems(TrainingConfig(eval_samples=0), training) == (None, [], "")
