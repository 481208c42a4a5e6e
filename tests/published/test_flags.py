"""Flags, variables and seeds that programs of this kind misread (trials.md)."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from planners import scheduled_planner

from grpo_project.configs.environment import read_environment
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ConfigError

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "script").glob("*.py"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_of_trials", SCRIPTS[0].with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("evaluate", "--planner --sample 5"),
        ("generate_data", "--out x --coun 5"),
        ("solve", "d.pddl p.pddl --model m --attempt 3"),
        ("train_sft", "--learning 1e-4"),
        ("train_grpo_unsloth_stl_v2", "--max 5"),
    ],
)
def test_the_beginning_of_a_flag_is_no_flag(name: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    flag = line.split()[-2]
    with pytest.raises((SystemExit, ConfigError)) as ended:
        load(name).build_parser().parse_args(line.split())
    assert f"unrecognized arguments: {flag}" in f"{ended.value} {capsys.readouterr().err}"


def test_no_script_takes_the_beginning_of_a_flag() -> None:
    calls = [
        (path.name, {word.arg: ast.unparse(word.value) for word in node.keywords})
        for path in SCRIPTS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("argparse.ArgumentParser", "_Parser")
    ]
    assert len(calls) > 15 and [name for name, words in calls if words.get("allow_abbrev") != "False"] == []


@pytest.mark.parametrize(
    ("text", "meant"), [("False", False), ("false", False), ("0", False), ("no", False), ("True", True), ("1", True)]
)
def test_false_is_never_true(text: str, meant: bool) -> None:
    assert read_environment({"GRPO_USE_WANDB": text}).values == {"use_wandb": meant}
    script = load("train_grpo_unsloth_stl_v2")
    assert script.parse_flags(["--use_gradient_checkpointing", text]) == {"use_gradient_checkpointing": meant}
    with pytest.raises(ConfigError, match=f"unrecognized arguments: {text} "):  # a switch has no value at all
        script.parse_flags(["--no_wandb", text])


def test_what_is_neither_true_nor_false_is_refused_and_what_is_empty_is_not_there() -> None:
    with pytest.raises(ConfigError, match="GRPO_USE_WANDB"):
        read_environment({"GRPO_USE_WANDB": "off-line"})
    assert read_environment({"GRPO_USE_WANDB": "", "GRPO_SEED": " ", "GRPO_OUTPUT_DIR": ""}).values == {}


def test_seed_0_is_a_seed_and_every_seed_that_is_taken_lasts_to_the_last_batch() -> None:
    assert read_environment({"GRPO_SEED": "0"}).values == {"seed": 0} and TrainingConfig(seed=0).seed == 0
    drawn = []
    for seed in (0, 0, 42, 2**32 - 1):
        plans = scheduled_planner(
            seed=seed,
            bucket_rows={"ferry": {"easy": list(range(50)), "medium": [], "hard": []}},
            batch_size=4,
            weights=lambda step, total: {"easy": 1.0, "medium": 0.0, "hard": 0.0},
            max_steps=10**6,
        )
        drawn.append([plans.plan(number).row_indices for number in (0, 1, 10**6)])
    assert drawn[0] == drawn[1] and drawn[0] != drawn[2]
    for seed in (-1, 2**32):
        with pytest.raises(ConfigError, match=f"--seed .*{seed}"):
            TrainingConfig(seed=seed)
