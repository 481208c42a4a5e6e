"""A run on data as a user's own generator writes them: a known and an unknown domain, problem files elsewhere, a merged file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.domains import get_domain  # noqa: E402
from grpo_project.evaluation.results import read_result  # noqa: E402
from grpo_project.pddl import render_problem  # noqa: E402
from grpo_project.reporting.page_data import run_data  # noqa: E402
from grpo_project.reporting.run import read_run  # noqa: E402
from grpo_project.training.run import train  # noqa: E402
from tests.sample_rows import DEPOT, depot_rows, write  # noqa: E402
from tests.thinking_model import PLAIN, write_thinking_model  # noqa: E402


def write_like_a_user(rows: Path, files: Path, first: int) -> None:
    """Rows that name files under `files`, as `pddl3/<domain>/all/<problem>.pddl`; beside them merged.jsonl and metadata.json."""
    ferry = get_domain("ferry")
    texts = {"ferry": {}, "depot": {}}
    for number in range(first, first + 4):
        sizes = {"l": 3, "c": 1 + number % 2}
        texts["ferry"][ferry.file_name(sizes, number)] = render_problem(ferry.generate(random.Random(number), sizes, False))
    for row in depot_rows(4, crates=first):
        texts["depot"][Path(row["meta"]["problem_file"]).name] = row["meta"]["problem_pddl"]
    merged: list[Any] = []
    for domain, problems in texts.items():
        folder = files / domain / "all"
        folder.mkdir(parents=True, exist_ok=True)
        (files / domain / "domain3.pddl").write_text(DEPOT if domain == "depot" else ferry.domain_pddl)
        own = []
        for name, text in problems.items():
            (folder / name).write_text(text)
            named = {"domain_file": f"pddl3/{domain}/domain3.pddl", "problem_file": f"pddl3/{domain}/all/{name}"}
            own.append({"prompt": f"Plan.\n{text}", "meta": {"scenario": domain, "problem_id": Path(name).stem, **named}})
        write(rows, domain, own)
        merged += own
    write(rows, "merged", merged)
    (rows / "metadata.json").write_text(json.dumps({"total": len(merged)}))


@pytest.mark.slow
def test_a_run_trains_reports_and_measures_it(tmp_path: Path) -> None:
    model = write_thinking_model(tmp_path / "model", PLAIN)
    (model / "planner.json").write_text(json.dumps({"prompt_style": "full"}))
    for name, first in (("train", 0), ("test", 5)):
        (tmp_path / name).mkdir()
        write_like_a_user(tmp_path / name, tmp_path / "elsewhere" / "pddl3", first)
    config = TrainingConfig(
        base_model=str(model),
        data_root=str(tmp_path / "train"),
        test_data=str(tmp_path / "test"),
        problem_root=(str(tmp_path / "elsewhere"),),
        output_dir=str(tmp_path / "run"),
        batch_size=4,
        num_generations=2,
        max_steps=1,
        max_completion_length=8,
        logging_steps=1,
        save_steps=1,
        eval_samples=2,
        eval_every_n_steps=1,
        max_eval_samples=1,
        on_anomaly="warn",
        report_to=("none",),
        beta=0.0,
    )
    assert train(config, lambda step, max_steps: {"easy": 1.0, "medium": 1.0, "hard": 1.0}) == 0
    after = read_result(tmp_path / "run" / "evaluation_after.json")
    assert after.domains == ("depot", "ferry") and [after.counts(domain=name)[1] for name in after.domains] == [2, 2]
    assert [problem.difficulty for problem in after.where(domain="depot")] == [14.0, 16.0]
    buckets = json.loads((tmp_path / "run" / "resolved_config.json").read_text())["buckets"]
    assert (buckets["depot"]["min"], buckets["depot"]["max"]) == (4.0, 10.0)
    data = run_data(read_run(tmp_path / "run"))
    assert data["traces"] and "depot" in json.dumps(data)
