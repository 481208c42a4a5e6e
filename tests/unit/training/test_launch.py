"""What a continued run may change: every setting is walked, changed, and asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpo_project.configs.environment import EnvironmentConfig
from grpo_project.configs.setting import FIXED, FREE, PER_LAUNCH, kind_of, nature_of
from grpo_project.configs.settings import flag_of, settings
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError, GrpoProjectError
from grpo_project.runs.checkpoint import RUN_STATE_FORMAT, begin, commit
from grpo_project.training.launch import resolve_settings, starting_point

# Where one value more or the other switch would contradict another setting.
OTHERS: dict[str, Any] = {
    "batch_size": 16,
    "micro_batch_size": 2,
    "num_iterations": 4,
    "save_steps": 200,
    "max_seq_length": 9999,
    "scale_rewards": "batch",
    "loss_type": "bnpo",
    "reward": ("sparse",),
    "reward_bands": "goal_not_satisfied=-0.5:-0.1",
    "report_to": ("none",),
    "alarm_thresholds": ("kl=0.5",),
    "resume_from_checkpoint": None,
    "config_file": None,
    "output_dir": None,
    "length_allocation_strategy": "balanced",
}


def another(spec: Any) -> Any:
    """A value that differs from the run's, and that the setting allows."""
    if spec.name in OTHERS:
        return OTHERS[spec.name]
    nature, kind, value = nature_of(spec), kind_of(spec), getattr(CONFIG, spec.name)
    if nature.choices:
        return next(choice for choice in nature.choices if choice != value)
    if kind == "bool":
        return not value
    if kind == "int":
        return (value if value is not None else max(0, int(max(nature.least, 0)))) + 1
    if kind == "float":
        return value / 2 if value else 0.5
    return ("ferry",) if kind.startswith("tuple") else "another"


CONFIG = TrainingConfig(loss_type="grpo", scale_rewards="group", max_seq_length=4096, num_iterations=2, lora_rank=4)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = begin(tmp_path / "run", 1)
    saved = {**CONFIG.as_dict(), "output_dir": str(tmp_path / "run")}
    (folder / "run_state.json").write_text(json.dumps({"format": RUN_STATE_FORMAT, "settings": saved, "fingerprints": {}}))
    return commit(tmp_path / "run", 1)


def rewrite(checkpoint: Path, settings: dict[str, Any]) -> None:
    """Other settings in a checkpoint that is whole."""
    state = json.loads((checkpoint / "run_state.json").read_text())
    (checkpoint / "run_state.json").write_text(json.dumps({**state, "settings": settings}))
    (checkpoint / "manifest.json").unlink()
    begin(checkpoint.parent, 1).rmdir()
    checkpoint.rename(checkpoint.parent / ".checkpoint-1.partial" / "checkpoint-1")
    commit(checkpoint.parent, 1)


@pytest.mark.parametrize("spec", [spec for spec in settings() if nature_of(spec).on_resume is FIXED], ids=lambda spec: spec.name)
def test_a_fixed_setting_keeps_its_value_and_another_one_is_refused_by_its_flag(spec: Any, checkpoint: Path) -> None:
    given = {"resume_from_checkpoint": str(checkpoint), spec.name: another(spec)}
    if spec.name == "length_allocation_strategy":
        given["max_seq_length"] = CONFIG.max_seq_length
    with pytest.raises(ConfigError, match=f"{flag_of(spec.name)} is .*, but the run being continued has .*: leave it out"):
        resolve_settings(given)
    same = getattr(CONFIG, spec.name)
    if same is not None:
        assert getattr(resolve_settings({"resume_from_checkpoint": str(checkpoint), spec.name: same}), spec.name) == same
    assert getattr(resolve_settings({"resume_from_checkpoint": str(checkpoint)}), spec.name) == same


