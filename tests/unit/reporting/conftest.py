"""Run folders for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.report_runs import MadeRun, write_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, problems: Path) -> MadeRun:
    """Twelve of twelve steps, with both evaluations. Not to be written to."""
    return write_run(tmp_path_factory.mktemp("runs") / "finished", problems)


@pytest.fixture
def make_run(tmp_path: Path, problems: Path) -> Callable[..., MadeRun]:
    """write_run into this test's own folder."""
    return lambda name="run", **how: write_run(tmp_path / name, problems, **how)


@pytest.fixture
def bare_run(tmp_path: Path) -> Callable[..., Path]:
    """A run folder with given log lines and settings, and nothing else."""

    def write(records: Sequence[dict[str, Any]], name: str = "bare", **settings: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        (folder / "resolved_config.json").write_text(json.dumps({"settings": settings}), encoding="utf-8")
        return folder

    return write
