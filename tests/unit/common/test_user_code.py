"""Files of users: run once, told in one line where they fail, left as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grpo_project.common.user_code import is_user_code, load_function, source_of
from grpo_project.errors import ConfigError


def test_only_a_function_in_a_python_file_is_user_code() -> None:
    assert is_user_code("mine.py:own") and is_user_code("folder/mine.py:own=0.5")
    assert not any(map(is_user_code, ("dense", "dense=0.5", "mine.py", "mine:own")))


def test_a_file_runs_once_until_it_is_edited(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("calls = []\ndef one(): return calls\ndef two(): return calls\n")
    assert load_function(f"{file}:one", "--reward")() is load_function(f"{file}:two", "--curriculum")()
    file.write_text("def one(): return 1\n")
    os.utime(file, (0, 0))
    assert load_function(f"{file}:one", "--reward")() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]  # no compiled copy beside it


def test_files_of_the_same_name_are_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(f"def own(): return {name!r}\n")
    first, second = (load_function(f"{tmp_path / name / 'mine.py'}:own", "--reward") for name in ("a", "b"))
    assert (first(), second()) == ("a", "b")
    assert source_of(first) == "def own(): return 'a'\n"


def test_the_message_begins_with_the_flag_and_stays_on_one_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise ValueError('one\\ntwo')\n")
    with pytest.raises(ConfigError) as error:
        load_function(f"{file}:own", "--reward")
    assert str(error.value) == f"--reward {file}:own: {file} fails when it is loaded: ValueError: one"
