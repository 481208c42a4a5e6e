"""The page of trials (trials.md) is whole: sources, words, and tests that exist and run."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS / "published" / "trials.md"
HEAD = "| source | reported | here | tests |"
OWN = "own trial"
NEEDS_MORE = ("gpu/", "llm/", "vllm_server/")  # than CI's `make test` has


class Trial(NamedTuple):
    """A row: a public thread, what was reported, what happens here, and the tests that hold it."""

    source: str
    reported: str
    here: str
    tests: tuple[str, ...]


def trials() -> list[Trial]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [line for line in lines if line != HEAD and set(line) != set("|-")]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    assert [row for row, parts in zip(rows, cells, strict=True) if len(parts) != 4 or not all(parts)] == []
    return [Trial(*words, tuple(re.findall(r"`([^`]+)`", tests))) for *words, tests in cells]


@lru_cache
def functions_in(file: str) -> frozenset[str]:
    """The test functions of a file, and none that is only a name in a text."""
    path = TESTS / file
    found = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
    return frozenset(node.name for node in found if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def test_every_row_has_a_public_source_of_its_own() -> None:
    sources = [trial.source for trial in trials() if trial.source != OWN]
    assert len(sources) >= 50 and len({source.partition("#")[0] for source in sources}) >= 8
    assert [source for source in sources if not re.fullmatch(r"[\w.-]+/[\w.-]+#[1-9]\d*", source)] == []
    assert [source for source, times in Counter(sources).items() if times > 1] == []


def test_every_test_that_the_page_names_is_there_and_runs_everywhere() -> None:
    named = {test for trial in trials() for test in trial.tests}
    assert [trial.source for trial in trials() if not trial.tests] == []
    assert sorted(test for test in named if test.partition("::")[2] not in functions_in(test.partition("::")[0])) == []
    assert sorted(test for test in named if test.startswith(NEEDS_MORE)) == []


def test_every_test_of_this_folder_is_named_by_a_row_and_most_rows_have_one() -> None:
    files = [path for path in PAGE.parent.glob("test_*.py") if path != Path(__file__)]
    here = {f"published/{path.name}::{name}" for path in files for name in functions_in(f"published/{path.name}")}
    assert len(here) > 30
    assert sorted(here - {test for trial in trials() for test in trial.tests}) == []
    assert 2 * sum(bool(here & {*trial.tests}) for trial in trials()) > len(trials())
