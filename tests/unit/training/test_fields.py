"""--grpo NAME=VALUE: read by TRL's types, the suite's own fields refused by name, recorded, fixed, and on its way to TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from grpo_project.configs.batches import batch_shape  # noqa: E402
from grpo_project.configs.resolution import convert  # noqa: E402
from grpo_project.configs.settings import settings  # noqa: E402
from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402
from grpo_project.training.algorithms import ALGORITHMS, trainer_arguments  # noqa: E402
from grpo_project.training.algorithms.base import COMPARED_UNDER_UNSLOTH, refuse_under_unsloth  # noqa: E402


def arguments(tmp_path: Path, **changed: Any) -> dict[str, Any]:
    """Of TRL's config, which takes them."""
    config = TrainingConfig(**changed)
    algorithm = ALGORITHMS[config.algorithm]
    config_class, _ = algorithm.classes()
    found = trainer_arguments(algorithm, config_class, config, batch_shape(config, "cpu"), "cpu", "transformers", str(tmp_path))
    config_class(**found)
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("delta=4", 4),
        ("delta=none", None),
        ("use_bias_correction_kl=false", False),
        ("use_bias_correction_kl=True", True),
        ("multi_objective_aggregation=normalize_then_sum", "normalize_then_sum"),
        ('lr_scheduler_kwargs={"min_lr_rate": 0.1}', {"min_lr_rate": 0.1}),
        ("adam_epsilon=1e-6", 1e-6),
        ("torch_empty_cache_steps=5", 5),
    ],
)
def test_a_field_is_read_by_its_type_and_reaches_trl(text: str, value: Any, tmp_path: Path) -> None:
    found = arguments(tmp_path, grpo=(text,))[text.partition("=")[0]]
    assert found == value and type(found) is type(value)


def test_fields_of_the_other_algorithm_are_its_own(tmp_path: Path) -> None:
    found = arguments(tmp_path, algorithm="rloo", grpo=("normalize_advantages=true", "reward_clip_range=[-1, 0.5]"))
    assert found["normalize_advantages"] is True and found["reward_clip_range"] == (-1, 0.5)
    with pytest.raises(ConfigError, match="--grpo delta: TRL's RLOOConfig has no such field"):
        arguments(tmp_path, algorithm="rloo", grpo=("delta=4",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("delta", "--grpo takes NAME=VALUE, got 'delta'"),
        ("delta=x", r"--grpo delta must be of kind float \| None, got 'x'"),
        ("delta=true", "--grpo delta must be of kind float"),
        ("delta=NaN", "--grpo delta must be of kind float"),
        ("use_bias_correction_kl=1", "--grpo use_bias_correction_kl must be of kind bool, got '1'"),
        ("torch_empty_cache_steps=1.5", "--grpo torch_empty_cache_steps must be of kind int"),
        ("sapo_temperature=1", "GRPOConfig has no such field; near it are sapo_temperature_"),
        ("qqqq=1", "GRPOConfig has no such field$"),
        ("seed=3", "--grpo seed: that is --seed"),
        ("num_generations=3", "--grpo num_generations: that is --num_generations"),
        ("load_in_4bit=true", "--grpo load_in_4bit: that is --no_4bit"),
    ],
)
def test_what_cannot_be_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        arguments(tmp_path, grpo=(text,))


@pytest.mark.parametrize(
    "name",
    "shuffle_dataset per_device_train_batch_size steps_per_generation output_dir report_to remove_unused_columns save_strategy "
    "eval_strategy sync_ref_model ref_model_sync_steps repetition_penalty generation_kwargs bf16 hub_token fsdp deepspeed "
    "vllm_importance_sampling_mode logging_strategy data_seed lr_scheduler_type optim do_eval ignore_data_skip".split(),
)
def test_the_suites_own_fields_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--grpo {name}: (that is --|the suite sets this field itself)"):
        arguments(tmp_path, grpo=(f"{name}=1",))


