"""How a run ends that does not come to its end."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from grpo_project.runs import run_folder
from grpo_project.training.endings import Ending, Stopped, disk_refused
from grpo_project.training.launch import Start


@pytest.mark.usefixtures("hangup_heard")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
def test_a_signal_outside_of_training_ends_like_ctrl_c_and_is_given_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    closed = []
    ending = Ending(Start("model", None, tmp_path), False, folder=run_folder.create(tmp_path / "run"))
    ending.cleanup.callback(lambda: closed.append("all"))
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, ending.told():
        os.kill(os.getpid(), number)
    assert stopped.value.status == 128 + number
    assert "Interrupted before the first checkpoint" in capsys.readouterr().err
    assert closed == ["all"] and signal.getsignal(number) == before


@pytest.mark.parametrize(("number", "advice"), [(errno.ENOSPC, "make room"), (errno.EROFS, "let it be written to")])
def test_a_disk_that_refuses_gets_advice_of_its_own(tmp_path: Path, number: int, advice: str) -> None:
    told = str(disk_refused(OSError(number, os.strerror(number)), None, tmp_path))
    assert told == f"{tmp_path} cannot be written to ({os.strerror(number)}): {advice}"
