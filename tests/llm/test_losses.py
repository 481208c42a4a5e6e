"""Updates on the same completions by Unsloth's trainer and by TRL's: one gradient, one entropy, or a refusal by name."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from varied_verdicts import schedule

from grpo_project.configs.batches import batch_shape
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError
from grpo_project.runs.observer import Observer
from tests.llm.conftest import MARKS
from tests.unsloth_on_cpu import with_modes

pytestmark = MARKS
LONGEST = 12


def trls_own() -> tuple[Any, Any]:
    """(GRPOConfig, GRPOTrainer) of TRL as it is, loaded once more beside those that Unsloth rewrote."""
    import trl

    found = []
    for name, wanted in (("grpo_config", "GRPOConfig"), ("grpo_trainer", "GRPOTrainer")):
        path = Path(trl.__file__).parent / "trainer" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"trl.trainer.own_{name}", path)
        assert spec and spec.loader
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(getattr(module, wanted))
    return found[0], found[1]


class Watcher(Observer):
    """What an update told: the gradients by step, and the mean entropy of every answer by its tokens."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.gradients: list[Any] = []
        self.entropies: list[dict[tuple[int, ...], float]] = [{}]

    def entropies_computed(self, ids: Any, mask: Any, kept: int, entropies: Any) -> None:
        for row, own, values in zip(ids, mask.bool(), entropies, strict=True):
            if own[-kept:].any():
                self.entropies[-1][tuple(row[own].tolist())] = float(values[own[-kept:]].mean())

    def gradient_computed(self, norm: Any) -> None:
        import torch

        self.gradients.append(torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None]))
        self.entropies.append({})


def completions() -> list[list[int]]:
    """16 of the tiny tokenizer's words; three quarters of them end before the limit."""
    draw = random.Random(1)
    rows = [[draw.randrange(5, 40) for _ in range(draw.choice([3, 5, 8, 11, LONGEST]))] for _ in range(16)]
    return [row + [1] if len(row) < LONGEST else row for row in rows]


def updates(
    classes: Any, tokenizer: Any, folder: Path, monkeypatch: Any, **settings: Any
) -> tuple[Watcher, list[dict[str, Any]]]:
    """Two steps on the same completions, of a tiny model with LoRA adapters, in micro-batches of one prompt; the log."""
    import torch
    import trl
    from peft import LoraConfig, get_peft_model

    from grpo_project.training.entropy import EntropySample
    from tests.conftest import build_tiny_model
    from tests.unit.training.test_grpo import _trainer

    monkeypatch.setattr(trl, "GRPOConfig", classes[0])
    monkeypatch.setattr(trl, "GRPOTrainer", classes[1])
    torch.manual_seed(0)
    model = get_peft_model(
        build_tiny_model(len(tokenizer)), LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    )
    values = {"micro_batch_size": 1, "learning_rate": 0.02, "max_grad_norm": 1e9, "logging_steps": 1, **settings}
    reward = lambda completions, **_: [float(index % 3) for index in range(len(completions))]  # noqa: E731
    trainer = _trainer(with_modes(model), tokenizer, folder, reward, shortcuts=False, **values)
    watcher = trainer._observers = Watcher(model)
    trainer._entropy_sample = EntropySample(0, whole_steps=1)
    trainer._generate_single_turn = lambda *_, **__: (completions(), None)
    trainer.train()
    return watcher, trainer.state.log_history[:2]


@pytest.fixture(scope="module")
def plain(rewritten: None) -> tuple[Any, Any]:
    return trls_own()


LOSSES = [(loss, "none") for loss in ("grpo", "dapo", "dr_grpo")] + [
    (loss, by) for loss in ("grpo", "dapo") for by in ("group", "batch")
]


@pytest.mark.parametrize("more", [{"beta": 0.0}, {"beta": 0.1, "num_iterations": 2, "mask_truncated_completions": True}], ids=str)
@pytest.mark.parametrize(("loss_type", "scale_rewards"), LOSSES)
def test_every_loss_and_scaling_has_the_gradient_that_trl_gives_it(
    plain: Any,
    tiny_tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loss_type: str,
    scale_rewards: str,
    more: Any,
) -> None:
    import trl

    settings = {"loss_type": loss_type, "scale_rewards": scale_rewards, **more}
    unsloths = (trl.GRPOConfig, trl.GRPOTrainer)
    assert unsloths[1].__name__ == "UnslothGRPOTrainer" and plain[1].__name__ == "GRPOTrainer"
    ours, log = updates(unsloths, tiny_tokenizer, tmp_path / "unsloth", monkeypatch, **settings)
    theirs, plain_log = updates(plain, tiny_tokenizer, tmp_path / "trl", monkeypatch, **settings)
    for mine, other in zip(ours.gradients, theirs.gradients, strict=True):
        assert other.norm() > 1e-3
        assert float((mine - other).norm() / other.norm()) < 1e-4
    # Entropies: all answers of the first step, and two of the second's sixteen.
    all_answers, sample, *_ = theirs.entropies
    assert ours.entropies[0] == pytest.approx(all_answers, abs=1e-5)
    assert set(ours.entropies[1]) <= set(sample) and len(ours.entropies[1]) <= 2
    assert ours.entropies[1] == pytest.approx({answer: sample[answer] for answer in ours.entropies[1]}, abs=1e-4)
    assert log[0]["entropy"] == pytest.approx(plain_log[0]["entropy"], abs=1e-5) and log[0]["entropy"] > 0.5
    assert {"entropy", "loss", "grad_norm"} <= set(log[1])


