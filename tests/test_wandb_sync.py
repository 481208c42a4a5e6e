"""W&B sync: no point is lost, doubled or dropped, whatever the server does. Also a plain script: python tests/test_wandb_sync.py

The client is the real one. Offline, its own files are read back; online it talks to a server of ours on this machine, which
can be down, broken, slow, or refuse the key.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

pytest.importorskip("wandb")

from wandb_server import WandbServer  # noqa: E402

from grpo_project.errors import ConfigError  # noqa: E402
from grpo_project.tracking import wandb_journal  # noqa: E402
from grpo_project.tracking import wandb_sync as wandb_sync_manager  # noqa: E402
from grpo_project.tracking.wandb_journal import STEP_AXIS, Journal, read_points, server_count  # noqa: E402
from grpo_project.tracking.wandb_run_id import FoundRun, RunChoice  # noqa: E402
from grpo_project.tracking.wandb_sync import (  # noqa: E402
    WandbSyncManager,
    get_wandb_sync_manager,
    initialize_wandb_sync_manager,
    safe_wandb_log,
    sync_folder_to_wandb,
)

KEY = "0123456789" * 4
RUN = "run1"
Manager = Callable[..., WandbSyncManager]


@pytest.fixture(autouse=True)
def fresh_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import wandb

    monkeypatch.setattr(wandb_sync_manager, "_manager", None)
    monkeypatch.setattr(wandb_journal, "ASK_SECONDS", 3.0)
    yield
    wandb.teardown()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    server = WandbServer()
    monkeypatch.setattr(wandb_sync_manager, "INIT_SECONDS", 8.0)  # some of these servers never answer
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield server
    server.stop()


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    def make(mode: str = "online", resume: str = "allow", run_id: str = RUN, **how: Any) -> WandbSyncManager:
        choice = how.pop("choice", None) or RunChoice(run_id, resume)
        how = {"finish_seconds": 120.0, "retry_seconds": 0.3, **how}
        return WandbSyncManager(tmp_path, "p", "name", mode=mode, choice=choice, **how)

    return make


def log(manager: WandbSyncManager, *steps: int) -> float:
    """Seconds that the longest call took."""
    longest = 0.0
    for step in steps:
        began = time.monotonic()
        manager.log({"loss": 1.0 / step, "success": {"ferry": 0.5}}, step)
        longest = max(longest, time.monotonic() - began)
    return longest


def offline_points(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    return [point for file in files for point in read_points(file)]


# -- offline, with W&B's own files ------------------------------------------------------------------------------------


def test_offline_files_hold_every_point_on_our_own_axis(manager: Manager, tmp_path: Path) -> None:
    first = manager("offline")
    log(first, 1, 2, 3)
    assert first.log({"eval_avg_test_pass_rate": 0.5}, 3)  # other names at the same step are another point
    first.close()
    points = offline_points(tmp_path)
    assert [point[STEP_AXIS] for point in points] == [1, 2, 3, 3]
    assert points[1]["success/ferry"] == 0.5 and points[1]["_trainer_step"] == 2
    assert points[3]["eval_avg_test_pass_rate"] == 0.5
    status = first.get_sync_status()
    assert status["points"] == status["confirmed"] == 4 and status["finished"]
    assert json.loads((tmp_path / "wandb_sync_state.json").read_text())["run_id"] == RUN


def test_figures_are_summed_up_as_they_are_pooled(manager: Manager, tmp_path: Path) -> None:
    from wandb.proto.wandb_internal_pb2 import Record

    first = manager("offline")
    log(first, 1)
    first.close()
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    records = [Record.FromString(content) for content in wandb_journal._records(file.read_bytes())]
    made = {one.metric.name or one.metric.glob_name: one.metric for one in records if one.WhichOneof("record_type") == "metric"}
    assert made["grad_norm_max"].summary.max and not made["grad_norm_max"].summary.mean
    assert made["completion_length_min"].summary.min
    for name in ("reward", "seconds_per_step/*"):
        assert made[name].summary.mean and made[name].summary.last and made[name].step_metric == STEP_AXIS
    assert not {"learning_rate", "curriculum/stage", "cells", "cells/*"} & set(made)


def test_a_resumed_offline_run_shares_the_id_and_repeats_nothing(manager: Manager, tmp_path: Path) -> None:
    first = manager("offline")
    log(first, 1, 2, 3, 4)
    first.close()
    second = manager("offline", "must")  # from a checkpoint at step 2
    log(second, 3, 4, 5, 6)
    second.close()
    points = offline_points(tmp_path)
    assert [point[STEP_AXIS] for point in points] == [1, 2, 3, 4, 5, 6]
    assert [point["_step"] for point in points] == [0, 1, 2, 3, 4, 5]
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


def test_what_a_kill_took_from_the_offline_file_comes_again(manager: Manager, tmp_path: Path) -> None:
    code = (
        "import sys, os, signal\n"
        "from grpo_project.tracking.wandb_run_id import RunChoice\n"
        "from grpo_project.tracking.wandb_sync import WandbSyncManager\n"
        f"m = WandbSyncManager({str(tmp_path)!r}, 'p', mode='offline', choice=RunChoice({RUN!r}, 'allow'))\n"
        "for step in range(1, 40): m.log({'loss': 1.0 / step}, step)\n"
        "import time; time.sleep(float(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "0.9"], cwd=REPOSITORY, env=os.environ)
    assert done.returncode == -9
    second = manager("offline", "must")
    for step in range(30, 45):
        second.log({"loss": 1.0 / step}, step)
    second.close()
    points = sorted(offline_points(tmp_path), key=lambda point: point["_step"])
    assert [point[STEP_AXIS] for point in points] == list(range(1, 45))
    assert [point["_step"] for point in points] == list(range(44))


def test_a_torn_offline_file_gives_its_whole_points(manager: Manager, tmp_path: Path) -> None:
    first = manager("offline")
    log(first, *range(1, 30))
    first.close()
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    content = file.read_bytes()
    (tmp_path / "torn").write_bytes(content[: len(content) // 2])
    steps = [point[STEP_AXIS] for point in read_points(tmp_path / "torn")]
    assert steps and steps == list(range(1, steps[-1] + 1)) and steps[-1] < 29


@pytest.mark.slow
def test_wandbs_own_sync_reads_all_segments(manager: Manager, server: WandbServer, tmp_path: Path) -> None:
    for steps in ((1, 2, 3), (3, 4, 5)):
        segment = manager("offline", "must")
        log(segment, *steps)
        segment.close()
        time.sleep(1.1)  # W&B orders segments by the second in which they began
    folders = [str(folder) for folder in (tmp_path / "wandb").glob("offline-run-*")]
    environment = {**os.environ, "WANDB_MODE": "online"}
    command = [sys.executable, "-m", "wandb", "sync", "--yes", *folders]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert server.points(RUN, STEP_AXIS) == [1, 2, 3, 4, 5]


# -- online -----------------------------------------------------------------------------------------------------------


def test_online_a_resumed_run_goes_on_where_the_server_is(manager: Manager, server: WandbServer, tmp_path: Path) -> None:
    first = manager()
    log(first, 1, 2, 3, 4)
    first.close()
    assert first.confirmed == 4 and server.points(RUN, STEP_AXIS) == [1, 2, 3, 4]
    second = manager(resume="must")
    log(second, 3, 4, 5)
    second.close()
    assert server.points(RUN, STEP_AXIS) == [1, 2, 3, 4, 5]
    assert not (tmp_path / "wandb_backup").exists()


def test_points_the_server_lost_come_again_when_the_run_goes_on(manager: Manager, server: WandbServer) -> None:
    first = manager()
    log(first, 1, 2, 3, 4)
    first.close()
    del server.lines[RUN][2:]
    second = manager(resume="must")
    log(second, 5)
    second.close()
    assert server.points(RUN, STEP_AXIS) == [1, 2, 3, 4, 5]


def test_a_run_the_server_never_saw_is_made_from_the_journal(manager: Manager, server: WandbServer) -> None:
    first = manager("offline")
    log(first, 1, 2)
    first.close()
    os.environ["WANDB_MODE"] = "online"
    second = manager(resume="must")
    log(second, 3)
    second.close()
    assert server.points(RUN, STEP_AXIS) == [1, 2, 3]


def test_a_fork_begins_with_its_parents_points_up_to_the_checkpoint(manager: Manager, server: WandbServer) -> None:
    first = manager()
    log(first, 1, 2, 3, 4)
    first.close()
    parent = FoundRun(RUN, "test", points=2)
    second = manager(choice=RunChoice("fork1", "allow", parent=parent, copy_points=2))
    log(second, 3, 4)
    second.close()
    assert server.points("fork1", STEP_AXIS) == [1, 2, 3, 4]
    assert server.points(RUN, STEP_AXIS) == [1, 2, 3, 4]


def test_a_checkpoint_taken_elsewhere_goes_on_without_its_journal(manager: Manager, server: WandbServer, tmp_path: Path) -> None:
    first = manager()
    log(first, 1, 2, 3, 4)
    first.close()
    (tmp_path / "wandb_journal").rename(tmp_path / "elsewhere")
    second = manager(choice=RunChoice(RUN, "must", found=FoundRun(RUN, "test", points=2)))
    log(second, 3, 4, 5, 6)
    second.close()
    assert server.points(RUN, STEP_AXIS) == [1, 2, 3, 4, 5, 6]
    assert second.confirmed == 6


# -- a server in trouble ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble", ["down", "broken", "expired", *(pytest.param(trouble, marks=pytest.mark.slow) for trouble in ("slow", "deleted"))]
)
def test_trouble_costs_training_nothing_and_is_repaired_later_once(
    manager: Manager, server: WandbServer, tmp_path: Path, trouble: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if trouble == "down":
        server.stop()
    else:
        server.behaviour, server.delay = trouble, 30.0
    run = manager(finish_seconds=1.0)
    assert log(run, *range(1, 6)) < 0.2
    time.sleep(0.5)
    began = time.monotonic()
    run.close()
    assert time.monotonic() - began < 15
    assert run.confirmed == 0
    backups = sorted(path.name for path in (tmp_path / "wandb_backup").iterdir())
    assert backups == [f"step_{step:06d}.json" for step in range(1, 6)]
    held = json.loads((tmp_path / "wandb_backup" / "step_000002.json").read_text())
    assert held["points"][0]["loss"] == 0.5 and held["run_id"] == RUN
    status = json.loads((tmp_path / "wandb_sync_state.json").read_text())
    assert status["points"] == 5 and status["confirmed"] == 0

    if trouble == "down":
        with pytest.raises(ConfigError, match="the W&B server cannot be asked"):
            sync_folder_to_wandb(tmp_path)
        server.start()
    server.behaviour = "ok"
    assert sync_folder_to_wandb(tmp_path)[0]["held_after"] == 5
    assert sync_folder_to_wandb(tmp_path) == [{"run_id": RUN, "points": 5, "held_before": 5, "held_after": 5}]
    assert server.points(RUN, STEP_AXIS) == [1, 2, 3, 4, 5]
    assert sorted(path.name for path in (tmp_path / "wandb_backup" / "sent").iterdir()) == backups
    written = "".join(
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".json", ".jsonl")
    )
    assert KEY not in written + "".join(capfd.readouterr())


def test_runs_of_one_folder_are_sent_to_the_project_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--wandb_continuity new or fork may take another project than the run before."""
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(wandb_sync_manager, "server_count", lambda project, entity, run_id: asked.append((project, run_id)) or 1)
    for project, run_id in (("typo", "first001"), ("right", "second02")):
        made = WandbSyncManager(tmp_path, project, mode="offline", choice=RunChoice(run_id, "allow"))
        log(made, 1)
        made.close()
    assert [run["run_id"] for run in sync_folder_to_wandb(tmp_path)] == ["first001", "second02"]
    assert asked == [("typo", "first001"), ("right", "second02")]


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle(manager: Manager, server: WandbServer, tmp_path: Path) -> None:
    run = manager(finish_seconds=2.0)
    log(run, 1, 2, 3)
    _until(lambda: run.entity is not None)
    server.stop()
    assert log(run, 4, 5, 6) < 0.2
    run.close()
    server.start()
    held = server_count("p", "me", RUN)
    assert held is not None and held < 6
    sync_folder_to_wandb(tmp_path)
    assert server.points(RUN, STEP_AXIS) == [1, 2, 3, 4, 5, 6]


