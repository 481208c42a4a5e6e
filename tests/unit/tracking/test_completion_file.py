"""completions.jsonl: small whatever the run, chosen blindly, and never a reason to stop."""

from __future__ import annotations

import json
from types import SimpleNamespace

from grpo_project.data.rows import read_rows
from grpo_project.tracking.completion_file import LONGEST_COMPLETION, RECORDED_STEPS, CompletionFile
from tests.report_runs import HOSTILE


def scored(row_index, text):
    verdict = SimpleNamespace(verdict_class="plan_format_error")
    return SimpleNamespace(row_index=row_index, text=text, total=-1.0, rewards={"dense": -1.0}, verdict=verdict)


def opened(tmp_path, problems, max_steps=10):
    table = read_rows(problems)
    return CompletionFile(tmp_path / "completions.jsonl", table.rows, ["easy"] * len(table), max_steps), table


def written(tmp_path):
    return [json.loads(line) for line in (tmp_path / "completions.jsonl").read_text(encoding="utf-8").split("\n") if line]


def test_the_first_completion_of_each_domain_is_kept_per_log_line(tmp_path, problems):
    file, table = opened(tmp_path, problems)
    ferry, spanner = table.indices_of("ferry")[0], table.indices_of("spanner")[0]
    file.completions_scored(1, [scored(ferry, "one"), scored(ferry, "two")])
    file.completions_scored(1, [scored(spanner, "three"), scored(ferry, "four")])
    file.record_made({"step": 1})
    file.record_made({"step": 2})
    assert [(line["step"], line["domain"], line["completion"]) for line in written(tmp_path)] == [
        (1, "ferry", "one"),
        (1, "spanner", "three"),
    ]


def test_a_long_run_records_a_bounded_number_of_steps(tmp_path, problems):
    file, table = opened(tmp_path, problems, max_steps=10 * RECORDED_STEPS)
    for step in range(1, 10 * RECORDED_STEPS + 1):
        file.completions_scored(1, [scored(0, "text")])
        file.record_made({"step": step})
    steps = [line["step"] for line in written(tmp_path)]
    assert len(steps) == RECORDED_STEPS
    assert {b - a for a, b in zip(steps, steps[1:], strict=False)} == {10}


def test_a_long_and_hostile_text_is_cut_and_written(tmp_path, problems):
    file, _ = opened(tmp_path, problems)
    file.completions_scored(1, [scored(0, HOSTILE + "x" * 100_000)])
    file.record_made({"step": 1})
    (line,) = written(tmp_path)
    assert len(line["completion"]) == LONGEST_COMPLETION and line["cut"]
    assert line["completion"].startswith("</script><script>")


def test_a_problem_of_a_known_domain_needs_no_copy_of_it(tmp_path, problems):
    file, _ = opened(tmp_path, problems)
    file.completions_scored(1, [scored(0, "text")])
    file.record_made({"step": 1})
    (line,) = written(tmp_path)
    assert "(define (problem" in line["problem_pddl"] and "domain_pddl" not in line
