"""Whole runs under every curriculum: quotas that reach the reward, decisions that survive a resume, the guard, resampling."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import varied_verdicts as varied

torch = pytest.importorskip("torch")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.curriculum import registry  # noqa: E402
from grpo_project.curriculum.manager import FixedCurriculumManager, Stage  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402
from grpo_project.training import launch  # noqa: E402
from grpo_project.training.inputs import gather_inputs  # noqa: E402
from grpo_project.training.launch import starting_point  # noqa: E402
from grpo_project.training.run import train  # noqa: E402

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]

OWN_SCHEDULE = """
def mine(step, max_steps):
    rest = {name: {"easy": 1, "medium": 1, "hard": 1} for name in ("blocksworld", "grippers", "spanner")}
    return {**rest, "ferry": {"easy": 0, "medium": 0, "hard": 1}}
"""


@pytest.fixture
def settings(data_root: Path, tiny_planner: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "base_model": str(tiny_planner),
        "data_root": str(data_root),
        "output_dir": str(tmp_path / "run"),
        "batch_size": 8,
        "num_generations": 4,
        "max_steps": 6,
        "max_completion_length": 12,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_steps": 2,
        "save_total_limit": 9,
        "eval_samples": 0,
        "use_wandb": False,
        "beta": 0.0,
    }


@pytest.fixture
def rows_seen(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Row indices of every call of the reward function, whose verdicts vary."""
    seen: list[list[int]] = []
    varied.vary_verdicts(monkeypatch.setattr, lambda rows, texts, rewards: seen.append(rows))
    # Stages that a random model passes, so that there is something to resume.
    stages = [Stage(f"s{n}", {"easy": 3 - n, "medium": n, "hard": 0}, n / 1000, 1) for n in range(3)]
    stages.append(Stage("last", {"easy": 0, "medium": 1, "hard": 1}, None, 1))
    monkeypatch.setattr(registry, "setup_fixed_curriculum_manager", lambda: FixedCurriculumManager(stages))
    return seen


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return set(first) == set(second) and all(torch.equal(first[name], second[name]) for name in first)


TRL_FIGURES = ("loss", "grad_norm", "entropy", "kl", "clip_ratio", "reward_std", "completion_length_mean")
TRL_FIGURES += ("completion_length_min", "completion_length_max", "completions_cut_off")


def _records(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what no two runs share."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # TRL's own figures are means since the last log line, and it forgets them in between.
    noise = ("seconds_per_step", "tokens_seen") + (TRL_FIGURES if records[-1]["step"] - records[-2]["step"] > 1 else ())
    return [{name: value for name, value in r.items() if name not in noise} for r in records]


def _state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "curriculum_state.json").read_text())
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "stage": {"eval_every_n_steps": 1, "max_eval_samples": 2},
    "adaptive": {"domain_weights": ("ferry=2",), "batch_size": 10, "skip_zero_variance": 2},
    "adaptive accumulated in micro-batches": {"gradient_accumulation_steps": 2, "batch_size": 4, "micro_batch_size": 2},
    "adaptive moving": {"adaptive_quotas": True, "batch_size": 16, "seed": 2},
    "frontier": {"target_pass_rate": ("0.4",), "difficulty_bands": "scores"},
    "adaptive used twice": {"num_iterations": 2, "eval_every_n_steps": 1, "max_eval_samples": 2, "max_steps": 8},
    "own": {"eval_every_n_steps": 3, "max_eval_samples": 1, "logging_steps": 3},  # checkpoints between two log lines
    "step resampled": {"resample_zero_variance": 2},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_quotas_are_exact_and_a_continued_run_is_the_uninterrupted_one(
    settings: dict[str, Any], rows_seen: list[list[int]], tmp_path: Path, variant: str
) -> None:
    settings |= {"curriculum": variant.split()[0], **VARIANTS[variant]}
    if variant == "own":
        (tmp_path / "schedules.py").write_text(OWN_SCHEDULE)
        settings["curriculum"] = f"{tmp_path / 'schedules.py'}:mine"
    assert train(TrainingConfig(**settings), varied.schedule) == 0
    whole = [list(seen) for seen in rows_seen]
    run = Path(settings["output_dir"])
    config = TrainingConfig(**{**settings, "output_dir": str(tmp_path / "other")})
    inputs = gather_inputs(config, varied.schedule, starting_point(config))
    if "resampled" not in variant:
        assert len(whole) == settings["max_steps"] // settings.get("num_iterations", 1)
        size = settings["batch_size"] * settings["num_generations"]
        quotas = {name: 4 * quota for name, quota in inputs.curriculum.planner.quotas.items()}
        kept = Counter()
        for seen in whole:
            assert len(seen) == size * settings.get("gradient_accumulation_steps", 1)
            for start in range(0, len(seen), size):
                found = Counter(inputs.data.rows.rows[row].scenario for row in seen[start : start + size])
                kept[found == quotas] += 1
                assert all(found[name] >= quota / 2 and found[name] % 4 == 0 for name, quota in quotas.items())
        assert (kept[False] > 0) == ("moving" in variant)
    first, lines, state = _weights(run / "model"), _records(run), _state(run / f"checkpoint-{settings['max_steps']}")
    if variant.startswith(("stage", "adaptive", "frontier")):  # the curriculum did decide something
        assert len(state["journal"]) > 1
    else:
        assert state["journal"] == []

    (run / "model").rename(run / "model-before")
    rows_seen.clear()
    again = launch.resolve_settings({"resume_from_checkpoint": str(run / "checkpoint-4")})
    assert train(again, varied.schedule) == 0
    assert rows_seen and rows_seen == whole[-len(rows_seen) :]
    assert _same(_weights(run / "model"), first)
    assert _records(run) == lines
    assert _state(run / f"checkpoint-{settings['max_steps']}") == state


