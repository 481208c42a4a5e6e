"""Atomic writes leave the old file or the new one; logs survive a torn last line."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo_project.common import files
from grpo_project.errors import ConfigError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_replaced_whole_and_nothing_stays_aside(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.txt"
    files.write_text_atomically(path, "first ≤\n")
    files.write_text_atomically(path, "second\r\n")
    assert path.read_bytes() == b"second\r\n"
    assert names(path.parent) == ["state.txt"]


def test_a_pipe_or_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """As root, --output /dev/null would else leave a file there."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write_text_atomically(pipe, "read")
    assert os.read(reader, 9) == b"read" and pipe.is_fifo() and names(tmp_path) == ["pipe"]
    os.close(reader)


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "state.json"
    files.write_json_atomically(path, {"step": 1})

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(KeyboardInterrupt):
        files.write_json_atomically(path, {"step": 2})
    assert json.loads(path.read_text()) == {"step": 1}
    assert names(tmp_path) == ["state.json"]


def test_a_disk_that_refuses_is_told_by_the_name_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match=f"Read-only file system: '{tmp_path}/page.html'"):
        files.write_text_atomically(tmp_path / "page.html", "x")


def test_the_new_content_is_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), replace(old, new)))
    files.write_bytes_atomically(tmp_path / "a", b"x")
    assert calls == ["fsync", "replace", "fsync"]


def test_the_mode_of_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_text("old")
    path.chmod(0o751)
    files.write_text_atomically(path, "new")
    assert path.stat().st_mode & 0o777 == 0o751


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}])
def test_state_with_nan_is_refused_and_the_file_untouched(tmp_path: Path, value: object) -> None:
    path = tmp_path / "state.json"
    with pytest.raises(ValueError, match="JSON"):
        files.write_json_atomically(path, value)
    assert not path.exists()


def test_json_keeps_order_and_takes_numpy_numbers_and_paths(tmp_path: Path) -> None:
    files.write_json_atomically(tmp_path / "a.json", {"z": np.float64(0.5), "a": np.int64(3), "p": Path("x/y"), "s": {2, 1}})
    text = (tmp_path / "a.json").read_text()
    assert list(json.loads(text).items()) == [("z", 0.5), ("a", 3), ("p", "x/y"), ("s", [1, 2])]
    assert text.endswith("}\n")
    with pytest.raises(TypeError, match="object cannot be written"):
        files.write_json_atomically(tmp_path / "b.json", object())


def test_lines_are_appended_and_nan_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    files.append_json_line(path, {"step": 1, "loss": math.nan, "parts": [math.inf, 2.0], "n": np.float32("nan")})
    files.append_json_line(path, {"step": 2, "text": "two\nlines ≤"})
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "loss": None, "parts": [None, 2.0], "n": None},
        {"step": 2, "text": "two\nlines ≤"},
    ]


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    files.append_json_line(path, {"step": 3})
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2, "lo\n{"step": 3}\n'


text = st.text(alphabet=st.characters(exclude_categories=["Cs"]))  # half a surrogate pair has no UTF-8
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(value=st.dictionaries(text, values, max_size=3))
def test_any_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: dict[str, object]) -> None:
    folder = tmp_path_factory.mktemp("json")
    files.write_json_atomically(folder / "a", value)
    files.append_json_line(folder / "b", value)
    assert json.loads((folder / "a").read_text(encoding="utf-8")) == value
    assert json.loads((folder / "b").read_bytes()) == value


@settings(max_examples=40, deadline=None)
@given(st.lists(text, max_size=4), st.booleans())
def test_lines_are_read_as_they_were_appended(tmp_path_factory: pytest.TempPathFactory, texts: list[str], torn: bool) -> None:
    path = tmp_path_factory.mktemp("lines") / "log.jsonl"
    path.touch()
    for one in texts:
        files.append_json_line(path, {"text": one})
    if torn:
        path.write_bytes(path.read_bytes() + b'{"te')
    found = files.read_lines(path)
    assert [json.loads(line)["text"] for line in found[: len(texts)]] == texts
    assert found[len(texts) :] == ([b'{"te'] if torn else [])


def test_a_full_disk_names_the_file() -> None:
    with pytest.raises(OSError) as caught:
        files.append_json_line("/dev/full", {"row": 1})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")


def test_a_folder_is_one_process_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    folder = tmp_path / "deep" / "own"
    with files.alone_in(folder):
        (folder / "kept").touch()
        with pytest.raises(ConfigError, match="own is in use by another process"), files.alone_in(folder):
            raise AssertionError("two at once")
    with files.alone_in(folder):
        assert names(folder) == ["kept"]  # and no file of a lock


def test_who_waits_for_workers_of_a_killed_process_gets_the_folder(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    release = threading.Timer(0.3, os.close, [descriptor])
    release.start()
    with files.alone_in(tmp_path):
        release.join()


def test_a_new_folder_that_stayed_empty_goes_and_an_old_one_stays(tmp_path: Path) -> None:
    for folder in (tmp_path / "new", tmp_path):
        with pytest.raises(ZeroDivisionError), files.alone_in(folder):
            raise ZeroDivisionError
    assert tmp_path.exists() and not (tmp_path / "new").exists()