# On the second use of completions, where ratios are no longer 1.
OFF_POLICY = {"beta": 0.1, "num_iterations": 2, "scale_rewards": "none"}
FURTHER: dict[str, dict[str, Any]] = {
    "cispo": {"loss_type": "cispo"},
    "cispo-clipped": {"loss_type": "cispo", "epsilon_high": 1.01},
    "sapo": {"loss_type": "sapo"},
    "luspo": {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    "vespo": {"loss_type": "vespo"},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    "sapo-sequence": {"loss_type": "sapo", "importance_sampling_level": "sequence"},
    "top_entropy_quantile": {"loss_type": "dapo", "top_entropy_quantile": 0.4},
    "entropy_coef": {"loss_type": "dapo", "entropy_coef": 0.1},
    "off_policy_mask_threshold": {"loss_type": "dapo", "off_policy_mask_threshold": 0.001},
    "delta": {"loss_type": "dapo", "grpo": ("delta=1.01",)},
    "use_bias_correction_kl": {"loss_type": "dapo", "grpo": ("use_bias_correction_kl=false",)},
    "sapo_temperature_pos": {"loss_type": "sapo", "grpo": ("sapo_temperature_pos=2",)},
    "sapo_temperature_neg": {"loss_type": "sapo", "grpo": ("sapo_temperature_neg=2",)},
    "vespo_k_pos": {"loss_type": "vespo", "grpo": ("vespo_k_pos=1",)},
    "vespo_lambda_pos": {"loss_type": "vespo", "grpo": ("vespo_lambda_pos=1",)},
    "vespo_k_neg": {"loss_type": "vespo", "grpo": ("vespo_k_neg=1",)},
    "vespo_lambda_neg": {"loss_type": "vespo", "grpo": ("vespo_lambda_neg=1",)},
}


@pytest.mark.parametrize("name", FURTHER)
def test_further_losses_and_options_have_the_gradient_that_trl_gives_them(
    plain: Any, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import trl

    unsloths, settings = (trl.GRPOConfig, trl.GRPOTrainer), {**OFF_POLICY, **FURTHER[name]}
    ours, _ = updates(unsloths, tiny_tokenizer, tmp_path / "unsloth", monkeypatch, **settings)
    theirs, _ = updates(plain, tiny_tokenizer, tmp_path / "trl", monkeypatch, **settings)
    apart = [float((mine - other).norm() / other.norm()) for mine, other in zip(ours.gradients, theirs.gradients, strict=True)]
    assert len(apart) == 2 and max(apart) < 1e-4, apart
    assert max(float(other.norm()) for other in theirs.gradients) > 1e-4


def test_the_two_scalings_differ(plain: Any, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above says something of --scale_rewards."""
    import trl

    unsloths = (trl.GRPOConfig, trl.GRPOTrainer)
    norms = [
        float(
            updates(unsloths, tiny_tokenizer, tmp_path / by, monkeypatch, loss_type="grpo", scale_rewards=by, beta=0.0)[0]
            .gradients[0]
            .norm()
        )
        for by in ("group", "batch", "none")
    ]
    assert len({round(norm, 4) for norm in norms}) == 3


def test_bnpo_is_refused_where_unsloth_makes_dapo_of_it(data_root: Path, tiny_planner: Path, tmp_path: Path) -> None:
    from grpo_project.training.run import train

    settings = {
        "base_model": str(tiny_planner),
        "data_root": str(data_root),
        "output_dir": str(tmp_path / "run"),
        "loss_type": "bnpo",
    }
    settings |= {"batch_size": 4, "num_generations": 4, "micro_batch_size": 1, "report_to": ("none",)}
    with pytest.raises(ConfigError, match=r"--loss_type bnpo: .*which is dapo.* 4 micro-batches\. .*--backend transformers"):
        train(TrainingConfig(**settings), schedule)
    assert not (tmp_path / "run").exists()


def test_bnpo_on_several_micro_batches_is_dapo_there_and_with_one_it_is_itself(
    plain: Any, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails, Unsloth has changed, and the refusal can go."""
    import trl

    unsloths = (trl.GRPOConfig, trl.GRPOTrainer)

    def gradient(classes: Any, loss_type: str, micro: int) -> Any:
        folder = tmp_path / f"{classes[1].__name__}-{loss_type}-{micro}"
        how = {"loss_type": loss_type, "micro_batch_size": micro, "beta": 0.0}
        return updates(classes, tiny_tokenizer, folder, monkeypatch, **how)[0].gradients[0]

    def apart(first: Any, second: Any) -> float:
        return float((first - second).norm() / second.norm())

    ours = gradient(unsloths, "bnpo", 1)
    assert apart(ours, gradient(unsloths, "dapo", 1)) < 1e-4 and apart(ours, gradient(plain, "bnpo", 1)) > 0.05
    assert apart(gradient(unsloths, "bnpo", 4), gradient(plain, "bnpo", 4)) < 1e-4
    assert batch_shape(TrainingConfig(batch_size=4, num_generations=4, micro_batch_size=4), "cpu").micro_batches == 1
