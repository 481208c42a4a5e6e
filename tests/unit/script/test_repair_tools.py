"""The repair tools from the outside: exit status, findings with their fix, backups, and that a second run changes nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from grpo_project.configs.training import TrainingConfig
from grpo_project.curriculum.manager import setup_fixed_curriculum_manager
from grpo_project.errors import ConfigError
from grpo_project.runs.checkpoint import RUN_STATE_FORMAT, begin, commit
from grpo_project.runs.states import CURRICULUM_STATE, RunStates
from grpo_project.tracking.wandb_journal import STEP_AXIS, Journal

SCRIPTS = Path(__file__).resolve().parents[3] / "script"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PARAMETERS, CURRICULUM = load("fix_resume_parameters"), load("fix_curriculum_sync")


def curriculum_state(evaluations: int = 1) -> dict[str, Any]:
    state = setup_fixed_curriculum_manager().state_dict()
    return {
        "format": 1,
        "curriculum": "stage",
        "state": {**state, "evaluation_count": evaluations},
        "evaluations": [{}] * evaluations,
    }


def write_checkpoint(run: Path, step: int, state: dict[str, Any] | None = None, **settings: Any) -> Path:
    folder = begin(run, step)
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    about = {
        "settings": TrainingConfig(**{"curriculum": "stage", **settings}).as_dict(),
        "fingerprints": {"data": "d"},
        "format": RUN_STATE_FORMAT,
    }
    wandb = {"run_id": "own00001", "project": "p", "points": 2}
    (folder / "tracking_state.json").write_text(json.dumps({"wandb": wandb}))
    (folder / "run_state.json").write_text(json.dumps(about))
    if state is not None:
        (folder / "curriculum_state.json").write_text(json.dumps(state))
    return commit(run, step)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A healthy run with two checkpoints."""
    run = tmp_path / "run"
    run.mkdir()
    for step in (2, 4):
        write_checkpoint(run, step, curriculum_state())
    (run / "resolved_config.json").write_text(json.dumps({"settings": {}}))
    (run / "curriculum_state.json").write_text(json.dumps(curriculum_state()))
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def ask(module: ModuleType, capsys: pytest.CaptureFixture[str], *flags: object) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = module.main([str(flag) for flag in (*flags, "--json")])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, found


# -- fix_resume_parameters.py -----------------------------------------------------------------------------------------


