"""Which answers are measured for their entropy where the loss computes none, and what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.batches import batch_shape  # noqa: E402
from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.errors import BackendMissing, ConfigError  # noqa: E402
from grpo_project.training.algorithms.base import refuse_under_unsloth  # noqa: E402
from grpo_project.training.entropy import EntropySample, answer_entropies  # noqa: E402


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_one_answer_in_eight_is_measured_however_a_step_is_cut(size: int) -> None:
    sample = EntropySample(seed=1, whole_steps=1)
    first = [sample.rows(0, size) for _ in range(64 // size)]
    assert first == [list(range(size))] * (64 // size)
    found = [sample.rows(1, size) for _ in range(64 // size)]
    assert sum(len(rows) for rows in found) == 8
    assert all(len(set(rows)) == len(rows) and set(rows) <= set(range(size)) for rows in found)
    again = EntropySample(seed=1, whole_steps=1)  # a continued run
    assert [again.rows(1, size) for _ in range(64 // size)] == found


def test_a_step_of_few_answers_has_one_and_steps_differ() -> None:
    sample = EntropySample(seed=1)
    drawn = [sample.rows(step, 4) for step in range(40)]
    assert {len(rows) for rows in drawn} == {1} and {rows[0] for rows in drawn} == {0, 1, 2, 3}


def test_entropies_are_those_of_each_answer_alone(tiny_model: Any) -> None:
    ids = torch.randint(5, 40, (3, 10), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, :3] = 0  # padding before the prompt
    mask[1, 8:] = 0  # and behind the answer
    mask[2, 6:] = 0  # taken out of the loss
    found = answer_entropies(tiny_model, ids, mask, 4, temperature=0.7, vocabulary=tiny_model.config.vocab_size)
    assert found.shape == (3, 4)
    for row, (start, end) in enumerate([(3, 10), (0, 8)]):
        logits = tiny_model(ids[row : row + 1, start:end]).logits[0, 5 - start : -1] / 0.7
        assert torch.allclose(found[row, : end - 6], torch.distributions.Categorical(logits=logits).entropy(), atol=1e-5)
    assert found[1, 2:].tolist() == [0, 0] and found[2].tolist() == [0, 0, 0, 0]
    with pytest.raises(BackendMissing, match="the logits of 4 tokens of 7"):
        answer_entropies(tiny_model, ids, mask, 4, temperature=1.0, vocabulary=7)


def test_what_unsloth_computes_as_something_else_is_refused_by_name(tmp_path: Path) -> None:
    def refuse(folder: Path, **settings: Any) -> None:
        config = TrainingConfig(**{"batch_size": 4, "num_generations": 4, "scale_rewards": "none", **settings})
        refuse_under_unsloth(config, batch_shape(config, "cuda"), str(folder))

    refuse(tmp_path, loss_type="dapo")
    refuse(tmp_path, loss_type="bnpo", micro_batch_size=4)
    with pytest.raises(ConfigError, match="--loss_type bnpo: Unsloth averages.* 2 micro-batches"):
        refuse(tmp_path, loss_type="bnpo", micro_batch_size=2)
    (tmp_path / "adapter_config.json").write_text("{}")
    refuse(tmp_path, beta=0.0)
    with pytest.raises(ConfigError, match=r"--beta 0.1: .* is an adapter.* Take --beta 0"):
        refuse(tmp_path, beta=0.1)
