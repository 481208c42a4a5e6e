"""Run folders made without a model: plans of a search and spoiled ones, verified, counted and written by our own code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_project.common.random_streams import stream
from grpo_project.data.difficulty import fill_buckets
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.domains import all_domains
from grpo_project.evaluation import evaluate, planner_completions
from grpo_project.evaluation.answers import Answer, Key
from grpo_project.evaluation.evaluate import verify_answers
from grpo_project.pddl import find_plan
from grpo_project.prompting import render_plan
from grpo_project.tracking.completion_file import COMPLETIONS, CompletionFile
from grpo_project.tracking.metrics_file import MetricsFile

DOMAINS = ("blocksworld", "delivery", "ferry", "grippers", "spanner")
# What a model could write to break out of a page that holds it.
HOSTILE = (
    "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'>"
    "<!--<script>\u2028&lt;b&gt;\u202eabc\x00 @@DATA@@ @@SCRIPT@@ \ud800 '\"`${window.broken = 3}` (pickup </pre>"
)
GROUP = 4  # completions of a prompt


@dataclass(frozen=True)
class MadeRun:
    """A run folder and the problems that it was made from."""

    path: Path
    table: RowTable


def spoiled(plan: Sequence[Sequence[str]], kind: int) -> str:
    """A plan as text: whole, without a step in the middle, without its end, or no plan at all."""
    steps = list(plan)
    if kind % 4 == 1:
        del steps[len(steps) // 2]
    if kind % 4 == 2:
        steps = steps[:-1]
    return HOSTILE if kind % 4 == 3 else render_plan([tuple(step) for step in steps])


def search(table: RowTable, index: int) -> Sequence[Sequence[str]]:
    """A plan that solves a row."""
    task = table.task(index)
    steps = find_plan(task, heuristic=all_domains()[table.rows[index].scenario].heuristic(task)).steps
    assert steps is not None, f"row {index} needs a larger search"
    return steps


def write_run(
    folder: Path, data: Path, steps: int = 12, max_steps: int = 12, prefer: int = 0, feedback_every: int = 0
) -> MadeRun:
    """A run that never was trained: its completions are search plans, spoiled ever less often, each verified and counted.

    One prompt of every domain in a batch. `prefer` shifts which completions are whole, so that two runs differ. Every
    `feedback_every` steps, where not 0, the rows that no batch holds are evaluated.
    """
    from grpo_project.callbacks.collector import CompletionCollector
    from grpo_project.configs.reward import RewardConfig
    from grpo_project.rewards import make_reward_function
    from grpo_project.runs.observer import Observers

    table = read_rows(data)
    buckets = fill_buckets(table.rows, table.domains)
    plans = {index: search(table, index) for domain in table.domains for index in table.indices_of(domain)[:3]}
    domains = {index: row.scenario for index, row in enumerate(table.rows)}
    folder.mkdir(parents=True)
    observers = Observers(
        [
            CompletionCollector(domains, dict(enumerate(buckets.of_row)), GROUP),
            CompletionFile(folder / COMPLETIONS, table.rows, buckets.of_row, max_steps),
            MetricsFile(folder / "metrics.jsonl"),
        ]
    )
    reward = make_reward_function(table, RewardConfig(), lambda scored: observers.completions_scored(step, scored))
    rng = stream("report", prefer)
    for step in range(1, steps + 1):
        rows = [table.indices_of(domain)[step % 3] for domain in table.domains]
        kinds = [0 if rng.random() < step / (steps + 4) else rng.randrange(4) for _ in range(GROUP * len(rows))]
        indices = [row for row in rows for _ in range(GROUP)]
        reward(indices, [spoiled(plans[row], kind) for row, kind in zip(indices, kinds, strict=True)], row_index=indices)
        record: dict[str, Any] = {
            "step": step,
            "curriculum_weights": {"easy": 0.5, "medium": 0.4, "hard": 0.1},
            "loss": 0.1 / step,
            "grad_norm": 0.5,
            "entropy": 1.0 / step + 0.5,
            "completion_length_mean": 30.0,
            "completion_length_min": 10.0,
            "completion_length_max": 50.0,
            "completions_cut_off": 0.0,
            "seconds_per_step": {"generation": 1.0, "backward": 0.5, "other": 0.1, "total": 1.6},
        }
        if feedback_every and step % feedback_every == 0:
            record |= _feedback(table, buckets.of_row, step, max_steps, prefer)
        observers.record_due(record)
        observers.record_made(record)
    asked = [index for domain in table.domains for index in table.indices_of(domain)[:3]]
    before = evaluate(table, asked, lambda rows: [spoiled(plans[i], k) for k, i in enumerate(asked)], "before training")
    (folder / "evaluation_before.json").write_text(json.dumps(before.to_json()), encoding="utf-8")
    if steps == max_steps:
        after = evaluate(table, asked, lambda rows: planner_completions(table, asked), "after training")
        (folder / "evaluation_after.json").write_text(json.dumps(after.to_json()), encoding="utf-8")
    described = {
        "settings": {"max_steps": max_steps, "learning_rate": 1e-4, "curriculum": "step", "seed": prefer},
        "sources": {"max_steps": "command line", "learning_rate": "built-in default", "seed": "command line"},
        "command_line": ["train.py", "--max_steps", str(max_steps)],
        "environment": {"commit": "abc", "packages": {"numpy": "2"}},
        "held_out": str(data),
        "buckets": {domain: vars(found) for domain, found in buckets.statistics.items()},
    }
    (folder / "resolved_config.json").write_text(json.dumps(described), encoding="utf-8")
    return MadeRun(folder, table)


def write_drawn_evaluation(run: MadeRun, label: str, whole: int, num_samples: int = 8) -> None:
    """An evaluation with drawn answers beside the run's own; of ten of them some `whole` solve their problem."""
    asked = [index for domain in run.table.domains for index in run.table.indices_of(domain)[:3]]
    rng = stream("report", "drawn", label)
    answers = {}
    for index in asked:
        plan = search(run.table, index)
        answers |= {
            Key(index, number): Answer(spoiled(plan, int(rng.randrange(10) >= whole))) for number in range(num_samples + 1)
        }
    result = verify_answers(run.table, asked, answers, num_samples, seconds=1.0, name=label)
    (run.path / "evaluations").mkdir(exist_ok=True)
    (run.path / "evaluations" / f"{label}.json").write_text(json.dumps(result.to_json()), encoding="utf-8")