def test_a_healthy_run_has_no_findings_and_is_not_touched(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(run)
    for place in (run, run / "checkpoint-4"):
        for flags in ((), ("--report-only",), ("--auto-fix",)):
            assert ask(PARAMETERS, capsys, "--checkpoint", place, *flags)[0] == 0
    assert ask(PARAMETERS, capsys, "--report-only")[0] == 0
    for flag in ("--diagnose", "--auto-fix"):
        assert ask(CURRICULUM, capsys, "--output_dir", run, flag)[0] == 0
    assert contents(run) == before


def test_what_cannot_be_looked_at_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert PARAMETERS.main(["--checkpoint", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert CURRICULUM.main(["--checkpoint", str(tmp_path / "none")]) == 2
    for module, flags in ((PARAMETERS, ["--auto-fix", "--report-only"]), (CURRICULUM, ["--diagnose", "--auto-fix"])):
        with pytest.raises(SystemExit) as end:
            module.main(flags)
        assert end.value.code == 2


def test_a_damaged_checkpoint_is_named_the_good_one_offered_and_nothing_deleted(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.truncate(run / "checkpoint-4" / "model.safetensors", 5)
    before = contents(run)
    status, found = ask(PARAMETERS, capsys, "--checkpoint", run / "checkpoint-4", "--auto-fix")
    (finding,) = found["findings"]
    assert status == 1 and finding["area"] == "checkpoint" and not finding["automatic"]
    assert "model.safetensors is cut off (5 of 700 bytes)" in finding["text"]
    assert str(run / "checkpoint-2") in finding["fix"]
    assert contents(run) == before


def test_files_a_crash_broke_are_repaired_once_with_a_backup(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "resolved_config.json").write_text('{"settings": {')
    whole = '{"step": 1}\n{"step": 2, "text": "one\u2028two"}\n'
    (run / "metrics.jsonl").write_text(whole + '{"ste', encoding="utf-8")
    journal = Journal.of(run, "own00001")
    for step in (1, 2):
        journal.add({STEP_AXIS: step, "loss": 1.0})
    (run / "wandb_sync_state.json").write_text("{")
    status, found = ask(PARAMETERS, capsys, "--checkpoint", run)
    assert status == 1 and [one["automatic"] for one in found["findings"]] == [True] * 3 and not found["changed"]

    status, found = ask(PARAMETERS, capsys, "--checkpoint", run, "--auto-fix")
    assert status == 0 and len(found["changed"]) == 3
    assert (run / "metrics.jsonl").read_text(encoding="utf-8") == whole
    assert (run / "metrics.jsonl.backup").read_text().endswith('{"ste')
    assert json.loads((run / "resolved_config.json").read_text())["settings"]["curriculum"] == "stage"
    state = json.loads((run / "wandb_sync_state.json").read_text())
    assert (state["run_id"], state["project"], state["points"]) == ("own00001", "p", 2)
    after = contents(run)
    assert ask(PARAMETERS, capsys, "--checkpoint", run, "--auto-fix") == (0, {**found, "changed": []})
    assert contents(run) == after


def test_settings_lengths_and_wandb_that_do_not_fit_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    write_checkpoint(run, 2, curriculum_state(), max_completion_length=2561)
    (run / "resolved_config.json").write_text(json.dumps({"settings": {}}))
    (run / "curriculum_state.json").write_text(json.dumps(curriculum_state()))
    monkeypatch.setenv("WANDB_RUN_ID", "other001")
    monkeypatch.setenv("GRPO_LERNING_RATE", "1")
    status, found = ask(PARAMETERS, capsys, "--checkpoint", run)
    texts = {one["area"]: one["text"] for one in found["findings"]}
    assert status == 1 and set(texts) == {"configuration", "lengths", "wandb"}
    assert "the model reads 1024 tokens" in texts["lengths"]  # the shipped planner
    assert "GRPO_LERNING_RATE is no setting" in texts["configuration"]
    assert "WANDB_RUN_ID is other001, but checkpoint-2 belongs to the W&B run own00001" in texts["wandb"]
    monkeypatch.setenv("GRPO_LEARNING_RATE", "fast")
    _, found = ask(PARAMETERS, capsys, "--report-only")
    assert ["must be a number" in one["text"] for one in found["findings"]] == [True]
    monkeypatch.delenv("GRPO_LEARNING_RATE")
    for name, value in (("PROMPT", "1536"), ("COMPLETION", "2561"), ("SEQ", "4096")):
        monkeypatch.setenv(f"MAX_{name}_LENGTH", value)
    _, found = ask(PARAMETERS, capsys, "--report-only")
    (finding,) = found["findings"]
    assert "prompt长度(1536) + completion长度(2561) = 4097 > 最大序列长度(4096)" in finding["text"]


# -- fix_curriculum_sync.py -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [("{", "课程状态文件损坏"), (None, "is missing"), (json.dumps(curriculum_state(0)), "is behind checkpoint-4")],
)
def test_a_state_file_that_does_not_fit_comes_from_the_checkpoint(
    run: Path, capsys: pytest.CaptureFixture[str], content: str | None, text: str
) -> None:
    path = run / "curriculum_state.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    status, found = ask(CURRICULUM, capsys, "--output_dir", run, "--diagnose")
    assert status == 1 and text in found["findings"][0]["text"]
    assert ask(CURRICULUM, capsys, "--output_dir", run, "--auto-fix")[0] == 0
    assert json.loads(path.read_text()) == curriculum_state()
    backup = run / "curriculum_state.json.backup"
    assert (backup.read_text() if backup.exists() else None) == content
    after = contents(run)
    assert ask(CURRICULUM, capsys, "--output_dir", run, "--auto-fix")[1]["changed"] == []
    assert contents(run) == after


@pytest.mark.parametrize(
    "settings",
    [
        {"curriculum": "stage"},
        {"curriculum": "step"},
        {"curriculum": "step", "adaptive_quotas": True},
        {"on_collapse": "reweight"},
    ],
    ids=str,
)
def test_a_checkpoint_without_its_curriculum_is_refused_by_the_tool_and_by_training_in_the_same_words(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_checkpoint(tmp_path, 2, **settings)
    status, found = ask(CURRICULUM, capsys, "--output_dir", tmp_path, "--auto-fix")
    with pytest.raises(ConfigError, match="has no curriculum_state.json: the run cannot be continued from it") as refused:
        RunStates({CURRICULUM_STATE: SimpleNamespace(load_state_dict=None)}).load(checkpoint)  # type: ignore[dict-item]
    assert status == 1 and found["findings"][0]["text"] == str(refused.value)


def test_a_fresh_state_is_the_checkpoints_or_the_first_stage(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "curriculum_state.json").write_text("old")
    before = contents(run / "checkpoint-4")
    assert CURRICULUM.main(["--create-fresh", "--checkpoint", str(run / "checkpoint-4")]) == 0
    assert json.loads((run / "curriculum_state.json").read_text()) == curriculum_state()
    assert (run / "curriculum_state.json.backup").read_text() == "old"
    assert contents(run / "checkpoint-4") == before
    bare = write_checkpoint(tmp_path / "bare", 2)
    assert CURRICULUM.main(["--create-fresh", "--checkpoint", str(bare)]) == 0
    manager = setup_fixed_curriculum_manager(state_file=bare.parent / "curriculum_state.json")
    assert manager.stage.name == "foundation" and manager.evaluation_count == 0
    with pytest.raises(SystemExit):
        CURRICULUM.main(["--create-fresh"])


# -- the shell scripts ------------------------------------------------------------------------------------------------


def bash(command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SCRIPTS": str(SCRIPTS), **variables}
    # The scripts look for .venv beside themselves, else for python3 on the path.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.run(["bash", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_every_tool_explains_itself(tmp_path: Path) -> None:
    for name in ("cleanup_before_training.sh", "run_enhanced_grpo_training.sh"):
        done = bash(f"$SCRIPTS/{name} --help", tmp_path)
        assert done.returncode == 0 and len(done.stdout.splitlines()) > 5 and "#" not in done.stdout[:2]
    assert bash("$SCRIPTS/cleanup_before_training.sh --bogus", tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_cleaning_reaches_the_shell_that_sources_it_and_what_it_starts(tmp_path: Path) -> None:
    left = {"WANDB_RUN_ID": "old", "WANDB_RESUME": "must"}
    show = 'echo "id=${WANDB_RUN_ID-none} resume=${WANDB_RESUME-none}"'
    sourced = bash(f"source $SCRIPTS/cleanup_before_training.sh --clean-only; {show}", tmp_path, **left)
    assert "id=none resume=none" in sourced.stdout
    started = bash(
        f"$SCRIPTS/cleanup_before_training.sh --clean-only -- bash -c '{show}; exit 7'; echo $?; {show}", tmp_path, **left
    )
    assert started.stdout.splitlines()[-3:] == ["id=none resume=none", "7", "id=old resume=must"]
    alone = bash("$SCRIPTS/cleanup_before_training.sh --clean-only", tmp_path, **left)
    assert "to clear them in your shell: source" in alone.stderr


def test_cleaning_takes_what_a_crash_left_and_nothing_else(run: Path) -> None:
    before = contents(run)
    (run / ".checkpoint-6.partial" / "checkpoint-6").mkdir(parents=True)
    (run / ".checkpoint-6.partial" / "checkpoint-6" / "half").write_text("x")
    (run / ".results.md.0123.tmp").write_text("x")
    reported = bash(f"$SCRIPTS/cleanup_before_training.sh --report-only --checkpoint {run}", run, WANDB_RUN_ID="old")
    assert reported.returncode == 1 and "left over from another run: WANDB_RUN_ID" in reported.stdout
    assert (run / ".checkpoint-6.partial").exists()
    assert bash(f"$SCRIPTS/cleanup_before_training.sh --checkpoint {run}/checkpoint-4", run).returncode == 0
    assert contents(run) == before and not (run / ".checkpoint-6.partial").exists()


def test_the_run_script_hands_its_variables_to_the_trainer(tmp_path: Path) -> None:
    lengths = {"LENGTH_ALLOCATION_STRATEGY": "completion_heavy", "MAX_SEQ_LENGTH": "400"}
    done = bash("$SCRIPTS/run_enhanced_grpo_training.sh --print_config --max_steps 7", tmp_path, OUTPUT_DIR="out", **lengths)
    assert done.returncode == 0, done.stderr
    shown = {line.split()[0]: line.split(None, 2)[1:] for line in done.stdout.splitlines() if len(line.split()) > 2}
    assert shown["max_prompt_length"][0] == "100" and shown["max_completion_length"][0] == "300"
    assert [part.strip() for part in shown["max_seq_length"]] == ["400", "environment"]
    assert [part.strip() for part in shown["max_steps"]] == ["7", "command line"]
    assert shown["resume_from_checkpoint"][0] == '"auto"' and shown["output_dir"][0] == '"out"'
    assert not (tmp_path / "out").exists()
    wrong = bash("$SCRIPTS/run_enhanced_grpo_training.sh", tmp_path, LENGTH_ALLOCATION_STRATEGY="even")
    assert wrong.returncode == 2 and "must be balanced" in wrong.stderr
