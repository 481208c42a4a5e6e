"""What steers a run must be like what it trains on: the shipped planner solves as many of the one as of data/test."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from grpo_project.common.statistics import wilson_interval  # noqa: E402
from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.data.held_out import held_out_set, steering_set  # noqa: E402
from grpo_project.data.prompts import row_prompt  # noqa: E402
from grpo_project.data.rows import read_rows  # noqa: E402
from grpo_project.evaluation import evaluate  # noqa: E402
from grpo_project.models.generation import complete_greedy  # noqa: E402
from grpo_project.models.loading import load_policy  # noqa: E402
from grpo_project.training.evaluations import greedy_completions  # noqa: E402


@pytest.mark.slow
def test_generated_problems_are_as_hard_for_the_shipped_planner_as_those_of_the_test_set(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    policy = load_policy(str(repository / "data" / "models" / "any-names-planner"), training=False)
    training = read_rows(repository / "data" / "four_domain")
    # All rows of data/test measure the run, so that what steers it has to be generated.
    config = TrainingConfig(eval_samples=200, max_eval_samples=50)
    held_out = held_out_set(config, training)
    steering = steering_set(config, training, held_out, 25)
    assert held_out is not None and steering is not None and steering.name.startswith("generated")
    levels = []
    for chosen, indices in ((held_out, list(held_out.indices)[::4]), (steering, list(steering.indices))):
        result = evaluate(
            chosen.table,
            indices,
            lambda rows: complete_greedy(
                policy.model, policy.tokenizer, [row_prompt(row, policy.prompt_style) for row in rows], 128
            ),
        )
        levels.append(result.counts())
    (one, of_one), (other, of_other) = levels
    assert of_one == of_other == 200
    # Of two samples of 200 from one level, one in 170 differs by more than this.
    difference = abs(one / of_one - other / of_other)
    assert difference < 0.14, (levels, wilson_interval(one, of_one))


def test_a_log_hears_how_far_the_held_out_problems_are(
    tiny_planner: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before training there is no other line for as long as they take."""
    monkeypatch.setattr("grpo_project.common.progress.SECONDS_BETWEEN_LINES", 0.0)
    policy, rows = load_policy(str(tiny_planner)), list(read_rows(data_root, ["ferry"]).rows[:3])
    answers = greedy_completions(policy, 2, None, shown=True)(rows)
    assert "solving held-out problems: 3/3, " in capsys.readouterr().err
    assert greedy_completions(policy, 2, None)(rows) == answers and capsys.readouterr().err == ""