@pytest.mark.parametrize("spec", [spec for spec in settings() if nature_of(spec).path], ids=lambda spec: spec.name)
def test_a_path_may_be_written_in_another_way(spec: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkpoint.parent)
    (checkpoint.parent / "folder").mkdir()
    several = str(spec.type).startswith("tuple")
    first, second = (("folder",), ("./folder",)) if several else ("folder", "./folder")
    rewrite(checkpoint, {**CONFIG.as_dict(), spec.name: first})
    resolve_settings({"resume_from_checkpoint": str(checkpoint), spec.name: second})
    other = ("elsewhere",) if several else "elsewhere"
    with pytest.raises(ConfigError, match=f"{flag_of(spec.name)} is elsewhere"):
        resolve_settings({"resume_from_checkpoint": str(checkpoint), spec.name: other})


@pytest.mark.parametrize("spec", [spec for spec in settings() if nature_of(spec).on_resume is FREE], ids=lambda spec: spec.name)
def test_a_free_setting_is_the_checkpoints_unless_another_is_given(spec: Any, checkpoint: Path) -> None:
    value = another(spec)
    assert value != getattr(CONFIG, spec.name)
    kept = resolve_settings({"resume_from_checkpoint": str(checkpoint)})
    assert getattr(kept, spec.name) == getattr(CONFIG, spec.name)
    assert getattr(resolve_settings({"resume_from_checkpoint": str(checkpoint), spec.name: value}), spec.name) == value


def test_what_is_asked_of_one_launch_is_never_taken_from_a_checkpoint(checkpoint: Path) -> None:
    given = {"wandb_continuity": "fork", "force_new_wandb_run": True, "config_file": "gone.json"}
    rewrite(checkpoint, {**CONFIG.as_dict(), "output_dir": str(checkpoint.parent), **given})
    config = resolve_settings({"resume_from_checkpoint": str(checkpoint)})
    names = [spec.name for spec in settings() if nature_of(spec).on_resume is PER_LAUNCH]
    assert set(names) == {"output_dir", "resume_from_checkpoint", "config_file", "wandb_continuity", "force_new_wandb_run"}
    assert config.wandb_continuity == "continue" and not config.force_new_wandb_run and config.config_file is None
    assert config.output_dir == str(checkpoint.parent) and config.resume_from_checkpoint == str(checkpoint)


def test_a_setting_that_the_checkpoint_lacks_is_named_and_not_taken_from_its_default(checkpoint: Path) -> None:
    kept = CONFIG.as_dict()
    del kept["max_steps"], kept["reward"], kept["logging_steps"]
    rewrite(checkpoint, kept)
    with pytest.raises(
        ConfigError, match="run_state.json has no max_steps, reward among its settings: it is damaged, or another"
    ):
        resolve_settings({"resume_from_checkpoint": str(checkpoint)})


def test_a_path_that_is_not_there_names_its_source(tmp_path: Path) -> None:
    for name in ("resume_from_checkpoint", "base_model"):
        with pytest.raises(GrpoProjectError, match=rf"nowhere.*\(--{name} is from environment\)$"):
            resolve_settings({}, EnvironmentConfig(values={name: str(tmp_path / "nowhere")}))


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "/root", ".."])
def test_the_name_of_a_run_leads_nowhere_else(name: str, tiny_planner: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--run_name {name} names a folder in outputs/ and must be a plain name"):
        starting_point(TrainingConfig(base_model=str(tiny_planner), run_name=name))
    start = starting_point(TrainingConfig(base_model=str(tiny_planner), run_name=name, output_dir=str(tmp_path / "run")))
    assert start.output_dir == tmp_path / "run"


def test_a_run_that_died_before_its_first_checkpoint_says_that_it_begins_again(
    tiny_planner: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "resolved_config.json").write_text("{}")
    asked = TrainingConfig(base_model=str(tiny_planner), output_dir=str(tmp_path), resume_from_checkpoint="auto")
    assert starting_point(asked).checkpoint is None
    assert f"{tmp_path} has no checkpoint: the run begins at step 0" in caplog.text