def test_a_server_that_comes_back_gets_everything_during_the_run(manager: Manager, server: WandbServer) -> None:
    server.behaviour = "expired"
    run = manager()
    log(run, 1, 2, 3)
    _until(lambda: "not reached" in run.state)
    server.behaviour = "ok"
    _until(lambda: run.entity is not None)
    log(run, 4)
    run.close()
    assert server.points(RUN, STEP_AXIS) == [1, 2, 3, 4] and run.confirmed == 4


def _until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_process_ends_although_the_server_hangs(server: WandbServer, tmp_path: Path) -> None:
    server.behaviour, server.delay = "slow", 120.0
    code = (
        "from grpo_project.tracking.wandb_run_id import RunChoice\n"
        "from grpo_project.tracking.wandb_sync import WandbSyncManager\n"
        f"m = WandbSyncManager({str(tmp_path)!r}, 'p', mode='online', choice=RunChoice('r', 'allow'), finish_seconds=0.5)\n"
        "m.log({'loss': 1.0}, 1); m.close(); print('trained')\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "trained" in done.stdout
    assert time.monotonic() - began < 30


# -- the guide's functions --------------------------------------------------------------------------------------------


def test_the_guides_functions(tmp_path: Path) -> None:
    assert get_wandb_sync_manager() is None
    assert safe_wandb_log({"loss": 1.0}, 1) is False
    made = initialize_wandb_sync_manager(output_dir=str(tmp_path), project_name="p", run_name="r")
    assert get_wandb_sync_manager() is made
    assert made.get_sync_status()["mode"] == "offline"  # nobody is logged in
    assert safe_wandb_log({"loss": 1.0}, 1) is True
    assert safe_wandb_log({"loss": 1.0}, 1) is False
    assert safe_wandb_log({"loss": float("nan"), "reward": 2.0}, 100) is True
    assert made.update_step_offset(100) == -98
    made.close()
    points = offline_points(tmp_path)
    assert [point[STEP_AXIS] for point in points] == [1, 100] and "loss" not in points[1]
    assert made.get_sync_status()["step_offset"] == -98


def test_disabled_loads_and_writes_nothing(tmp_path: Path) -> None:
    off = initialize_wandb_sync_manager(tmp_path, "p", mode="disabled")
    assert not off.log({"loss": 1.0}, 1) and off.update_step_offset(5) == 0 and off.position() == {}
    off.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="nothing to send"):
        sync_folder_to_wandb(tmp_path)
    with pytest.raises(ConfigError, match="wandb mode must be"):
        WandbSyncManager(tmp_path, "p", mode="maybe")


def test_a_line_that_a_kill_cut_off_costs_that_line(tmp_path: Path) -> None:
    journal = Journal.of(tmp_path, "r")
    assert journal.add({STEP_AXIS: 1, "loss": 1.0}) and journal.add({STEP_AXIS: 2, "loss": 1.0})
    with open(journal.path, "a", encoding="utf-8") as handle:
        handle.write('{"point": {"train/glo')
    again = Journal(journal.path)
    assert len(again) == 2
    assert again.add({STEP_AXIS: 3, "loss": 1.0}) and not again.add({STEP_AXIS: 2, "loss": 5.0})
    assert not again.add({STEP_AXIS: 3, "loss": 1.0, "seconds": 2.0}) and not again.add({STEP_AXIS: 3})
    assert len(Journal(journal.path)) == 3


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider"]))
