"""Settings: ranges, precedence, sources, and messages that name the flag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpo_project.common.paths import locate_model
from grpo_project.configs.environment import EnvironmentConfig, read_environment
from grpo_project.configs.model_card import model_defaults, read_model_card
from grpo_project.configs.resolution import convert, read_config_file, resolve
from grpo_project.configs.setting import BUILT_IN, KINDS, PER_LAUNCH, OnResume, check_alone, kind_of, nature_of, setting
from grpo_project.configs.settings import flag_of, settings
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError, DataError, ModelError


def test_the_built_in_defaults_are_the_guides() -> None:
    config = TrainingConfig()
    assert (config.learning_rate, config.beta, config.batch_size) == (1e-5, 0.02, 8)
    assert (config.max_steps, config.save_steps) == (1000, 100)
    assert config.load_in_4bit and config.use_wandb and not config.trust_remote_code


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch_size", 0, "--batch_size must be at least 1, got 0"),
        ("num_generations", 1, "--num_generations must be at least 2"),
        ("learning_rate", 0.0, r"--learning_rate must lie in \(0, 1\), got"),
        ("learning_rate", float("nan"), r"--learning_rate must lie in \(0, 1\), got"),
        ("beta", -0.1, "--beta must be at least 0, got -0.1"),
        ("beta", float("inf"), "--beta must be at least 0"),
        ("temperature", 0.0, r"--temperature must lie in \(0, 10\]"),
        ("adam_beta2", 1.0, r"--adam_beta2 must lie in \[0, 1\)"),
        ("epsilon", 0.0, r"--epsilon must lie in \(0, 1\)"),
        ("eval_samples", -1, "--eval_samples must be at least 0"),
        ("lora_rank", -1, "--lora_rank must be at least 0"),
        ("seed", 2**32, r"--seed must lie in \[0, 4294967296\)"),
        ("algorithm", "ppo", "--algorithm must be one of grpo, rloo, got 'ppo'"),
        ("eval_every_n_steps", -1, "--eval_every_n_steps must be at least 0"),
        ("max_eval_samples", 0, r"--max_eval_samples must lie in \[1, 100000\]"),
        ("max_steps", 10**7, r"--max_steps must lie in \[1, 1000000\]"),
        ("lora_rank", 10**400, "--lora_rank must be below 9223372036854775808"),
        ("on_collapse", "panic", "--on_collapse must be one of warn, reweight, rollback, stop"),
        ("repetition_penalty", 0.0, r"--repetition_penalty must lie in \(0, 10\]"),
        ("presence_penalty", float("nan"), "--presence_penalty must lie in"),
        ("frequency_penalty", 11.0, "--frequency_penalty must lie in"),
        ("min_new_tokens", 512, "--min_new_tokens must be below --max_completion_length"),
        ("resample_zero_variance", -1, "--resample_zero_variance must be at least 0"),
        ("micro_batch_size", 3, "--micro_batch_size 3 does not divide --batch_size 8: use 1, 2, 4, 8"),
        ("scale_rewards", "group", "dr_grpo is defined without reward scaling"),
        ("domains", (), "--domains must name at least one domain"),
        ("domains", ("ferry", "ferry"), "--domains names a domain twice"),
        ("alarm_thresholds", ("kl=1", "kl=2"), "--alarm_thresholds names kl twice"),
        ("base_model", " ", "--base_model must not be empty, got ' '"),
        ("output_dir", "", "--output_dir must not be empty, got ''"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_flag(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize("spec", settings(), ids=lambda spec: spec.name)
def test_every_setting_says_what_may_be_done_with_it_and_its_default_is_allowed(spec: Any) -> None:
    nature = nature_of(spec)
    assert nature.on_resume in OnResume and isinstance(nature.by_card, bool)
    assert kind_of(spec) in KINDS and len(nature.help) >= 10
    check_alone(spec, spec.default)
    if nature.on_resume is PER_LAUNCH:
        assert not nature.by_card  # a model does not say where to write
    for choice in nature.choices:
        check_alone(spec, choice)
    if nature.choices:
        with pytest.raises(ConfigError, match=f"{flag_of(spec.name)} must be one of"):
            check_alone(spec, "no such choice")
    if kind_of(spec) in ("int", "float"):
        with pytest.raises(ConfigError, match=f"{flag_of(spec.name)} must .*, got nan"):
            check_alone(spec, float("nan"))


def test_a_setting_without_a_nature_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="on_resume"):
        setting(1, "a group")  # type: ignore[call-arg]


def test_a_checkpoint_may_not_fall_between_two_uses_of_the_same_completions() -> None:
    with pytest.raises(ConfigError, match="--save_steps 5 must be a multiple of --num_iterations 2"):
        TrainingConfig(num_iterations=2, save_steps=5)
    assert TrainingConfig(num_iterations=2, save_steps=6).save_steps == 6


def test_rloo_with_a_kl_term_has_no_groups_without_an_advantage() -> None:
    with pytest.raises(ConfigError, match="--algorithm rloo puts the KL term into it: set --beta 0"):
        TrainingConfig(algorithm="rloo", resample_zero_variance=1)
    assert TrainingConfig(algorithm="rloo", resample_zero_variance=1, beta=0.0).beta == 0


def test_the_first_layer_that_names_a_setting_wins_and_is_recorded() -> None:
    config = resolve(
        [
            ("command line", {"max_steps": 5}),
            ("environment", {"max_steps": 6, "beta": 0.5}),
            ("planner.json", {"max_steps": 7, "beta": 0.6, "temperature": 1}),
        ]
    )
    assert (config.max_steps, config.beta, config.temperature, config.batch_size) == (5, 0.5, 1.0, 8)
    assert config.sources["max_steps"] == "command line"
    assert config.sources["beta"] == "environment"
    assert config.sources["temperature"] == "planner.json"
    assert config.sources["batch_size"] == BUILT_IN
    assert set(config.sources) == {spec.name for spec in settings()}


def test_a_wrong_name_or_kind_in_a_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="planner.json: there is no setting 'learnig_rate'; did you mean 'learning_rate'"):
        resolve([("planner.json", {"learnig_rate": 1e-4})])
    with pytest.raises(ConfigError, match="planner.json: max_steps must be of kind int, got '5'"):
        resolve([("planner.json", {"max_steps": "5"})])
    with pytest.raises(ConfigError, match="planner.json: max_steps must be of kind int, got True"):
        resolve([("planner.json", {"max_steps": True})])
    with pytest.raises(ConfigError, match="planner.json: max_steps must have a value"):
        resolve([("planner.json", {"max_steps": None})])
    with pytest.raises(ConfigError, match="planner.json: learning_rate is beyond every number of kind float"):
        resolve([("planner.json", {"learning_rate": 10**400})])
    with pytest.raises(ConfigError, match="planner.json: reward must be of kind"):
        resolve([("planner.json", {"reward": ["dense", 1]})])


def test_a_config_file_holds_values_of_their_kind(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    for name, value in (("base_model", None), ("base_model", ["a"]), ("resume_from_checkpoint", 5), ("output_dir", True)):
        file.write_text(json.dumps({name: value}))
        with pytest.raises(ConfigError, match=f"{file}: {name} must"):
            read_config_file(str(file))


def test_what_settings_mean_for_each_other_names_where_they_came_from() -> None:
    layers: list[tuple[str, dict[str, Any]]] = [
        ("command line", {"loss_type": "dr_grpo", "save_steps": 50}),
        ("environment", {"num_iterations": 3}),
    ]
    with pytest.raises(ConfigError, match=r"exactly \(--num_iterations is from environment\)$"):
        resolve(layers)
    with pytest.raises(ConfigError, match=r"\(--scale_rewards is from a/planner.json\)$"):
        resolve([layers[0], ("a/planner.json", {"scale_rewards": "group"})])
    with pytest.raises(ConfigError, match=r"^--batch_size must be at least 1, got 0 \(from environment\)$"):
        resolve([("environment", {"batch_size": 0})])
    config = resolve([("environment", {"test_data": "nowhere"})])
    with pytest.raises(DataError, match=r"^--test_data nowhere: no such folder \(--test_data is from environment\)$"):
        with config.sources_named():
            raise DataError("--test_data nowhere: no such folder")


def test_the_settings_survive_json() -> None:
    config = TrainingConfig(domains=("ferry", "spanner"), test_data="x")
    again = resolve([("saved", json.loads(json.dumps(config.as_dict())))])
    assert again == config


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_steps", "12", 12),
        ("learning_rate", "2e-5", 2e-5),
        ("domains", "ferry, spanner", ("ferry", "spanner")),
        ("use_wandb", "False", False),
        ("base_model", "a/b", "a/b"),
    ],
)
def test_text_becomes_a_value_of_the_settings_kind(name: str, text: str, value: Any) -> None:
    assert convert(name, text, "here") == value


def test_text_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="here must be a whole number, got '1.5'"):
        convert("max_steps", "1.5", "here")
    with pytest.raises(ConfigError, match="here must be true or false, got 'maybe'"):
        convert("use_wandb", "maybe", "here")


def test_the_environment_names_settings(tmp_path: Path) -> None:
    found = read_environment({"GRPO_LEARNING_RATE": "2e-5", "GRPO_USE_WANDB": "no", "GRPO_NOPE": "1", "WANDB_PROJECT": "p"})
    assert dict(found.values) == {"learning_rate": 2e-5, "use_wandb": False, "wandb_project": "p"}
    assert found.unknown == ("GRPO_NOPE",)
    with pytest.raises(ConfigError, match="environment variable GRPO_MAX_STEPS must be a whole number, got 'x'"):
        read_environment({"GRPO_MAX_STEPS": "x"})


def test_wandb_is_offline_unless_somebody_is_logged_in(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert read_environment(home).wandb_mode == "offline"
    assert read_environment({**home, "WANDB_API_KEY": "k"}).wandb_mode == "online"
    assert read_environment({**home, "WANDB_MODE": "online"}).wandb_mode == "offline"
    assert read_environment({**home, "WANDB_API_KEY": "k", "WANDB_MODE": "offline"}).wandb_mode == "offline"
    assert read_environment({**home, "WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}).wandb_mode == "disabled"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert read_environment(home).wandb_mode == "online"
    assert read_environment({**home, "WANDB_BASE_URL": "https://elsewhere"}).wandb_mode == "offline"
    with pytest.raises(ConfigError, match="WANDB_MODE must be one of"):
        read_environment({"WANDB_MODE": "sideways"})
    with pytest.raises(ConfigError, match="wandb mode must be"):
        EnvironmentConfig(wandb_mode="maybe")


def test_a_model_is_a_folder_or_a_hub_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate_model(str(tmp_path)) == str(tmp_path.resolve())
    assert locate_model("unsloth/Qwen2.5-7B-Instruct-bnb-4bit") == "unsloth/Qwen2.5-7B-Instruct-bnb-4bit"
    assert locate_model("gpt2") == "gpt2"
    for wrong in ("data/models/no-such", "/no/such", "./no-such", "a/b/c", "a//b"):
        with pytest.raises(ModelError, match="no such folder"):
            locate_model(wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="has no config.json"):
        locate_model(str(tmp_path / "empty"))
    with pytest.raises(ModelError, match="is a file"):
        locate_model(str(tmp_path / "config.json"))


def test_a_model_card_may_set_how_to_train_and_nothing_else(tmp_path: Path) -> None:
    card = tmp_path / "planner.json"
    assert read_model_card(str(tmp_path)) == {}
    card.write_text('{"grpo_defaults": {"batch_size": 24}}')
    assert model_defaults(read_model_card(str(tmp_path)), str(tmp_path)) == {"batch_size": 24}
    card.write_text('{"grpo_defaults": {"output_dir": "/"}}')
    with pytest.raises(ModelError, match="grpo_defaults may not hold 'output_dir'"):
        model_defaults(read_model_card(str(tmp_path)), str(tmp_path))
    card.write_text("{broken")
    with pytest.raises(ModelError, match="planner.json cannot be read"):
        read_model_card(str(tmp_path))


def test_every_setting_has_a_flag_and_a_help_text() -> None:
    names = [spec.name for spec in settings()]
    assert len(names) > 30
    assert len({flag_of(name) for name in names}) == len(names)