def test_evaluating_leaves_training_bit_identical(settings: dict[str, Any], rows_seen: list[list[int]], tmp_path: Path) -> None:
    found = []
    for name, every in (("without", 0), ("with", 1)):
        changes = {"output_dir": str(tmp_path / name), "eval_every_n_steps": every, "max_eval_samples": 2, "max_steps": 3}
        assert train(TrainingConfig(**{**settings, **changes}), varied.schedule) == 0
        found.append(_weights(tmp_path / name / "model"))
    assert _same(*found)
    evaluated = [record for record in _records(tmp_path / "with") if "eval_avg_test_pass_rate" in record]
    assert [record["inference/step"] for record in evaluated] == [0, 1, 2, 3]
    last = evaluated[-1]
    assert last["curriculum/evaluation_count"] == 4
    assert last["curriculum/latest_performance"] == last["eval_avg_test_pass_rate"]
    assert set(last["eval_pass_rate_by_domain"]) == {"blocksworld", "ferry", "grippers", "spanner"}
    assert {"zero_variance_groups", "bucket_shares", "domain_shares", "reward_by_domain", "reward_by_difficulty"} <= set(last)
    assert last["_trainer_step"] == 3


def _torchrun(settings: dict[str, Any], folder: Path, name: str) -> list[list[list[int]]]:
    """A run of two processes; the rows that each one's reward saw, by rank."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, varied.__file__, str(file), str(folder / f"{name}-")],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[:4000]
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(2)]


def test_two_processes_share_exact_batches_and_go_on_exactly(settings: dict[str, Any], tmp_path: Path) -> None:
    settings |= {
        "curriculum": "adaptive",
        "eval_every_n_steps": 2,
        "max_eval_samples": 1,
        "micro_batch_size": 1,
        "max_steps": 4,
        "on_collapse": "reweight",
    }
    ranked = _torchrun(settings, tmp_path, "whole")
    run = Path(settings["output_dir"])
    config = TrainingConfig(**{**settings, "output_dir": str(tmp_path / "other")})
    inputs = gather_inputs(config, varied.schedule, starting_point(config))
    for step in range(4):
        together = ranked[0][step] + ranked[1][step]
        assert Counter(inputs.data.rows.rows[row].scenario for row in together) == dict.fromkeys(inputs.data.rows.domains, 8)
    assert ranked[0][0] + ranked[1][0] == [row for row in inputs.curriculum.planner.plan(0).row_indices for _ in range(4)]
    first, lines, state = _weights(run / "model"), _records(run), _state(run / "checkpoint-4")
    assert len(state["journal"]) > 1 and [outcome["step"] for outcome in state["evaluations"]] == [0, 2, 4]
    assert all(sum(cell[1] for cells in o["cells"].values() for cell in cells.values()) == 4 for o in state["evaluations"])

    (run / "model").rename(run / "model-before")
    again = _torchrun({"resume_from_checkpoint": str(run / "checkpoint-2")}, tmp_path, "again")
    assert again == [seen[2:] for seen in ranked]
    assert _same(_weights(run / "model"), first)
    assert _records(run) == lines
    assert _state(run / "checkpoint-4") == state


def test_a_checkpoint_without_the_curriculums_state_cannot_be_continued(
    settings: dict[str, Any], rows_seen: list[list[int]]
) -> None:
    assert train(TrainingConfig(**{**settings, "curriculum": "adaptive", "max_steps": 2}), varied.schedule) == 0
    checkpoint = Path(settings["output_dir"]) / "checkpoint-2"
    (checkpoint / "curriculum_state.json").unlink()
    with pytest.raises(ConfigError, match="curriculum_state.json is missing"):
        launch.resolve_settings({"resume_from_checkpoint": str(checkpoint)})
