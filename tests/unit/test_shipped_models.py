"""What ships under data/models is small, says how it was made, and does what its card says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_project.common.statistics import wilson_interval

MODELS = Path(__file__).resolve().parents[2] / "data" / "models"
NAMES = sorted(path.name for path in MODELS.iterdir() if path.is_dir())
MOST_BYTES = 12_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_small_and_its_record_is_of_it(name: str) -> None:
    safetensors = pytest.importorskip("safetensors")
    weights = MODELS / name / "model.safetensors"
    assert sum(path.stat().st_size for path in (MODELS / name).iterdir()) < MOST_BYTES
    with safetensors.safe_open(weights, framework="numpy") as file:
        parameters = sum(file.get_tensor(key).size for key in file.keys())  # noqa: SIM118 (no mapping)
    stages = json.loads((MODELS / name / "training_record.json").read_text(encoding="utf-8"))["stages"]
    assert stages[-1]["parameters"] == parameters
    assert f"{parameters / 1e6:.2f} M parameters" in (MODELS / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_strong_planner_does_what_its_card_says(repository: Path, tmp_path: Path) -> None:
    """Another processor gives other last digits: each rate of the card lies in the interval of what is found here."""
    pytest.importorskip("torch")
    card = (MODELS / "strong-planner" / "README.md").read_text(encoding="utf-8").split("\ndata/test_harder,")[0]
    said = {domain: float(rate) for domain, rate in re.findall(r"^\| (\w+) \| \d+/200, ([\d.]+)% ", card, re.MULTILINE)}
    assert set(said) == {"blocksworld", "delivery", "ferry", "grippers", "spanner"}
    output = tmp_path / "result.json"
    what = ["--model", "data/models/strong-planner", "--data_root", "data/test"]
    command = [sys.executable, "script/evaluate.py", *what, "--output", str(output)]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)
    problems = json.loads(output.read_text(encoding="utf-8"))["problems"]
    for domain, rate in said.items():
        own = [problem for problem in problems if problem["domain"] == domain]
        solved = sum(problem["verdict_class"] == "success_plans" for problem in own)
        low, high = wilson_interval(solved, len(own))
        assert len(own) == 200 and low <= rate / 100 <= high, (domain, rate, solved)


@pytest.mark.slow
def test_the_planner_of_make_train_repairs_what_the_verifier_explains(repository: Path, tmp_path: Path) -> None:
    """A planner that ignores the verdict repairs a few of its failures by chance, as tiny-planner none of 73."""
    pytest.importorskip("torch")
    output = tmp_path / "result.json"
    what = ["--model", "data/models/any-names-planner", "--domains", "blocksworld", "ferry", "grippers", "spanner"]
    how = ["--samples", "50", "--repair_turns", "1", "--max_completion_length", "160", "--output", str(output)]
    subprocess.run([sys.executable, "script/evaluate.py", *what, *how], cwd=repository, check=True, capture_output=True)
    problems = json.loads(output.read_text(encoding="utf-8"))["problems"]
    failed = [problem for problem in problems if problem["verdict_class"] != "success_plans"]
    found = sum(repair["verdict_class"] == "success_plans" for problem in failed for repair in problem["repairs"])
    assert len(problems) == 200 and wilson_interval(found, len(failed))[0] > 0.15, (found, len(failed))


@pytest.mark.slow
def test_the_planner_that_reads_domains_plans_under_words_that_it_never_met(repository: Path, tmp_path: Path) -> None:
    """Under symbols that are drawn for every problem anew, so that no word can help it."""
    pytest.importorskip("torch")
    output = tmp_path / "result.json"
    what = ["--model", "data/models/schemas-planner", "--data_root", "data/test_obfuscated", "--domains", "blocksworld", "ferry"]
    how = ["--samples", "30", "--max_completion_length", "160", "--output", str(output)]
    subprocess.run([sys.executable, "script/evaluate.py", *what, *how], cwd=repository, check=True, capture_output=True)
    problems = json.loads(output.read_text(encoding="utf-8"))["problems"]
    solved = sum(problem["verdict_class"] == "success_plans" for problem in problems)
    assert len(problems) == 60 and wilson_interval(solved, 60)[0] > 0.2, solved
    plans = " ".join(problem["completion"] for problem in problems if problem["verdict_class"] == "success_plans")
    assert plans and not re.search(r"\b(obj|act)\d", plans), "they are saved in the problems' own words"
