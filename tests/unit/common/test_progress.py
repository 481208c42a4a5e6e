"""The progress line: what is done of what, how fast and for how long; on a terminal at once, in a file once a minute."""

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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("grpo_project.common.progress.time.monotonic", lambda: now[0])
    return now


def test_a_file_gets_a_line_a_minute_from_the_first_token_on(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine("asking m", 20, done=4, longest=1000) as line:
        for _ in range(70):  # one batch of 10, at a token a second
            clock[0] += 1.0
            line.wrote(10)
        assert capsys.readouterr().err == "asking m: 4/20, 600 tokens, 10 a second, at most 25 min 40 s left\n"
        line.advance(50)
        for _ in range(60):
            clock[0] += 1.0
            line.wrote(9)
    # 15 are left, of 115 tokens as far as the ten that were begun go, of which 1,100 are written.
    assert capsys.readouterr().err == "asking m: 5/20, 1,150 tokens, 10 a second, about 1 min 05 s left\n"


def test_time_follows_from_what_is_done(clock: list[float]) -> None:
    line = ProgressLine("asking m", 100)
    clock[0] += 10.0
    for _ in range(5):
        line.advance()
    assert line.pace() == "about 3 min 10 s left"  # an endpoint that counts no tokens
    told = ProgressLine("asking m", 100)
    clock[0] += 10.0
    for _ in range(5):
        told.advance(40)
    assert told.pace() == "200 tokens, 20 a second, about 3 min 10 s left"
