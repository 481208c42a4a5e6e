"""Saving from inside a Trainer: whole or absent, also when the disk is full; and leaving on a signal."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.errors import ModelError  # noqa: E402
from grpo_project.runs import checkpoint, states  # noqa: E402
from grpo_project.runs.checkpoint import newest_good, survey  # noqa: E402
from grpo_project.runs.run_folder import RunFolder  # noqa: E402
from grpo_project.runs.states import RunStates  # noqa: E402
from grpo_project.training import launch  # noqa: E402
from grpo_project.training.records import save_model  # noqa: E402
from grpo_project.training.run import train  # noqa: E402
from grpo_project.training.trainer import TransactionalSaving  # noqa: E402


class HuggingFaceTrainer:
    """What TransactionalSaving needs of the Trainer below it. `fail`: raised in the middle of writing."""

    def __init__(self, run: Path) -> None:
        self.args = SimpleNamespace(output_dir=str(run))
        self.state = SimpleNamespace(global_step=0)
        self.accelerator = SimpleNamespace(is_main_process=True, num_processes=1)
        self.fail: Exception | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return self.args.output_dir

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_bytes(b"w" * 100)
        if self.fail is not None:
            raise self.fail
        (folder / "trainer_state.json").write_text("{}")


class Trainer(TransactionalSaving, HuggingFaceTrainer):
    pass


def save(trainer: Trainer, step: int) -> None:
    trainer.state.global_step = step
    trainer._save_checkpoint(None, None)


def names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


def test_a_checkpoint_holds_the_states_and_old_ones_go(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    trainer.checkpoint_limit = 2
    trainer.states = RunStates({"run_state": SimpleNamespace(state_dict=lambda: {"at": trainer.state.global_step})})
    for step in (2, 4, 6):
        save(trainer, step)
    assert names(tmp_path) == ["checkpoint-4", "checkpoint-6"]
    assert json.loads((tmp_path / "checkpoint-6" / "run_state.json").read_text()) == {"at": 6}
    assert all(found.good for found in survey(tmp_path))


def _full_hash_disk(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Any, value: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_json_atomically", full)


DISASTERS: dict[str, Callable[[Trainer, pytest.MonkeyPatch], Any]] = {
    "full while writing": lambda trainer, patch: setattr(trainer, "fail", OSError(errno.ENOSPC, "No space left on device")),
    "full inside torch": lambda trainer, patch: setattr(trainer, "fail", RuntimeError("PytorchStreamWriter failed writing")),
    "full at the manifest": _full_hash_disk,
    "state fails": lambda trainer, patch: patch.setattr(
        states, "write_json_atomically", lambda *_: (_ for _ in ()).throw(OSError("No space left"))
    ),
}


@pytest.mark.parametrize("disaster", DISASTERS)
def test_a_full_disk_costs_that_checkpoint_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, disaster: str
) -> None:
    trainer = Trainer(tmp_path)
    trainer.checkpoint_limit = 1
    trainer.states = RunStates({"run_state": SimpleNamespace(state_dict=dict)})
    save(trainer, 2)
    with monkeypatch.context() as patch:
        DISASTERS[disaster](trainer, patch)
        save(trainer, 4)
    assert names(tmp_path) == ["checkpoint-2"] and newest_good(tmp_path) == tmp_path / "checkpoint-2"
    assert "the checkpoint of step 4 could not be written" in caplog.text and "checkpoint-2 stays the one" in caplog.text
    trainer.fail = None
    save(trainer, 6)
    assert names(tmp_path) == ["checkpoint-6"]


def test_a_full_disk_at_the_end_names_the_checkpoint_that_holds_the_weights(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    def half_a_model(aside: Path) -> None:
        aside.mkdir()
        (aside / "model.safetensors").write_bytes(b"w")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ModelError, match=r"No space left on device. There is no checkpoint to save it from$"):
        save_model(folder, half_a_model)
    save(Trainer(tmp_path), 2)
    with pytest.raises(ModelError, match=r"checkpoint-2 holds the weights.* --resume_from_checkpoint auto$") as caught:
        save_model(folder, half_a_model)
    assert "\n" not in str(caught.value) and names(tmp_path) == ["checkpoint-2"]
    save_model(folder, lambda aside: (aside.mkdir(), (aside / "config.json").write_text("{}")))
    assert names(tmp_path) == ["checkpoint-2", "model"] and names(folder.model) == ["config.json"]


def test_a_mistake_of_ours_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    trainer.fail = KeyError("typo")
    with pytest.raises(KeyError):
        save(trainer, 2)
    assert not survey(tmp_path)


# -- whole runs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(data_root: Path, tiny_planner: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "base_model": str(tiny_planner),
        "data_root": str(data_root),
        "output_dir": str(tmp_path / "run"),
        "batch_size": 4,
        "num_generations": 2,
        "max_steps": 6,
        "max_completion_length": 8,
        "logging_steps": 2,
        "save_steps": 2,
        "eval_samples": 0,
        "use_wandb": False,
        "beta": 0.0,
    }


def schedule(step: int, max_steps: int) -> dict[str, float]:
    return {"easy": 1.0, "medium": 0.0, "hard": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_saves_and_says_how_to_go_on(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    run = Path(settings["output_dir"])
    monkeypatch.setattr(sys, "argv", ["script/train.py"])
    config = TrainingConfig(**{**settings, "save_steps": 100, "max_steps": 100_000})

    def interrupt() -> None:
        while not (run / "metrics.jsonl").exists():
            time.sleep(0.02)
        signal.raise_signal(number) if threading.current_thread() is threading.main_thread() else signal.pthread_kill(
            threading.main_thread().ident or 0, number
        )

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert train(config, schedule) == status
    thread.join()
    saved = newest_good(run)
    assert saved is not None
    error = capsys.readouterr().err
    assert "Stopping after this step, with a checkpoint. Ctrl-C again stops at once." in error
    assert f"Go on from step {saved.name.removeprefix('checkpoint-')}" in error
    assert f"script/train.py --output_dir {run} --resume_from_checkpoint auto" in error
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.slow
def test_wandb_goes_on_with_the_run_and_changes_nothing_else(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    from grpo_project.tracking.wandb_journal import STEP_AXIS, read_points

    without = {**settings, "output_dir": str(tmp_path / "without")}
    assert train(TrainingConfig(**without), schedule) == 0
    assert train(TrainingConfig(**{**settings, "use_wandb": True}), schedule) == 0
    run = Path(settings["output_dir"])
    again = launch.resolve_settings({"resume_from_checkpoint": str(run / "checkpoint-4")})
    assert train(again, schedule) == 0
    wandb.teardown()

    run_id = json.loads((run / "checkpoint-6" / "tracking_state.json").read_text())["wandb"]["run_id"]
    files = sorted((run / "wandb").glob(f"offline-run-*/run-{run_id}.wandb"))
    points = [point for file in files for point in read_points(file)]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(files) == 2 and [point[STEP_AXIS] for point in points] == [1, 2, 4, 6] == [line["step"] for line in lines]
    assert [point["reward"] for point in points] == [line["reward"] for line in lines]
    weights = [(Path(folder) / "model" / "model.safetensors").read_bytes() for folder in (run, without["output_dir"])]
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_run_whose_output_lacks_characters_ends_as_any_other(settings: dict[str, Any], repository: Path, encoding: str) -> None:
    """Its lines have an emoji and Chinese; a cluster's locale may be C or POSIX."""
    settings |= {"max_steps": 1, "save_steps": 1}
    flags = [f"--{name}={value}" for name, value in settings.items() if name != "use_wandb"]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": encoding}
    command = [sys.executable, "script/train_grpo_unsloth_stl_v2.py", *flags, "--no_wandb"]
    done = subprocess.run(command, cwd=repository, env=os.environ | locale, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"lengths in tokens" in done.stdout and b"Trained model: " in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("hangup_heard")
@pytest.mark.parametrize("heard", [True, False])
def test_a_run_whose_terminal_closes_saves_a_checkpoint_or_goes_on_where_it_is_told_not_to_hear(
    settings: dict[str, Any], repository: Path, heard: bool
) -> None:
    settings |= {"max_steps": 100_000 if heard else 20, "save_steps": 100_000, "logging_steps": 1}
    flags = [f"--{name}={value}" for name, value in settings.items() if name != "use_wandb"]
    master, slave = os.openpty()
    command = [sys.executable, "script/train_grpo_unsloth_stl_v2.py", *flags, "--no_wandb"]
    if not heard:  # as under nohup, setsid or disown
        command = ["sh", "-c", """trap "" HUP; exec "$@" """, "sh", *command]
    process = subprocess.Popen(command, cwd=repository, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    run = Path(settings["output_dir"])
    while not (run / "metrics.jsonl").exists():
        os.read(master, 4096)  # or the terminal would fill up
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == (128 + signal.SIGHUP if heard else 0)
    assert newest_good(run) is not None and (run / "model").exists() != heard
