"""The notebook is valid and clean, and its cells run from top to bottom on a CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "planning_grpo.ipynb"
# What a kernel does, without one: every code cell in turn, in one namespace.
KERNEL = """
import json, sys
names = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
"""


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return found


def test_it_is_a_notebook_of_format_4_without_outputs(notebook: dict[str, Any]) -> None:
    """The required keys of nbformat 4.5, and no others."""
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len(notebook["cells"]) >= 10
    for cell in notebook["cells"]:
        of_code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | of_code
        assert cell["cell_type"] in ("code", "markdown") and re.fullmatch(r"[\w-]{1,64}", cell["id"])
        assert cell["source"] and all(line.endswith("\n") for line in cell["source"][:-1])
        if of_code:
            assert (cell["execution_count"], cell["outputs"]) == (None, [])
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert NOTEBOOK.stat().st_size < 20_000


def test_it_gives_the_memory_and_the_links_of_the_front_page(notebook: dict[str, Any], repository: Path) -> None:
    text = "".join(line for cell in notebook["cells"] for line in cell["source"])
    (model, memory) = re.findall(r'`"(unsloth/[^"]+)"`, by estimate ([\d.]+ GiB)', text)[0]
    front_page = (repository / "README.md").read_text(encoding="utf-8")
    assert f"--base_model {model} " in front_page and f"\n{memory} by the suite's own estimate" in front_page
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links and [link for link in links if not (NOTEBOOK.parent / link).exists()] == []


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(repository: Path, tmp_path: Path) -> None:
    """Two small steps of the planner that ships, which solves some held-out problems before any."""
    pytest.importorskip("matplotlib", reason="the curves need matplotlib (requirements-cpu.txt)")
    run = tmp_path / "run"
    settings = {
        "NOTEBOOK_STEPS": "2",
        "NOTEBOOK_EVAL_SAMPLES": "4",
        "NOTEBOOK_RUN": str(run),
        "GRPO_BATCH_SIZE": "4",
        "GRPO_NUM_GENERATIONS": "4",
        "GRPO_LOGGING_STEPS": "1",
        "GRPO_MAX_EVAL_SAMPLES": "2",
    }
    command = [sys.executable, "-c", KERNEL, str(NOTEBOOK)]
    done = subprocess.run(
        command, cwd=NOTEBOOK.parent, env={**os.environ, **settings}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-3000:])
    shown = done.stdout
    assert "step 2/2" in shown
    assert len(re.findall(r"^\| (?:blocksworld|ferry|grippers|spanner) +\| +\d/4 \|.*\| +\d/4 \|", shown, re.MULTILINE)) == 8
    verdicts = re.findall(r"^ *\d+  (\w+) +(\S+) +(\w+)$", shown, re.MULTILINE)
    assert {domain for domain, _, _ in verdicts} == {"blocksworld", "ferry", "grippers", "spanner"}
    replayed = shown.split("\ngoal: ")[1].split("\nverdict: ")[0]
    steps = re.findall(r"^ *(\d+)\. \(.+\) +\d+ of \d+ goals$", replayed, re.MULTILINE)
    assert [int(step) for step in steps] == list(range(1, len(steps) + 1)) and len(steps) >= 3
    assert "*(" in replayed
    assert {path.name for path in (run / "figures").glob("*.png")} >= {"success_by_domain.png", "course.png"}
    assert f"{run}/figures/course.png" in shown
    assert "opens in any browser" in shown and (run / "report.html").stat().st_size > 10_000
    assert not (repository / "notebooks" / "outputs").exists()
