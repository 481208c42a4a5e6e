"""script/rescore.py: the same verdicts again, why answers fail, and what other readings and rewards would give."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.rows import read_rows
from grpo_project.evaluation.answers import Answer, Key
from grpo_project.evaluation.evaluate import verify_answers

ROOT = Path(__file__).resolve().parents[3]
LAMPS = ROOT / "tests" / "golden" / "lamps"
PLAN = "(switch-on a)\n(switch-on b)\n"
ANSWERS = [PLAN, f"Here:\n{PLAN}", f"Well:\n```\n{PLAN}```", "(switch_on a)\n(switch_on b)", "(switch-on a)\n"]


@pytest.fixture(scope="module")
def main() -> Any:
    spec = importlib.util.spec_from_file_location("rescore_script", ROOT / "script" / "rescore.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run folder whose answers are ANSWERS, each recorded with a reward of -1."""
    problem = {name: (LAMPS / f"{name}.pddl").read_text() for name in ("domain", "problem")}
    about = {"domain": "lamps", "problem_file": "p", "problem_pddl": problem["problem"], "domain_pddl": problem["domain"]}
    lines = [
        {"step": n, "completion": text, "verdict_class": "plan_format_error", "reward": -1.0, **about}
        for n, text in enumerate(ANSWERS)
    ]
    (tmp_path / "completions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def as_json(main: Any, capsys: Any, *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_reasons_readings_and_rewards_of_a_run(main: Any, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(main, capsys, str(saved))
    assert found["reasons"] == {"prose": 2, "success": 1, "unknown_action": 1, "goal_not_satisfied": 1}
    readings = found["readings"]
    assert (readings["strict"], readings["last_fence"], readings["step_lines"], readings["loosest"]) == (1, 2, 3, 4)
    assert found["other_verdicts_than_recorded"] == 2 and found["recorded_mean_reward"] == -1.0
    rewards = [verdict["reward"] for verdict in found["verdicts"]]
    assert rewards[0] == 1.0 and rewards[1] == -1.0 and -1.0 < rewards[4] < 0.0
    assert found["mean_reward"] == pytest.approx(sum(rewards) / 5)


def test_another_reward_reading_and_a_users_function(main: Any, saved: Path, capsys: Any, tmp_path: Path) -> None:
    sparse = as_json(main, capsys, str(saved), "--reward", "sparse")
    assert {verdict["reward"] for verdict in sparse["verdicts"]} == {1.0, -1.0}
    loose = as_json(main, capsys, str(saved), "--reading", "loosest")
    assert loose["reasons"] == {"success": 4, "goal_not_satisfied": 1}
    own = tmp_path / "own.py"
    own.write_text("def length(prompts, completions, verdict, **columns):\n    return [v.steps_total for v in verdict]\n")
    found = as_json(main, capsys, str(saved), "--reward", "sparse", f"{own}:length=0.5")
    assert [verdict["reward"] for verdict in found["verdicts"]] == [2.0, -1.0, -1.0, 0.0, -0.5]


def test_examples_of_each_reason_are_shown(main: Any, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted((path, path.read_bytes()) for path in saved.iterdir())
    assert main([str(saved), "--examples", "1"]) == 0
    out = capsys.readouterr().out
    assert "prose stands around the plan: 1 of 2\n  lamps, completions.jsonl:2: step 1: expected '(action ...)'" in out
    assert "wrong action names: 1 of 1" in out and "the plan succeeds: 1" not in out
    assert "2 verdicts differ from those recorded" in out
    assert sorted((path, path.read_bytes()) for path in saved.iterdir()) == before


def test_every_answer_of_an_evaluation_is_verified_again(main: Any, tmp_path: Path, capsys: Any) -> None:
    root = str(ROOT / "data" / "test")
    table = read_rows(root, ["ferry"])
    answers = {
        Key(index, sample): Answer("no" if sample else table.rows[index].response or "") for index in (0, 1) for sample in (0, 1)
    }
    answers |= {Key(0, 0, 1): Answer("(sail"), Key(1, 0, 1): Answer("", refused="context")}
    result = verify_answers(table, [0, 1], answers, 1, seconds=1.0, settings={"data_root": root})
    file = tmp_path / "result.json"
    file.write_text(json.dumps(result.to_json()))
    found = as_json(main, capsys, str(file))
    assert found["reasons"] == {"success": 2, "no_step": 2, "cut_off": 1}  # what was refused is no answer
    assert found["other_verdicts_than_recorded"] == 0
    file.write_text(json.dumps({**result.to_json(), "settings": {"data_root": root, "probe": "names"}}))
    assert main([str(file)]) == 2
    assert main([str(file), "--data_root", str(ROOT / "data" / "test_harder")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all(line.startswith("error: ") and "--data_root" in line for line in errors)


def test_bad_input_is_one_line(main: Any, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in {"a": "{}\n", "b": "no\n", "c": "", "d": '{"completion": 3}\n', "e": "[]\n"}.items():
        (tmp_path / f"{name}.jsonl").write_text(text)
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ([str(tmp_path / "empty")], "cannot be read"),
        ([str(tmp_path / "a.jsonl")], "a.jsonl:1: no completion with its problem"),
        ([str(tmp_path / "b.jsonl")], "b.jsonl:1"),
        ([str(tmp_path / "c.jsonl")], "holds no completion"),
        ([str(tmp_path / "d.jsonl")], "d.jsonl:1"),
        ([str(tmp_path / "e.jsonl")], "e.jsonl:1"),
        ([str(saved), "--reading", "kind"], "--reading must be one of strict"),
        ([str(saved), "--reward", "kind"], "--reward"),
        ([str(saved), "--examples", "-1"], "--examples must be at least 0"),
    ):
        assert main(arguments) == 2, arguments
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("\n") == 1 and words in shown.err, shown.err
