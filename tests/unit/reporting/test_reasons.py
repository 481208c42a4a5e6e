"""The section on why answers fail: the run's saved answers, verified again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from grpo_project.reporting import page_data, read_run, render_page
from grpo_project.reporting.reasons import LINE_END, reason_blocks, reasons_data
from grpo_project.reporting.sections import sections
from grpo_project.reporting.traces import run_traces


def test_counts_examples_and_readings_are_those_of_the_saved_answers(finished_run: Any) -> None:
    run = read_run(finished_run.path)
    found = reasons_data(run.samples)
    assert found["count"] == len(run.samples) == sum(own["count"] for own in found["reasons"]) > 10
    solved = sum(sample["verdict_class"] == "success_plans" for sample in run.samples)
    assert found["readings"]["strict"] == solved and all(count >= 0 for count in found["readings"].values())
    for own in found["reasons"]:
        assert (own["name"] == "success") == (own["examples"] == [])
        assert len(own["examples"]) <= 10
    saved = {sample["completion"][:300].replace("\n", LINE_END) for sample in run.samples}
    assert {text for own in found["reasons"] for _, _, text in own["examples"]} <= saved


def test_the_page_has_the_section_and_a_run_without_answers_has_none(finished_run: Any, bare_run: Callable[..., Path]) -> None:
    data = page_data([read_run(finished_run.path)])
    (section,) = [section for section in sections(data, ()) if section["id"] == "reasons"]
    assert section["title"] == "Why answers fail"
    kinds = [block["kind"] for block in section["blocks"]]
    assert kinds[:2] == ["table", "table"] and "details" in kinds and kinds[-1] == "text"
    assert "Why answers fail" in render_page(data)
    bare = page_data([read_run(bare_run([{"step": 1, "loss": 0.5}]))])
    assert "reasons" not in [section["id"] for section in sections(bare, ())]
    assert list(reason_blocks(reasons_data([]))) == []


def test_a_shortened_answer_and_one_without_its_problem_are_left_out(finished_run: Any) -> None:
    first, second, third = read_run(finished_run.path).samples[:3]
    found = reasons_data([{**first, "cut": True}, {**second, "problem_pddl": "(define"}, third])
    assert found["count"] == 1


def test_a_run_that_was_read_leniently_is_shown_so(finished_run: Any) -> None:
    run = read_run(finished_run.path)
    solved = [sample for sample in run.samples if sample["verdict_class"] == "success_plans"]
    samples = [{**sample, "completion": f"So:\n{sample['completion']}"} for sample in solved]
    assert [own["name"] for own in reasons_data(samples)["reasons"]] == ["prose"]
    found = reasons_data(samples, "lenient")
    assert [own["name"] for own in found["reasons"]] == ["success"]
    assert any("the last plan in one piece" in str(block) for block in reason_blocks(found))
    described = {**run.described, "settings": {**run.settings, "plan_reading": "lenient"}}
    assert (run.plan_reading, replace(run, described=described).plan_reading) == ("strict", "lenient")
    traces, _ = run_traces(replace(run, described=described, samples=samples, evaluations=[]))
    assert traces and all(made["verdict"]["class"] == made["recorded_verdict"] == "success_plans" for made in traces)
