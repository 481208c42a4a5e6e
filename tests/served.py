"""One model asked twice by script/evaluate.py: behind a real server, and loaded here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from grpo_project.evaluation.results import ProblemResult, read_result

ROOT = Path(__file__).resolve().parents[1]


def run_script(name: str, *arguments: object) -> str:
    """What a script of this repository prints, computing in one thread. Raises AssertionError with its last words if it fails."""
    command = [sys.executable, str(ROOT / "script" / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def served_and_local(base_url: str, model: Path, folder: Path, *problems: object) -> list[tuple[ProblemResult, ProblemResult]]:
    """(answer of the server, answer of the model loaded here) for each problem that the flags in `problems` choose."""
    served, local = folder / "served.json", folder / "local.json"
    run_script("evaluate.py", "--model", model, "--output", local, *problems)
    run_script("evaluate.py", "--model", model, "--output", served, "--base_url", base_url, *problems)
    pairs = list(zip(read_result(served).problems, read_result(local).problems, strict=True))
    assert all(theirs.problem_file == ours.problem_file for theirs, ours in pairs)
    return pairs


def compare(pairs: list[tuple[ProblemResult, ProblemResult]]) -> tuple[int, int, int]:
    """(problems with equal texts, problems with equal verdicts, problems that the model loaded here solves)."""
    return (
        sum(theirs.completion == ours.completion for theirs, ours in pairs),
        sum(theirs.verdict_class == ours.verdict_class for theirs, ours in pairs),
        sum(ours.success for _, ours in pairs),
    )
