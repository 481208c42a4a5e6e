"""script/report.py from its command line to its files."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_project.evaluation import EvaluationResult, ProblemResult

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("report_script", ROOT / "script" / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "my_run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    (folder / "resolved_config.json").write_text('{"settings": {"max_steps": 10}}')
    return folder


def test_a_run_in_progress_becomes_a_page_in_its_folder(main, run, capsys):
    assert main([str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "<title>my_run</title>" in page
    assert "my_run: in progress, step 1 of 10" in capsys.readouterr().out


def test_two_runs_become_one_page_where_asked(main, run, tmp_path):
    other = tmp_path / "other"
    run.rename(other)
    other_copy = tmp_path / "copy"
    other_copy.mkdir()
    for file in other.iterdir():
        (other_copy / file.name).write_bytes(file.read_bytes())
    assert main([str(other), str(other_copy), "--output", str(tmp_path / "both.html"), "--title", "A & B"]) == 0
    assert "<title>A &amp; B</title>" in (tmp_path / "both.html").read_text()


def test_evaluations_become_a_table(main, tmp_path, capsys):
    for name, verdict in (("good", "success_plans"), ("poor", "goal_not_satisfied")):
        problem = ProblemResult("ferry", "p", "easy", False, verdict, 1.0, None, "")
        (tmp_path / f"{name}.json").write_text(json.dumps(EvaluationResult((problem,), 1.0, name).to_json()))
    table = tmp_path / "table.md"
    assert main(["--leaderboard", str(tmp_path / "poor.json"), str(tmp_path / "good.json"), "--output", str(table)]) == 0
    assert table.read_text() == capsys.readouterr().out
    assert table.read_text().index("good") < table.read_text().index("poor")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name at least one run folder"),
        (["{tmp}/nothing"], "no such folder"),
        (["{tmp}"], "holds no run"),
        (["{run}", "{run}"], "more than once"),
        (["{run}", "--output", "{tmp}"], "is a folder"),
        (["{run}", "--output", "/proc/none/page.html"], "cannot be written"),
        (["--leaderboard", "{run}/metrics.jsonl"], "is no evaluation"),
        (["{run}", "--leaderboard", "x.json"], "takes no RUN"),
        (["{run}", "--strategies", "x.json"], "takes no RUN"),
        (["--strategies", "x.json"], "name its file with --output"),
        (["--strategies", "{run}/metrics.jsonl", "--output", "x.svg"], "is no evaluation"),
    ],
)
def test_bad_input_ends_in_one_line(main, run, tmp_path, capsys, arguments, said):
    assert main([word.format(tmp=tmp_path, run=run) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_script_loads_nothing_heavy(run):
    code = (
        f"import runpy, sys; sys.argv = ['report.py', {str(run)!r}]\n"
        "try: runpy.run_path('script/report.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print([name for name in ('torch', 'transformers', 'trl', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_every_command_of_the_guide_is_understood():
    spec = importlib.util.spec_from_file_location("report_script", ROOT / "script" / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lines = [line.split("#")[0].split() for line in (ROOT / "docs" / "report.md").read_text().splitlines()]
    commands = [words[2:] for words in lines if words[:2] == ["python", "script/report.py"]]
    assert len(commands) >= 4
    for words in commands:
        module.build_parser().parse_args(words)


def test_the_guide_tells_how_much_of_the_completions_it_shows():
    from grpo_project.tracking import completion_file as completions

    guide = (ROOT / "docs" / "report.md").read_text()
    assert f"at most {completions.RECORDED_STEPS} log lines" in guide
    assert f"{completions.LONGEST_COMPLETION} characters each" in guide
