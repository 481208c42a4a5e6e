"""The held-out problems: new, all different, the same every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grpo_project.configs.training import TrainingConfig
from grpo_project.data.held_out import EvaluationSet, generate_problems, held_out_set, steering_set
from grpo_project.data.instances import split_of
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.pddl.canonical import canonical_form


def test_generated_problems_are_new_all_different_and_the_same_every_time(data_root: Path) -> None:
    training = read_rows(data_root)
    table = generate_problems(training.domains, 5, apart_from=[training])
    again = generate_problems(training.domains, 5, apart_from=[training])
    assert [row.problem_text for row in table.rows] == [row.problem_text for row in again.rows]
    assert [row.scenario for row in table.rows] == [name for name in training.domains for _ in range(5)]
    forms = [canonical_form(row.domain, row.problem) for row in table.rows]
    seen = {canonical_form(row.domain, row.problem) for row in training.rows}
    assert len(set(forms)) == 20
    assert not seen & set(forms)
    assert {split_of(form) for form in forms} == {"test"}


@pytest.mark.parametrize(("constrained", "naming"), [(True, "drawn"), (False, "conventional")])
def test_generated_problems_take_after_the_training_rows(
    data_root: Path, repository: Path, constrained: bool, naming: str
) -> None:
    given = read_rows(repository / "data" / "four_domain" if constrained else data_root, ["ferry"])
    rows = [row for row in given.rows if (row.problem.constraints is not None) == constrained]
    named = [replace(row, meta={**row.meta, "names": naming}) for row in rows]
    sizes = {row.problem_file.rpartition("/")[2].rpartition("-s")[0] for row in rows}
    assert rows and len(sizes) > 1
    made = generate_problems(["ferry"], 20, apart_from=[RowTable(given.origin, ("ferry",), named, (), "changed")])
    assert {row.problem.constraints is not None for row in made.rows} == {constrained}
    assert {row.problem_file.rpartition("-s")[0] for row in made.rows} <= sizes
    listed = [list(row.problem.objects) for row in made.rows]
    conventional = sum(names[0] == "l0" and names[-1].startswith("c") for names in listed)
    assert conventional < 5 if naming == "drawn" else conventional == len(made.rows)


def test_a_test_folder_gives_its_first_problems_whatever_the_seed(data_root: Path, test_data_root: Path) -> None:
    training = read_rows(data_root)
    chosen = []
    for seed in (1, 2):
        config = TrainingConfig(test_data=str(test_data_root), eval_samples=3, seed=seed)
        found = held_out_set(config, training)
        assert found is not None and found.name == str(test_data_root) and len(found) == 12
        chosen.append([found.table.rows[row].problem_file for row in found.indices])
    assert chosen[0] == chosen[1] and len(chosen[0]) == 12
    assert held_out_set(TrainingConfig(eval_samples=0), training) is None


def test_what_steers_a_run_is_told_by_its_content_and_never_measures_it(data_root: Path, test_data_root: Path) -> None:
    training = read_rows(data_root)

    def steering(**settings: object) -> EvaluationSet:
        config = TrainingConfig(**{"test_data": str(test_data_root), "max_eval_samples": 1, **settings})
        held_out = held_out_set(config, training)
        found = steering_set(config, training, held_out, 25)
        assert found is not None
        if held_out is not None and held_out.table is found.table:
            assert not set(held_out.indices) & set(found.indices)
        return found

    first, again, other = steering(eval_samples=3), steering(eval_samples=3, seed=9), steering(eval_samples=2)
    assert first.name == str(test_data_root) and first.fingerprint == again.fingerprint != other.fingerprint
    assert steering(eval_samples=4).name.startswith("generated problems")  # no row of the folder is left
    assert steering_set(TrainingConfig(), training, None, 0) is None
