"""The main script from the outside: help, flags, precedence, and what bad input looks like."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from grpo_project.configs.training import BUILT_IN
from grpo_project.core.checkpoint import begin, commit
from grpo_project.errors import ConfigError, ModelError

GUIDE_FLAGS = (
    "--base_model --data_root --domains --output_dir --batch_size --gradient_accumulation_steps --max_steps --learning_rate "
    "--beta --temperature --num_generations --save_steps --logging_steps --use_gradient_checkpointing --no_4bit --wandb_project "
    "--run_name --no_wandb --seed --resume_from_checkpoint"
).split()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "script" / "train_grpo_unsloth_stl_v2.py"
    spec = importlib.util.spec_from_file_location("train_grpo_script", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """Looks like a model as far as can be told without loading it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "planner.json").write_text(
        json.dumps({"prompt_style": "compact", "grpo_defaults": {"batch_size": 24, "beta": 0.5}})
    )
    return folder


def test_help_takes_less_than_a_second_and_loads_nothing_heavy(script: ModuleType, repository: Path) -> None:
    heavy = {"torch", "transformers", "trl", "numpy", "wandb", "datasets"}
    code = (
        "import runpy, sys; sys.argv = ['train', '--help']\n"
        f"try: runpy.run_path({script.__file__!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository, timeout=60, check=True)
    assert time.monotonic() - began < 1.0
    assert done.stdout.rstrip().endswith("[]")
    assert [flag for flag in GUIDE_FLAGS if flag not in done.stdout] == []


def test_the_guides_commands_are_understood(script: ModuleType) -> None:
    command = (
        "--base_model /jfan5/sft_models/qwen3_14b --data_root /jfan5/grpo_data/five_domain_0109 --output_dir out "
        "--batch_size 16 --gradient_accumulation_steps 2 --max_steps 2000 --learning_rate 5e-6 --beta 0.01 --save_steps 100 "
        "--use_gradient_checkpointing --wandb_project pddl-grpo-v2 --run_name qwen3-14b-curriculum-long"
    )
    given = script.parse_flags(command.split())
    assert given["use_gradient_checkpointing"] is True
    assert (given["batch_size"], given["learning_rate"], given["max_steps"]) == (16, 5e-6, 2000)
    assert script.parse_flags(["--no_4bit", "--no_wandb", "--domains", "ferry,", "spanner"]) == {
        "load_in_4bit": False,
        "use_wandb": False,
        "domains": ("ferry", "spanner"),
    }
    assert script.parse_flags([]) == {}


def test_the_schedule_is_the_guides(script: ModuleType) -> None:
    at = [tuple(script.get_curriculum_weights(step, 1000).values()) for step in (0, 299, 300, 699, 700, 999)]
    assert at == [(0.7, 0.25, 0.05)] * 2 + [(0.4, 0.4, 0.2)] * 2 + [(0.2, 0.4, 0.4)] * 2


def test_the_schedule_in_the_script_is_the_one_that_is_used(
    script: ModuleType, data_root: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grpo_project.training import trainer
    from grpo_project.training.preparation import prepare

    seen: list[Any] = []
    monkeypatch.setattr(trainer, "train", lambda config, weights: seen.append(prepare(config, weights)) or 0)
    monkeypatch.setattr(script, "get_curriculum_weights", lambda step, max_steps: {"easy": 0.0, "medium": 0.0, "hard": 1.0})
    flags = ["--base_model", str(model_folder), "--data_root", str(data_root), "--output_dir", str(tmp_path / "out")]
    assert script.main([*flags, "--max_steps", "3", "--batch_size", "4", "--eval_samples", "0"]) == 0
    (prepared,) = seen
    assert prepared.weights == [{"easy": 0.0, "medium": 0.0, "hard": 1.0}] * 3
    drawn = {bucket for plan in prepared.planner.plans(3) for bucket in plan.buckets}
    assert "easy" not in drawn and "hard" in drawn
    assert "lambda step, max_steps" in prepared.schedule_source
    assert not (tmp_path / "out").exists()


def test_the_control_draws_every_problem_equally_often(data_root: Path, model_folder: Path, tmp_path: Path) -> None:
    from grpo_project.configs.training import TrainingConfig
    from grpo_project.training.preparation import prepare

    config = TrainingConfig(
        base_model=str(model_folder),
        data_root=str(data_root),
        curriculum="uniform",
        max_steps=2,
        eval_samples=0,
        output_dir=str(tmp_path / "out"),
    )
    prepared = prepare(config, lambda step, max_steps: {"easy": 1.0, "medium": 0.0, "hard": 0.0})
    plan = prepared.planner.plan(0)
    for domain, statistics in prepared.buckets.statistics.items():
        assert plan.domain_weights[domain] == pytest.approx({name: statistics.share(name) for name in statistics.counts})


def test_command_line_beats_environment_beats_the_models_card_beats_the_default(
    script: ModuleType, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grpo_project.training.preparation import resolve_settings

    monkeypatch.setenv("GRPO_BETA", "0.25")
    monkeypatch.setenv("GRPO_MAX_STEPS", "11")
    config = resolve_settings(script.parse_flags(["--base_model", str(model_folder), "--max_steps", "7"]))
    assert (config.max_steps, config.beta, config.batch_size, config.save_steps) == (7, 0.25, 24, 100)
    assert [config.sources[name] for name in ("max_steps", "beta", "save_steps")] == ["command line", "environment", BUILT_IN]
    assert config.sources["batch_size"].endswith("planner.json")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_checkpoint(run: Path, step: int, settings: Mapping[str, Any] | None = None) -> Path:
    """A whole checkpoint as far as can be told without loading it."""
    folder = begin(run, step)
    for name in ("trainer_state.json", "optimizer.pt", "scheduler.pt"):
        (folder / name).write_text("precious")
    (folder / "run_state.json").write_text(json.dumps({"settings": dict(settings or {}), "fingerprints": {}}))
    return commit(run, step)


def _break_empty(root: Path) -> None:
    (root / "ferry.jsonl").write_text("")


def _break_json(root: Path) -> None:
    with open(root / "ferry.jsonl", "a") as file:
        file.write('{"prompt": "x", \n')


def _break_problem(root: Path) -> None:
    meta = {"scenario": "ferry", "problem_file": "ferry-l4-c2-s1.pddl", "problem_pddl": "(define (problem"}
    with open(root / "ferry.jsonl", "a") as file:
        file.write(json.dumps({"prompt": "x", "meta": meta}) + "\n")


def _break_nothing(root: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "flags", "message"),
    [
        (_break_nothing, ["--data_root", "no/such/root"], "no/such/root does not exist"),
        (_break_empty, [], "no row left for ferry"),
        (_break_json, ["--on_bad_row", "error"], "ferry.jsonl:13: broken JSON"),
        (_break_problem, ["--on_bad_row", "error"], "ferry.jsonl:13"),
        (_break_nothing, ["--base_model", "no/such/model"], "--base_model no/such/model: no such folder"),
        (_break_nothing, ["--output_dir", "USED"], "already holds a run with a checkpoint at step 5. Go on with it by"),
        (_break_nothing, ["--max_steps", "0"], "--max_steps must be at least 1, got 0"),
        (_break_nothing, ["--max_steps", "many"], "--max_steps must be a whole number, got 'many'"),
        (_break_nothing, ["--learning_rate", "-1"], "--learning_rate must lie above 0"),
        (_break_nothing, ["--temperature", "nan"], "--temperature must lie above 0"),
        (_break_nothing, ["--batch_size", "10"], "sizes that work: 4, 8, 12, 16"),
        (_break_nothing, ["--domains", "ferry", "chess"], "chess"),
        (_break_nothing, ["--bogus", "1"], "unrecognized arguments: --bogus 1"),
        (_break_nothing, ["--reward", "shiny"], "--reward must be one of dense, banded, sparse"),
        (_break_nothing, ["--resume_from_checkpoint", "no/such"], "--resume_from_checkpoint no/such: no such folder"),
        (_break_nothing, ["--test_data", "no/such"], "--test_data no/such: no such folder"),
    ],
)
def test_bad_input_ends_in_one_line_and_leaves_the_disk_alone(
    script: ModuleType,
    make_data_root: Callable[..., Path],
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_data_root()
    spoil(root)
    used = tmp_path / "used"
    write_checkpoint(used, 5)
    (used / "resolved_config.json").write_text("{}")
    before = _files(tmp_path)
    flags = [str(used) if flag == "USED" else flag for flag in flags]
    given = ["--base_model", str(model_folder), "--data_root", str(root), "--eval_samples", "2", "--no_wandb"]
    status = script.main([*given, *flags])
    error = capsys.readouterr().err
    assert status == 2
    assert message in error
    assert "Traceback" not in error
    assert error.count("\n") == 1, error
    assert _files(tmp_path) == before


def test_a_mistake_is_told_before_torch_is_loaded(
    script: ModuleType, make_data_root: Callable[..., Path], model_folder: Path
) -> None:
    flags = ["--base_model", str(model_folder), "--data_root", str(make_data_root()), "--batch_size", "10"]
    code = f"import runpy, sys; sys.argv = ['train', *{flags!r}]\ntry: runpy.run_path({script.__file__!r}, run_name='__main__')\n"
    code += "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["2", "False"], done.stderr


# -- continuing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped_run(tmp_path: Path, data_root: Path, model_folder: Path) -> Path:
    """A run folder with a checkpoint at step 4, made with --beta 0.125."""
    from grpo_project.configs.training import TrainingConfig

    run = tmp_path / "run"
    config = TrainingConfig(base_model=str(model_folder), data_root=str(data_root), beta=0.125, domains=("ferry", "spanner"))
    write_checkpoint(run, 4, config.as_dict())
    return run


def test_a_continued_run_takes_its_settings_from_the_run(stopped_run: Path) -> None:
    from grpo_project.training.preparation import resolve_settings

    for flags in (
        {"resume_from_checkpoint": "auto", "output_dir": str(stopped_run)},
        {"resume_from_checkpoint": str(stopped_run / "checkpoint-4"), "beta": 0.125, "logging_steps": 3},
    ):
        config = resolve_settings(flags)
        assert config.beta == 0.125 and config.domains == ("ferry", "spanner")
        assert config.output_dir == str(stopped_run)
        assert config.resume_from_checkpoint == str(stopped_run / "checkpoint-4")
        assert config.sources["batch_size"] == "the run being continued"


def test_what_would_make_it_another_run_is_refused_by_name(stopped_run: Path, tmp_path: Path) -> None:
    from grpo_project.training.preparation import resolve_settings

    again = {"resume_from_checkpoint": str(stopped_run / "checkpoint-4")}
    with pytest.raises(ConfigError, match=r"--beta is 0.5 \(command line\), but the run being continued has 0.125"):
        resolve_settings({**again, "beta": 0.5})
    with pytest.raises(ConfigError, match="--domains is"):
        resolve_settings({**again, "domains": ("ferry",)})
    with pytest.raises(ConfigError, match="is not the folder of the run being continued"):
        resolve_settings({**again, "output_dir": str(tmp_path / "elsewhere")})


def test_a_model_that_is_not_there_is_told_while_settings_are_resolved(tmp_path: Path) -> None:
    from grpo_project.training.preparation import resolve_settings

    with pytest.raises(ModelError, match="no such folder"):
        resolve_settings({"base_model": str(tmp_path / "none")})
