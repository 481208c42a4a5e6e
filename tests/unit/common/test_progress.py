"""The progress line: on a terminal, it says what is done of what; elsewhere nothing."""

from __future__ import annotations

import io
import sys

import pytest

from grpo_project.common.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_terminal_sees_it_and_a_file_does_not(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = stream()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressLine("asking m", 3, done=1) as line:
        line.advance()
        line.expect(7, "1 of 2 solved")
    assert ("1 of 2 solved" in shown.getvalue() and "2/9" in shown.getvalue()) == (stream is Terminal)
    assert stream is Terminal or shown.getvalue() == ""
