"""Where the PDDL files of rows are found: beside the data, under further folders, by other systems' paths; nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_project.data.origin import Origin
from grpo_project.data.rows import read_rows, rows_without_files, stream_rows
from grpo_project.errors import ConfigError, DataError
from tests.sample_rows import a_row, problem_text, write


def place(root: Path, name: str, seed: int = 1) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(problem_text("ferry", seed), encoding="utf-8")
    return path


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An empty data root, and an empty folder elsewhere; the working directory is neither."""
    for name in ("data/rows", "elsewhere/files", "here"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "data" / "rows", tmp_path / "elsewhere" / "files"


@pytest.mark.parametrize(
    ("named", "there"),
    [
        ("pddl3/ferry/grpo_500/p1.pddl", "pddl3/ferry/grpo_500/p1.pddl"),
        ("pddl3/ferry/grpo_500/p1.pddl", "ferry/grpo_500/p1.pddl"),
        ("pddl3/ferry/grpo_500/p1.pddl", "p1.pddl"),
        ("p1.pddl", "pddl3/ferry/grpo_500/p1.pddl"),
        ("grpo_500/p1.pddl", "pddl3/ferry/grpo_500/p1.pddl"),
        ("/home/somebody/pddl3/ferry/p1.pddl", "ferry/p1.pddl"),
        ("C:\\data\\ferry\\p1.pddl", "ferry/p1.pddl"),
        ("ferry\\p1.pddl", "all/ferry/p1.pddl"),
        ("Ferry/P1.PDDL", "ferry/p1.pddl"),
        ("./ferry/p1.pddl", "FERRY/p1.pddl"),
    ],
)
def test_a_problem_root_has_the_file_whatever_leads_to_it(roots: tuple[Path, Path], named: str, there: str) -> None:
    data_root, elsewhere = roots
    file = place(elsewhere, there)
    assert Origin(data_root, (elsewhere,)).find(named, "ferry") == file
    assert Origin(data_root).find(named, "ferry") is None


def test_another_folders_file_of_the_same_name_is_not_taken(roots: tuple[Path, Path]) -> None:
    data_root, elsewhere = roots
    place(elsewhere, "ferry/test/p1.pddl")
    assert Origin(data_root, (elsewhere,)).find("ferry/train/p1.pddl", "ferry") is None


def test_several_files_that_fit_are_told_apart_by_the_domain_or_named(roots: tuple[Path, Path]) -> None:
    data_root, elsewhere = roots
    own = place(elsewhere, "ferry/p1.pddl")
    place(elsewhere, "spanner/p1.pddl")
    origin = Origin(data_root, (elsewhere,))
    assert origin.find("p1.pddl", "ferry") == own
    with pytest.raises(DataError, match=r"p1\.pddl may be any of 2 files under .*: name a --problem_root with one of them"):
        origin.find("p1.pddl", "logistics")


def test_nearer_places_come_first_and_several_roots_in_their_order(roots: tuple[Path, Path], tmp_path: Path) -> None:
    data_root, elsewhere = roots
    other = tmp_path / "other"
    places = [place(folder, "ferry/p1.pddl") for folder in (data_root.parent, Path.cwd(), other, elsewhere, data_root)]
    origin = Origin(data_root, (elsewhere, other))
    for file in (places[4], places[3], places[2], places[1], places[0]):
        found = origin.find("ferry/p1.pddl", "ferry")
        assert found is not None and found.samefile(file)
        file.unlink()
    assert Origin(data_root, (elsewhere, other)).find("ferry/p1.pddl", "ferry") is None


def test_rows_say_where_their_files_were_looked_for_and_what_to_do(roots: tuple[Path, Path]) -> None:
    data_root, elsewhere = roots
    path = write(data_root, "ferry", [a_row("ferry", meta__problem_pddl=None, meta__problem_file="ferry/p1.pddl")])
    (bad,) = rows_without_files(read_rows(data_root, validate_pddl=False).rows)
    places = f"{data_root}, {Path.cwd()} nor {data_root.parent}"
    assert str(bad) == (
        f"{path}:1: problem file 'ferry/p1.pddl' is neither under {places}, and the row has "
        "no problem_pddl text: name its folder with --problem_root"
    )
    place(elsewhere, "pddl3/ferry/p1.pddl")
    assert [row.problem_text for row in stream_rows(Origin.of(data_root, [str(elsewhere)]))] == [problem_text("ferry", 1)]
    table = read_rows(Origin.of(data_root, [str(elsewhere)]), on_bad_row="error")
    assert table.rows[0].problem_text == problem_text("ferry", 1) and rows_without_files(table.rows) == []


def test_roots_and_patterns_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--problem_root .*nowhere: no such folder"):
        Origin.of(tmp_path, [str(tmp_path / "nowhere")])
    with pytest.raises(ConfigError, match=r"--difficulty_pattern 'p\(' is no regular expression"):
        Origin.of(tmp_path, (), "p(")
    with pytest.raises(ConfigError, match="--difficulty_pattern 'p1' has no group"):
        Origin.of(tmp_path, (), "p1")
