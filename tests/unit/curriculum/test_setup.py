"""The curriculum of a run: who needs evaluations, and a schedule that fails late is found early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpo_project.configs.training import TrainingConfig
from grpo_project.curriculum.setup import check_curriculum, check_quotas, set_up_curriculum
from grpo_project.errors import ConfigError

SCORES = [float(number) for number in range(100)]
ROWS = {
    name: {"easy": [4 * place], "medium": [4 * place + 1], "hard": [4 * place + 2]}
    for place, name in enumerate(("ferry", "spanner"))
}


def weights(step: int, max_steps: int) -> dict[str, float]:
    return {"easy": 1, "medium": 1, "hard": 1}


def every(**settings: Any) -> int:
    return set_up_curriculum(TrainingConfig(max_steps=4, **settings), ROWS, SCORES, weights).evaluate_every


def test_what_acts_on_evaluations_gets_some() -> None:
    assert every() == 25  # the guard watches unless told not to
    assert every(eval_samples=0) == 0
    assert every(eval_samples=0, curriculum="adaptive") == 0
    assert every(eval_samples=0, curriculum="stage") == 25
    assert every(eval_every_n_steps=0) == 0
    assert every(on_collapse="stop", eval_every_n_steps=7) == 7
    with pytest.raises(ConfigError, match="--curriculum stage acts on held-out success, so --eval_every_n_steps may not be 0"):
        every(curriculum="stage", eval_every_n_steps=0)
    with pytest.raises(ConfigError, match="--on_collapse rollback acts on held-out success"):
        every(on_collapse="rollback", eval_every_n_steps=0)


def test_a_schedule_that_fails_at_its_last_step_fails_before_anything_is_loaded() -> None:
    def late(step: int, max_steps: int) -> dict[str, float]:
        return {"easy": 1, "medium": 1} if step == max_steps - 1 else weights(step, max_steps)

    with pytest.raises(ConfigError, match="get_curriculum_weights at step 699 leaves out hard"):
        check_curriculum(TrainingConfig(max_steps=700), ROWS, SCORES, late)
    check_curriculum(TrainingConfig(max_steps=700, curriculum="uniform"), ROWS, SCORES, late)
    with pytest.raises(ConfigError, match="--curriculum must be one of step, uniform, stage, adaptive"):
        check_curriculum(TrainingConfig(curriculum="stages"), ROWS, SCORES, weights)


def test_a_batch_that_cannot_be_shared_out_is_refused_before_a_row_is_read(tmp_path: Path) -> None:
    for name in ("ferry", "spanner", "blocksworld"):
        (tmp_path / f"{name}.jsonl").write_text("no row at all")
    with pytest.raises(ConfigError, match="batch_size 8 is not divisible by the 3 domains"):
        check_quotas(TrainingConfig(data_root=str(tmp_path)))


def test_the_fingerprint_is_of_what_is_decided_not_of_how_it_is_written() -> None:
    def other(step: int, max_steps: int) -> dict[str, float]:
        return {"easy": 1.0, "medium": 1.0, "hard": 1.0}

    config = TrainingConfig(max_steps=4)
    first, second = (set_up_curriculum(config, ROWS, SCORES, function) for function in (weights, other))
    assert first.fingerprint == second.fingerprint and first.source != second.source
    easy = set_up_curriculum(config, ROWS, SCORES, lambda step, max_steps: {"easy": 1, "medium": 0, "hard": 0})
    assert easy.fingerprint != first.fingerprint


def test_a_schedule_that_raises_is_told_in_one_line() -> None:
    def late(step: int, max_steps: int) -> dict[str, float]:
        return weights(step, max_steps) if step < 3 else vars()["three"]

    with pytest.raises(ConfigError, match="^--curriculum step: late at step 3 raised KeyError: 'three'$"):
        check_curriculum(TrainingConfig(max_steps=4), ROWS, SCORES, late)


def test_numpy_weights_are_numbers_where_a_run_is_steered_too() -> None:
    import numpy as np

    def shares(step: int, max_steps: int) -> dict[str, float]:
        return dict.fromkeys(("easy", "medium", "hard"), np.float32(1))  # type: ignore[arg-type]

    config = TrainingConfig(max_steps=4, skip_zero_variance=2)
    assert (
        set_up_curriculum(config, ROWS, SCORES, shares).fingerprint
        == set_up_curriculum(config, ROWS, SCORES, weights).fingerprint
    )


def test_a_users_class_is_compared_by_the_code_of_its_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    text = (
        "from grpo_project.curriculum.schedules import BaseCurriculum\n"
        "SHARE = 1\n"
        "class Mine(BaseCurriculum):\n"
        "    uses_groups = True\n"
        "    def weights(self, step, max_steps): return {'easy': SHARE, 'medium': 1, 'hard': 1}\n"
    )
    found = []
    for content in (text, text + "# a comment\n", text.replace("SHARE = 1", "SHARE = 22")):
        file.write_text(content)
        found.append(set_up_curriculum(TrainingConfig(curriculum=f"{file}:Mine"), ROWS, SCORES, weights).fingerprint)
    assert found[0] == found[1] != found[2]
