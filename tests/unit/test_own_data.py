"""The functions of docs/own_data.md, run as they stand there."""

import json
import re
from pathlib import Path

from grpo_project.data.rows import read_rows

ROOT = Path(__file__).resolve().parents[2]


def functions():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, "docs/own_data.md", "exec"), names)
    return names


def shipped(domain, count):
    with (ROOT / "data" / "test" / f"{domain}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(next(file)) for _ in range(count)]


def test_problem_files_become_rows(tmp_path):
    problems = tmp_path / "problems"
    problems.mkdir()
    rows = shipped("ferry", 3)
    for row in rows:
        (problems / Path(row["meta"]["problem_file"]).name).write_text(row["meta"]["problem_pddl"], encoding="utf-8")
    (problems / "domain.pddl").write_text("(define (domain ferry))", encoding="utf-8")
    assert functions()["rows_of"](problems, "ferry", tmp_path / "root") == 3
    table = read_rows(tmp_path / "root", on_bad_row="error")
    assert sorted(row.problem_text for row in table.rows) == sorted(row["meta"]["problem_pddl"] for row in rows)
    assert all("(define (problem" in row.prompt for row in table.rows)  # made from the PDDL


def test_one_file_for_all_domains_is_split(tmp_path):
    rows = shipped("ferry", 2) + shipped("spanner", 3)
    mixed = tmp_path / "all.jsonl"
    mixed.write_text("\n".join(json.dumps(row) for row in reversed(rows)) + "\n\n", encoding="utf-8")
    assert functions()["split_by_domain"](mixed, tmp_path / "root") == {"ferry": 2, "spanner": 3}
    table = read_rows(tmp_path / "root", on_bad_row="error")
    assert table.domains == ("ferry", "spanner") and len(table.rows) == 5
    assert {row.prompt for row in table.rows} == {row["prompt"] for row in rows}
