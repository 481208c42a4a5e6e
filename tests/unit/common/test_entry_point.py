"""What stands around the main of every script: mistakes in one line, and output that cannot end the work."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grpo_project.common.entry_point import entry_point, leave_dead_streams, write_what_it_can
from grpo_project.errors import DataError

LINES = "🔧 同步长度配置: prompt 8  # lengths, ≤ 9\n"


def test_every_script_goes_through_it(repository: Path) -> None:
    scripts = sorted((repository / "script").glob("*.py"))
    assert len(scripts) > 15
    assert [path.name for path in scripts if "\n@entry_point(" not in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_character_that_a_stream_cannot_write_becomes_a_sign(encoding: str, errors: str) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, errors=errors)
    write_what_it_can(stream)
    print(LINES, "\ud800", end="", file=stream, flush=True)
    shown = written.getvalue().decode(encoding)
    assert "prompt 8  # lengths, " in shown and shown.endswith("\n ?")
    assert ("同步" in shown) == (encoding == "utf-8")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("rows.jsonl:3: no problem"), "error: rows.jsonl:3: no problem\n"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "error: the output cannot be written or read: No space left on device\n",
        ),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "error: a/b cannot be written or read: Not a directory\n"),
        (KeyboardInterrupt(), "stopped. Go on.\n"),
    ],
)
def test_a_mistake_is_one_line(error: BaseException, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    @entry_point("stopped. Go on.")
    def main(argv: list[str] | None = None) -> int:
        raise error

    assert main([]) == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(("output", "told"), [("/dev/full", "error: the output cannot be written or read: No space"), (None, "")])
def test_output_that_is_full_or_not_read_ends_without_a_traceback(output: str | None, told: str, repository: Path) -> None:
    code = (
        "from grpo_project.common.entry_point import entry_point\n"
        "main = entry_point()(lambda argv=None: print('x' * 100_000) or 0)\n"
        "raise SystemExit(main())\n"
    )
    command = [sys.executable, "-c", code]
    if output is None:  # `| head`
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(output, os.O_WRONLY)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=repository, check=False)
    os.close(writer)
    assert done.returncode == 2 and done.stderr.startswith(told) and done.stderr.count("\n") == bool(told)


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    @entry_point()
    def main(argv: list[str] | None = None) -> int:
        raise OSError(errno.EBADF, "Bad file descriptor")

    with pytest.raises(OSError, match="Bad file descriptor"):
        main([])


def _terminal() -> tuple[int, int]:
    return os.openpty()


def _pipe() -> tuple[int, int]:
    return os.pipe()


@pytest.mark.parametrize("make", [_terminal, _pipe])
def test_output_that_nobody_can_read_any_more_goes_nowhere(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = make()
    stream = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    leave_dead_streams()
    print("heard", flush=True)
    assert os.read(reader, 100).startswith(b"heard")
    os.close(reader)
    with pytest.raises(OSError):
        print("lost", flush=True)
    leave_dead_streams()
    print("unheard", flush=True)
    stream.close()