def test_every_field_that_the_suite_sets_is_refused_or_open_on_purpose(tmp_path: Path) -> None:
    algorithm = ALGORITHMS["grpo"]
    own = {spec.name for spec in settings()}
    open_ones = dict(algorithm.arguments(TrainingConfig())).keys() | {"adam_epsilon", "lr_scheduler_kwargs"}
    names = arguments(tmp_path).keys() - own - open_ones
    assert len(names) > 50
    for name in names:
        with pytest.raises(ConfigError, match=f"--grpo {name}: the suite sets this field itself"):
            algorithm.fields(TrainingConfig(grpo=(f"{name}=1",)), algorithm.classes()[0])


def test_a_field_that_unsloth_may_leave_out_is_refused_with_it(tmp_path: Path) -> None:
    shape = batch_shape(TrainingConfig(), "cpu")
    with pytest.raises(ConfigError, match="--grpo use_adaptive_entropy: Unsloth rewrites the loss.*--backend transformers"):
        refuse_under_unsloth(TrainingConfig(grpo=("delta=4", "use_adaptive_entropy=true")), shape, str(tmp_path))
    refuse_under_unsloth(TrainingConfig(grpo=("delta=4", "adam_epsilon=1e-6")), shape, str(tmp_path))
    assert COMPARED_UNDER_UNSLOTH < arguments(tmp_path).keys()


def test_a_list_or_an_object_is_one_part_of_several() -> None:
    assert convert("grpo", 'reward_clip_range=[-1, 1], a={"b": 1, "c": [2]} delta=4', "here") == (
        "reward_clip_range=[-1, 1]",
        'a={"b": 1, "c": [2]}',
        "delta=4",
    )
    assert convert("domains", "ferry, spanner[", "here") == ("ferry", "spanner[")
    with pytest.raises(ConfigError, match="--grpo names delta twice"):
        TrainingConfig(grpo=("delta=1", "delta=2"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss_type": "luspo"}, "--loss_type luspo needs --importance_sampling_level sequence"),
        ({"importance_sampling_level": "sequence"}, r"goes with --loss_type grpo, sapo, luspo \(GSPO: grpo\).*dr_grpo sums over"),
        ({"loss_type": "vespo", "importance_sampling_level": "sequence"}, "--loss_type vespo sums over tokens"),
        ({"top_p": 0.0}, r"--top_p must lie in \(0, 1\]"),
        ({"min_p": 1.5}, r"--min_p must lie in \[0, 1\]"),
        ({"off_policy_mask_threshold": 0.0}, "--off_policy_mask_threshold must be above 0"),
    ],
)
def test_losses_and_samplings_that_cannot_be_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**changed)
    TrainingConfig(loss_type="grpo", importance_sampling_level="sequence")


def test_what_trl_means_by_a_setting_is_what_it_gets(tmp_path: Path) -> None:
    assert arguments(tmp_path, loss_type="cispo")["epsilon_high"] == 5.0
    assert arguments(tmp_path, loss_type="cispo", epsilon_high=2.0)["epsilon_high"] == 2.0
    assert arguments(tmp_path, loss_type="dapo")["epsilon_high"] == 0.2
    off, on = arguments(tmp_path), arguments(tmp_path, top_p=0.95, top_k=20, min_p=0.1)
    assert (off["top_p"], off["top_k"], off["min_p"]) == (1.0, 0, None)
    assert (on["top_p"], on["top_k"], on["min_p"]) == (0.95, 20, 0.1)
    assert arguments(tmp_path, loss_type="vespo")["vllm_importance_sampling_mode"] == "token_mask"


@pytest.mark.parametrize(
    "setting", ["importance_sampling_level", "top_entropy_quantile", "entropy_coef", "off_policy_mask_threshold"]
)
def test_rloo_refuses_what_belongs_to_the_other_loss(setting: str) -> None:
    value = {"importance_sampling_level": "token"}.get(setting, 0.5)
    config = TrainingConfig(algorithm="rloo", sources={setting: "command line"}, **{setting: value})
    with pytest.raises(ConfigError, match=f"--algorithm rloo has no --{setting}"):
        ALGORITHMS["rloo"].refuse_settings(config)
