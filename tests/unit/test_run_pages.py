"""The commands of docs/resume.md and docs/report.md, as they stand there, on a run that was cut off after its first step."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import bash_commands

pytest.importorskip("torch")


@pytest.mark.slow
def test_a_run_goes_on_and_becomes_pages_by_the_commands_of_the_guide(
    repository: Path, tiny_planner: Path, data_root: Path, test_data_root: Path, tmp_path: Path
) -> None:
    def run(script: str, *words: str) -> str:
        arguments = []
        for word in words:  # a pattern as the shell would fill it in
            arguments += sorted(map(str, tmp_path.glob(word))) if "*" in word else [word]
        command = [sys.executable, str(repository / "script" / script), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    train = "train_grpo_unsloth_stl_v2.py"
    small = (
        "--max_steps 2 --save_steps 1 --batch_size 4 --num_generations 2 --max_completion_length 8 --eval_samples 2 --no_wandb"
    )
    data = ["--base_model", str(tiny_planner), "--data_root", str(data_root), "--test_data", str(test_data_root)]
    run(train, *data, *small.split(), "--output_dir", "outputs/my-run")
    folder = tmp_path / "outputs" / "my-run"
    weights = (folder / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(folder / "checkpoint-2")
    shutil.rmtree(folder / "model")
    resume = bash_commands(repository / "docs" / "resume.md")[0]
    assert resume[:2] == ["python", f"script/{train}"]
    assert "Going on from step 1" in run(train, *resume[2:])
    assert (folder / "model" / "model.safetensors").read_bytes() == weights

    for name in ("my_run", "a", "b"):
        shutil.copytree(folder, tmp_path / "outputs" / name)
    run("evaluate.py", "--planner", "--data_root", str(test_data_root), "--output", "results/planner.json")
    found = bash_commands(repository / "docs" / "report.md")
    assert len(found) >= 4
    for words in found:
        assert words[:2] == ["python", "script/report.py"]
        run("report.py", *words[2:])
    assert "<title>my_run</title>" in (tmp_path / "outputs" / "my_run" / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "compared.html").stat().st_size > 10_000
    assert list((tmp_path / "figures").glob("*.png"))
    table = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert table.index("A* search") < table.index("my_run, after")
