"""`make test-llm`: what environments/ offers to other frameworks, under those frameworks, in .venv-environments."""

from __future__ import annotations

import importlib.util
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
