"""script/obfuscate_data.py: the same files for the same seed, and nobody else's rows are overwritten."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.rows import read_rows

SCRIPT = Path(__file__).resolve().parents[3] / "script" / "obfuscate_data.py"


@pytest.fixture(scope="module")
def main() -> Any:
    spec = importlib.util.spec_from_file_location("obfuscate_data", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_seed_fixes_the_files_and_another_gives_others(main: Any, make_data_root: Any, tmp_path: Path) -> None:
    source = make_data_root(domains=("ferry", "spanner"), count=4)
    for name, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        assert main(["--data_root", str(source), "--seed", seed, "--out", str(tmp_path / name)]) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    one, two = (read_rows(tmp_path / name, None, "error") for name in ("one", "two"))
    assert len(one) == len(two) == 8
    assert all(a.problem != b.problem for a, b in zip(one.rows, two.rows, strict=True))


def test_rows_of_another_origin_are_left_alone(
    main: Any, make_data_root: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = make_data_root(domains=("ferry",), count=2), tmp_path / "out"
    assert main(["--data_root", str(source), "--seed", "1", "--out", str(out)]) == 0
    before = contents(out)
    assert main(["--data_root", str(source), "--seed", "1", "--out", str(out)]) == 0
    assert main(["--data_root", str(source), "--seed", "2", "--out", str(out)]) == 2
    assert "another seed" in capsys.readouterr().err
    assert contents(out) == before


def test_a_folder_that_is_not_there_is_named(main: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data_root", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    assert "nowhere" in capsys.readouterr().err
