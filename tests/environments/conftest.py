"""`make test-llm`: what environments/ offers to other frameworks, under those frameworks, in .venv-environments."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import ROOT, serving
from tests.unit.conftest import stand_in  # noqa: F401 - a fixture

TRANSFORMERS = ROOT / ".venv-llm" / "bin" / "transformers"
PLANNER = Path("data") / "models" / "tiny-planner"


def marks(package: str) -> list[pytest.MarkDecorator]:
    """Of a module whose tests need a framework."""
    missing = importlib.util.find_spec(package) is None
    return [pytest.mark.llm, pytest.mark.skipif(missing, reason=f"needs {package}: make test-llm")]


@pytest.fixture(scope="session")
def served_planner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of transformers' own server with the shipped planner, greedy in float32 unless it is asked otherwise."""
    if not TRANSFORMERS.exists():
        pytest.skip("needs .venv-llm: make test-llm")
    command = (TRANSFORMERS, "serve", PLANNER, "--device", "cpu", "--dtype", "float32")
    with serving(command, tmp_path_factory.mktemp("server") / "server.log", {"OMP_NUM_THREADS": "1"}) as base_url:
        yield base_url


def block_of(heading: str, language: str) -> str:
    """The one block of a language under a heading of docs/integrations.md."""
    page = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    (block,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(block)


def what_a_block_prints(heading: str, base_url: str, folder: Path) -> str:
    """Runs a block's commands in `folder`, where data/ is, and asks another server. Raises AssertionError where one fails."""
    (folder / "data").symlink_to(ROOT / "data")
    commands = block_of(heading, "bash").replace("http://127.0.0.1:8000/v1", base_url)
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run = subprocess.run(
        ["bash", "-ec", commands], cwd=folder, env=os.environ | path, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-3000:]
    return run.stdout