def _feedback(table: RowTable, bucket_of_row: Sequence[str], step: int, max_steps: int, prefer: int) -> dict[str, Any]:
    """What a log line tells of an evaluation during training: answers that are the better the later it is."""
    from grpo_project.curriculum.base import EvaluationOutcome

    asked = [index for domain in table.domains for index in table.indices_of(domain)[3:]]
    rng = stream("report", "feedback", prefer, step)
    kinds = [int(rng.random() > step / max_steps) for _ in asked]
    result = evaluate(
        table, asked, lambda rows: [spoiled(search(table, index), kind) for index, kind in zip(asked, kinds, strict=True)]
    )
    cells: dict[str, dict[str, list[int]]] = {}
    for index, problem in zip(asked, result.problems, strict=True):
        cell = cells.setdefault(problem.domain, {}).setdefault(bucket_of_row[index], [0, 0])
        cell[0] += problem.success
        cell[1] += 1
    outcome = EvaluationOutcome.from_json({"step": step, "cells": cells})
    low, high = outcome.interval()
    return {
        "eval_step": step,
        "eval_avg_test_pass_rate": outcome.average(),
        "eval_avg_test_pass_rate_interval": {"low": low, "high": high},
        "eval_counts": outcome.to_json()["cells"],
    }


def write_problems(folder: Path) -> Path:
    """Six problems of each of the five domains, small enough for search, without constraints."""
    from grpo_project.pddl import render_problem

    folder.mkdir(parents=True)
    for name in DOMAINS:
        domain = all_domains()[name]
        lines = []
        for index in range(6):
            rng = stream("report", "problems", name, index)
            ranges = {key: (low, min(low + 1, high)) for key, (low, high) in domain.sizes["train"].items()}
            parameters = domain.draw_parameters(rng, ranges)
            text = render_problem(domain.generate(rng, parameters, False))
            meta = {"scenario": name, "problem_file": domain.file_name(parameters, index), "problem_pddl": text}
            lines.append(json.dumps({"prompt": "Solve it.", "meta": meta}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
