"""Which W&B run a training goes on with, and what is set and said. Also a plain script: python tests/test_wandb_resume.py"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from grpo_project.tracking.wandb_run_id import RunChoice, configure_wandb_resume, find_run  # noqa: E402


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "checkpoint-24"
    folder.mkdir(parents=True)
    return folder


def own_record(checkpoint: Path, **more: Any) -> None:
    about = {"run_id": "own00001", "project": "p", "entity": "me", "points": 12, **more}
    (checkpoint / "tracking_state.json").write_text(json.dumps({"wandb": about}))


def wandb_folder(checkpoint: Path, *names: str) -> None:
    for name in names:
        (checkpoint / "wandb" / name).mkdir(parents=True)


def trainer_state(checkpoint: Path, **state: Any) -> None:
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": 24, **state}))


def configure(checkpoint: Path | None, environ: dict[str, str], continuity: str = "continue") -> tuple[RunChoice, list[str]]:
    """The choice, and the guide's lines of what was said; each is followed by the same in English."""
    lines: list[str] = []
    choice = configure_wandb_resume(checkpoint, continuity, environ, lines.append)
    parts = [line.partition("  # ") for line in lines]
    assert all(english and english.isascii() for _, _, english in parts), lines
    return choice, [guide_line for guide_line, _, _ in parts]


# -- a new training ---------------------------------------------------------------------------------------------------


def test_a_new_training_allows_and_leaves_the_id_to_be_made() -> None:
    environ: dict[str, str] = {}
    choice, said = configure(None, environ)
    assert environ == {"WANDB_RESUME": "allow"}
    assert (choice.resume, choice.found, choice.parent) == ("allow", None, None) and choice.run_id
    assert said == ["🆕 开始新的训练会话", "🔧 设置环境变量: WANDB_RESUME=allow", "✅ WandB恢复配置完成!"]
    assert configure(None, {})[0].run_id != choice.run_id


def test_a_new_training_takes_an_id_that_was_set_by_hand() -> None:
    environ = {"WANDB_RUN_ID": "mine1234"}
    assert configure(None, environ)[0].run_id == "mine1234"
    assert environ["WANDB_RUN_ID"] == "mine1234"


def test_a_checkpoint_that_is_not_there_is_a_new_training(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    choice, said = configure(tmp_path / "checkpoint-7", environ)
    assert choice.resume == "allow" and environ == {"WANDB_RESUME": "allow"}
    assert said[0] == f"⚠️ checkpoint不存在: {tmp_path / 'checkpoint-7'}" and "🆕 开始新的训练会话" in said


# -- a resumed one ----------------------------------------------------------------------------------------------------


def test_the_guides_lines_are_said_in_its_order(checkpoint: Path) -> None:
    wandb_folder(checkpoint, "run-20250101_120000-abc123def456")
    environ: dict[str, str] = {}
    _, said = configure(checkpoint, environ)
    assert said == [
        f"🔄 检测到checkpoint恢复: {checkpoint}",
        "🔍 尝试从WandB目录提取run ID...",
        "✅ 找到WandB run ID: abc123def456",
        "🔧 设置环境变量: WANDB_RUN_ID=abc123def456",
        "🔧 设置环境变量: WANDB_RESUME=must",
        "✅ WandB恢复配置完成!",
    ]
    assert environ == {"WANDB_RUN_ID": "abc123def456", "WANDB_RESUME": "must"}


def test_the_sources_are_asked_in_order(checkpoint: Path) -> None:
    environ = {"WANDB_RUN_ID": "environ1"}

    def source() -> tuple[str, str]:
        found = find_run(checkpoint, environ, lambda line: None)
        assert found is not None
        return found.run_id, found.source

    assert source() == ("environ1", "WANDB_RUN_ID")
    trainer_state(checkpoint, log_history=[{"loss": 1.0}, {"wandb_run_id": "state001"}])
    assert source() == ("state001", "trainer_state.json")
    wandb_folder(checkpoint, "run-20250101_120000-older001", "offline-run-20250201_120000-newer001")
    assert source() == ("newer001", "checkpoint/wandb")
    own_record(checkpoint)
    assert source() == ("own00001", "the checkpoint's own record")


def test_latest_run_is_believed_before_the_clock(checkpoint: Path) -> None:
    wandb_folder(checkpoint, "run-20250101_120000-older001", "run-20250201_120000-newer001")
    (checkpoint / "wandb" / "latest-run").symlink_to("run-20250101_120000-older001")
    found = find_run(checkpoint, {}, lambda line: None)
    assert found is not None and found.run_id == "older001"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"wandb": 3}', '{"wandb": {"run_id": 5}}', '{"wandb": {"run_id": "a b; rm"}}'])
