"""What stands around the main of every script: mistakes in one line, and output that cannot end the work."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from grpo_project.common.entry_point import entry_point, write_what_it_can
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


@pytest.mark.parametrize("text", ["x" * 5000, "(and " * 5000])
def test_a_message_shows_no_text_without_end_and_keeps_what_to_do(text: str) -> None:
    said = str(DataError(f"rows.jsonl:3: no setting {text}: leave it out"))
    assert len(said) < 2000 and said.startswith("rows.jsonl:3: no setting ") and said.endswith(" leave it out")
    assert str(DataError("a" * 400)) == "a" * 400


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


@pytest.mark.parametrize("make", [os.openpty, os.pipe])
@pytest.mark.parametrize("interpreter", [[sys.executable], [sys.executable, "-u"]])
def test_work_goes_on_where_nobody_can_read_what_it_says(
    make: Callable[[], tuple[int, int]], interpreter: list[str], repository: Path, tmp_path: Path
) -> None:
    """As under nohup or setsid, where the terminal's hangup is not heard."""
    code = (
        "import signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from grpo_project.common.entry_point import entry_point\n"
        "def main(argv=None):\n"
        "    print('🔧 heard', flush=True)\n    sys.stdin.read()\n"
        "    for line in range(3):\n        print('unheard', line)\n        print('unheard', file=sys.stderr)\n"
        f"    open({str(tmp_path / 'done')!r}, 'w').close()\n    return 7\n"
        "raise SystemExit(entry_point(outlives_output=True)(main)())\n"
    )
    reader, writer = make()
    process = subprocess.Popen([*interpreter, "-c", code], stdin=subprocess.PIPE, stdout=writer, stderr=writer, cwd=repository)
    os.close(writer)
    assert "🔧 heard" in os.read(reader, 100).decode()
    os.close(reader)
    process.communicate()
    assert process.returncode == 7 and (tmp_path / "done").exists()


def test_a_file_that_cannot_be_written_is_still_told_of(repository: Path) -> None:
    code = (
        "from grpo_project.common.entry_point import entry_point\n"
        "raise SystemExit(entry_point(outlives_output=True)(lambda argv=None: print('x' * 100_000) or 0)())\n"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, cwd=repository, check=False)
    assert done.returncode == 2 and b"the output cannot be written or read: No space" in done.stderr


def test_training_outlives_its_output(repository: Path) -> None:
    names = ("train_grpo_unsloth_stl_v2", "improved_training_script", "train_sft", "self_improve", "compare_curricula")
    for name in names:
        assert ", outlives_output=True)\n" in (repository / f"script/{name}.py").read_text(encoding="utf-8"), name
