"""A planner that reads domains is trained on a domain that no registry knows, and sees none of its words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.evaluation.results import read_result  # noqa: E402
from grpo_project.training.run import train  # noqa: E402
from tests.sample_rows import DEPOT, depot_rows, write  # noqa: E402
from tests.unit.conftest import write_tiny_planner  # noqa: E402


@pytest.mark.slow
def test_a_run_in_neutral_symbols(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_planner(tmp_path / "model")
    (model / "planner.json").write_text(json.dumps({"prompt_style": "schemas"}))
    for name, crates in (("train", 1), ("test", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "depot.pddl").write_text(DEPOT)
        write(tmp_path / name, "depot", list(depot_rows(4, crates=crates)))
    config = TrainingConfig(
        base_model=str(model),
        data_root=str(tmp_path / "train"),
        test_data=str(tmp_path / "test"),
        output_dir=str(tmp_path / "run"),
        batch_size=2,
        num_generations=2,
        max_steps=1,
        max_completion_length=8,
        logging_steps=1,
        eval_samples=2,
        eval_every_n_steps=1,
        max_eval_samples=1,
        on_anomaly="warn",
        report_to=("none",),
        beta=0.0,
    )
    assert train(config, lambda step, max_steps: {"easy": 1.0, "medium": 1.0, "hard": 1.0}) == 0
    assert read_result(tmp_path / "run" / "evaluation_after.json").counts() == (0, 2)
    # What is kept can be validated again: domain, problem and completion are in the same words.
    kept = [json.loads(line) for line in (tmp_path / "run" / "completions.jsonl").read_text().splitlines()]
    assert kept and all("(pred" in row["problem_pddl"] and "(:action act" in row["domain_pddl"] for row in kept)
    shown = capsys.readouterr().out.split("边界附近Token: '")[1].split("<|assistant|>")[0]  # the end of a prompt
    assert "pred" in shown and "obj" in shown and not any(word in shown for word in ("crate", "truck", "stands", "at "))
