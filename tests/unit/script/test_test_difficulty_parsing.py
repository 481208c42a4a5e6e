"""script/test_difficulty_parsing.py prints the quick-start guide's block, to the character."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sample_rows import DEPOT, a_row, depot_rows, write

GRIPPERS = """\
Domain: grippers
  Samples analyzed: 500
  Difficulty Score Statistics:
    Min:    23.0
    Max:    30.0
    Mean:   26.6
    Median: 28.0
  Percentiles (for bucketing):
    40th (p40): 25.0
    80th (p80): 30.0
  Bucket Distribution:
    Easy   (≤25.0):   243 samples (48.6%)
    Medium (25.0-30.0):  257 samples (51.4%)
    Hard   (>30.0):     0 samples (0.0%)
"""
SCRIPT = Path("script") / "test_difficulty_parsing.py"


def run(repository: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(repository / SCRIPT), *arguments], capture_output=True, check=False, env=environment, timeout=60
    )


@pytest.fixture
def data_root(repository: Path, tmp_path: Path) -> Path:
    """The golden distribution as rows, in reverse order of names."""
    golden = json.loads((repository / "tests" / "golden" / "difficulty" / "distribution.json").read_text())
    assert sorted(golden) == ["blocksworld", "ferry", "grippers", "spanner"]
    for domain, content in golden.items():
        lines = []
        for entry in content["names"]:
            for _ in range(entry["count"]):
                name = content["file_name"].format(**entry, seed=len(lines))
                meta = {"scenario": domain, "problem_file": f"{domain}/{name}", "problem_pddl": "(define ...)"}
                lines.append(json.dumps({"prompt": "Plan.", "meta": meta}))
        (tmp_path / f"{domain}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def blocks(output: bytes) -> dict[str, str]:
    """Domain -> its block, ending with one newline."""
    found = {}
    for block in output.decode("utf-8").rstrip("\n").split("\n\n"):
        found[block.partition("\n")[0].removeprefix("Domain: ")] = block + "\n"
    return found


def check_against_golden(repository: Path, printed: dict[str, str]) -> None:
    golden = json.loads((repository / "tests" / "golden" / "difficulty" / "distribution.json").read_text())
    assert list(printed) == sorted(golden)
    assert printed["grippers"] == GRIPPERS
    labels = {"min": "Min:", "max": "Max:", "mean": "Mean:", "median": "Median:", "p40": "40th (p40):", "p80": "80th (p80):"}
    labels |= {"easy": "Easy", "medium": "Medium", "hard": "Hard"}
    for domain, content in golden.items():
        lines = {
            name: next(line for line in printed[domain].splitlines() if line.strip().startswith(label))
            for name, label in labels.items()
        }
        for name, value in content["expected"].items():
            if value is not None:
                assert lines[name].endswith(" " + value.replace(" (", " samples (")), (domain, name)


def test_it_prints_the_guides_figures_in_the_guides_format(repository: Path, data_root: Path) -> None:
    done = run(repository, "--data_root", str(data_root), PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stderr) == (0, b"")
    check_against_golden(repository, blocks(done.stdout))


def test_it_prints_the_same_for_the_original_names_where_they_are_at_hand(repository: Path) -> None:
    original = repository.parent / "shared" / "golden" / "difficulty"
    if not original.is_dir():
        pytest.skip(f"{original} is not there")
    done = run(repository, "--data_root", str(original), PYTHONIOENCODING="utf-8")
    assert done.returncode == 1 and done.stderr.count(b"500 of 500 rows lack a file") == 4  # there are names alone
    check_against_golden(repository, blocks(done.stdout))


def test_a_terminal_without_the_sign_gets_a_question_mark(repository: Path, data_root: Path) -> None:
    done = run(repository, "--data_root", str(data_root), PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert b"Easy   (?25.0):   243 samples (48.6%)\n" in done.stdout


def test_names_that_do_not_fit_are_warned_about_and_easy(repository: Path, tmp_path: Path) -> None:
    names = ["problem1.pddl", "bw_ops3_n4_seed1.pddl", "bw_ops3_n5_seed1.pddl"]
    meta = {"scenario": "blocksworld", "problem_pddl": "(define ...)"}
    rows = [{"prompt": "Plan.", "meta": {**meta, "problem_file": name}} for name in names]
    (tmp_path / "blocksworld.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = run(repository, "--data_root", str(tmp_path), PYTHONIOENCODING="utf-8")
    assert done.returncode == 0
    assert b"    Min:    0.0\n" in done.stdout
    assert done.stderr.count(b"problem1.pddl") == 1


def test_rows_whose_files_are_not_found_do_not_pass(repository: Path, tmp_path: Path) -> None:
    rows, files = tmp_path / "rows", tmp_path / "files"
    rows.mkdir()
    (files / "depot").mkdir(parents=True)
    (files / "depot" / "depot.pddl").write_text(DEPOT)
    depot = depot_rows(3)
    for row in depot:
        (files / row["meta"]["problem_file"]).write_text(row["meta"].pop("problem_pddl"))
    write(rows, "depot", [{"prompt": "Plan.", **row} for row in depot])
    write(rows, "ferry", [a_row("ferry"), a_row("ferry", meta__problem_pddl=None)])
    write(rows, "merged", depot)
    options = ["--data_root", str(rows), "--difficulty_pattern", r"depot-(\d+)"]
    done = run(repository, *options, PYTHONIOENCODING="utf-8")
    assert done.returncode == 1 and list(blocks(done.stdout)) == ["depot", "ferry"]
    merged, *lines = done.stderr.decode().splitlines()
    assert "merged.jsonl is left out" in merged
    assert lines[0].startswith(
        f"depot: 3 of 3 rows lack a file, and training refuses the domain: {rows / 'depot.jsonl'}:1: domain file"
    )
    assert lines[1].startswith(f"ferry: 1 of 2 rows lack a file, and training skips them: {rows / 'ferry.jsonl'}:2: problem file")
    assert len(lines) == 2 and lines[0].endswith("the suite has no domain of that name")
    assert run(repository, *options, "--domains", "ferry", PYTHONIOENCODING="utf-8").returncode == 0
    done = run(repository, *options, "--domains", "depot", "--problem_root", str(files), PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert "    Max:    2.0" in done.stdout.decode()
    by_size = run(repository, *options[:2], "--domains", "depot", "--problem_root", str(files), PYTHONIOENCODING="utf-8")
    assert "    Min:    4.0" in by_size.stdout.decode() and "    Max:    8.0" in by_size.stdout.decode()


@pytest.mark.parametrize("make", ["nothing", "empty", "broken"])
def test_a_fault_is_one_line_and_status_two(repository: Path, tmp_path: Path, make: str) -> None:
    root = tmp_path / "data"
    if make != "nothing":
        root.mkdir()
    if make == "broken":
        (root / "blocksworld.jsonl").mkdir()
    done = run(repository, "--data_root", str(root))
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: ")
    assert str(root) in line


def test_help_needs_no_import(repository: Path) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_path({str(repository / SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as end: print(end.code, [name for name in sys.modules if name in ('numpy', 'grpo_project.data')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--data_root DIR" in done.stdout
    assert done.stdout.endswith("\n0 []\n")