def test_a_record_that_says_nothing_usable_is_passed_over(checkpoint: Path, text: str) -> None:
    (checkpoint / "tracking_state.json").write_text(text)
    (checkpoint / "trainer_state.json").write_text(text)
    assert find_run(checkpoint, {}, lambda line: None) is None


def test_where_no_run_is_found_training_goes_on_with_allow(checkpoint: Path) -> None:
    environ = {"WANDB_RUN_ID": "not valid!"}
    choice, said = configure(checkpoint, environ)
    assert "❌ 未能找到WandB run ID" in said
    assert choice.resume == "allow" and environ == {"WANDB_RESUME": "allow"}


# -- continuity -------------------------------------------------------------------------------------------------------


def test_continue_and_offline_keep_the_run(checkpoint: Path) -> None:
    own_record(checkpoint)
    for continuity in ("continue", "offline"):
        environ: dict[str, str] = {}
        choice, _ = configure(checkpoint, environ, continuity)
        assert (choice.run_id, choice.resume) == ("own00001", "must")
        assert choice.found is not None and choice.found.points == 12 and choice.found.project == "p"
        assert environ["WANDB_RUN_ID"] == "own00001"


@pytest.mark.parametrize(("continuity", "copied"), [("fork", 12), ("new", 0)])
def test_fork_and_new_make_another_run_that_names_its_parent(checkpoint: Path, continuity: str, copied: int) -> None:
    own_record(checkpoint)
    environ = {"WANDB_RUN_ID": "own00001"}
    choice, _ = configure(checkpoint, environ, continuity)
    assert choice.run_id != "own00001" and choice.resume == "allow" and choice.copy_points == copied
    assert choice.parent is not None and choice.parent.run_id == "own00001"
    assert environ == {"WANDB_RESUME": "allow"}  # the old id must not lead W&B back


# -- the callback, with the real client -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("continuity", "same_run", "steps"),
    [("continue", True, [1, 2, 3, 4, 5]), ("fork", False, [1, 2, 3, 4, 5]), ("new", False, [3, 4, 5])],
)
def test_the_callback_goes_on_from_what_the_checkpoint_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, continuity: str, same_run: bool, steps: list[int]
) -> None:
    wandb = pytest.importorskip("wandb")
    pytest.importorskip("transformers")
    from grpo_project.callbacks.wandb import DetailedWandbCallback
    from grpo_project.tracking import wandb_sync as wandb_sync_manager
    from grpo_project.tracking.wandb_journal import STEP_AXIS, read_points

    monkeypatch.setattr(wandb_sync_manager, "_manager", None)
    monkeypatch.setenv("WANDB_RESUME", "")
    run = tmp_path / "run"
    checkpoint = run / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    first = DetailedWandbCallback(run, "p", "name", "offline", {})
    for step in (1, 2, 3, 4):
        first.record({"step": step, "loss": 1.0 / step})
        if step == 2:
            (checkpoint / "tracking_state.json").write_text(json.dumps({"wandb": first.position()}))
    first.close()
    second = DetailedWandbCallback(run, "other", "name", "offline", {}, checkpoint, continuity)
    for step in (3, 4, 5):
        second.record({"step": step, "loss": 1.0 / step})
    second.close()
    wandb.teardown()

    ids = [json.loads((checkpoint / "tracking_state.json").read_text())["wandb"]["run_id"], second.position()["run_id"]]
    assert (ids[0] == ids[1]) is same_run
    projects = {ids[0]: "p"} | ({} if same_run else {ids[1]: "other"})  # a run stays where it is
    assert second.position()["project"] == projects[ids[1]]
    assert json.loads((run / "wandb_sync_state.json").read_text())["projects"] == projects
    files = sorted((run / "wandb").glob(f"offline-run-*/run-{ids[1]}.wandb"))
    assert [point[STEP_AXIS] for file in files for point in read_points(file)] == steps


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider"]))
