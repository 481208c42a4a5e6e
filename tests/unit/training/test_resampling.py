"""Groups that teach nothing give way to others of their domain and bucket; the rest stays what it was."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from planners import scheduled_planner  # noqa: E402

from grpo_project.curriculum.batch_plan import BatchPlanner  # noqa: E402
from grpo_project.training.resampling import Resampler, splice  # noqa: E402

ROWS = {"ferry": {"easy": [0, 1, 2], "hard": [3]}, "spanner": {"easy": [10, 11]}}
PAD = 9


def planner() -> BatchPlanner:
    return scheduled_planner(0, ROWS, 4, lambda step, max_steps: {"easy": 1, "medium": 0, "hard": 1}, 10)


def outputs(rows: list[int], teaching: set[int], width: int = 2) -> dict[str, Any]:
    """Two completions a group; those of `teaching` differ in advantage. Every id is the row's number."""
    repeated = [row for row in rows for _ in range(2)]
    signs = [(1.0 if place % 2 else -1.0) * (row in teaching) for place, row in enumerate(repeated)]
    return {
        "prompt_ids": torch.tensor([[row] * (width + row % 2) + [row] * (1 - row % 2) for row in repeated]),
        "completion_ids": torch.tensor([[row] * width for row in repeated]),
        "completion_mask": torch.ones(len(repeated), width, dtype=torch.long),
        "advantages": torch.tensor(signs),
        "num_items_in_batch": torch.tensor(float(len(repeated) * width)),
    }


def resample(rows: list[int], teaching: set[int], attempts: int) -> tuple[dict[str, Any], float, list[list[int]]]:
    asked: list[list[int]] = []

    def generate(inputs: list[dict[str, Any]]) -> dict[str, Any]:
        chosen = [item["row_index"] for item in inputs[::2]]
        assert [item["row_index"] for item in inputs] == [row for row in chosen for _ in range(2)]
        asked.append(chosen)
        return outputs(chosen, teaching, width=3)

    inputs = [{"row_index": row} for row in rows for _ in range(2)]
    found, share = Resampler(attempts, planner(), 2).resample(
        0, inputs, outputs(rows, teaching), generate, lambda index: {"row_index": index}, PAD
    )
    return found, share, asked


def test_a_group_that_teaches_nothing_is_replaced_within_its_domain() -> None:
    found, share, asked = resample([0, 10], {1, 2, 3, 10, 11}, attempts=3)
    (replacement,) = asked[0]
    assert replacement in (1, 2)  # its own bucket comes first
    assert share == 0.5 and len(asked) == 1
    assert found["completion_ids"].tolist() == [[replacement] * 3] * 2 + [[10, 10, PAD]] * 2
    assert found["completion_mask"].tolist() == [[1, 1, 1]] * 2 + [[1, 1, 0]] * 2
    assert float(found["num_items_in_batch"]) == 10
    assert found["advantages"].tolist() == [-1.0, 1.0, -1.0, 1.0]


def test_attempts_are_bounded_and_no_row_is_tried_twice() -> None:
    found, share, asked = resample([0, 10], {10}, attempts=5)
    tried = [row for rows in asked for row in rows]
    assert sorted(tried) == [1, 2, 3]  # then ferry has no other
    assert share == 0.0 and found["completion_ids"].tolist() == outputs([0, 10], {10})["completion_ids"].tolist()
    assert len(resample([0, 10], {10}, attempts=1)[2]) == 1


def test_nothing_is_asked_where_all_groups_teach() -> None:
    found, share, asked = resample([0, 10], {0, 10}, attempts=2)
    assert asked == [] and share == 0.0


def test_replacements_are_the_same_for_the_same_generation_batch_and_differ_between_attempts() -> None:
    first = [planner().replacements(3, attempt, [0, 1], {0, 1}) for attempt in range(6)]
    assert first == [planner().replacements(3, attempt, [0, 1], {0, 1}) for attempt in range(6)]
    assert all(sorted(pair, key=str) == [2, 3] for pair in first)
    assert planner().replacements(0, 0, [10, 11], {10, 11}) == [None, None]


def test_prompts_are_padded_on_the_left_and_completions_on_the_right() -> None:
    old = {"prompt_ids": torch.tensor([[1, 1], [2, 2]]), "completion_ids": torch.tensor([[1], [2]]), "loose": torch.tensor(3)}
    new = {"prompt_ids": torch.tensor([[5]]), "completion_ids": torch.tensor([[5, 5]]), "loose": torch.tensor(4)}
    spliced = splice(old, new, 1, 0, 1, PAD)
    assert spliced["prompt_ids"].tolist() == [[1, 1], [PAD, 5]]
    assert spliced["completion_ids"].tolist() == [[1, PAD], [5, 5]]
    assert int(spliced["loose"]) == 3
