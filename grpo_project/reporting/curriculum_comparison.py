"""Which curriculum learns faster: finished runs to paired comparisons with bootstrap intervals. Plain data, no model.

Runs are paired by seed: with the same seed, two curricula share the model's start, the sampling streams and the problems of every
evaluation, so their difference is less noisy than either. An interval is the 2.5th to 97.5th percentile over resampled seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from grpo_project.common.files import json_value, read_lines
from grpo_project.common.statistics import bootstrap_interval
from grpo_project.common.text import interval_text, percent, text_table
from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import DataError
from grpo_project.runs.run_folder import METRICS

CONTROL = "uniform"
BUDGET_TOLERANCE = 0.1
SHARES_OF_GAIN = (0.25, 0.5, 0.75)  # the fixed levels, as shares of what the control gains on average


@dataclass(frozen=True)
class Success:
    """Success, as shares, after `step` optimizer steps on `problems` problems; buckets without problems are left out."""

    step: int
    problems: int
    by_domain: Mapping[str, float]
    by_bucket: Mapping[str, float]

    @property
    def average(self) -> float:
        """Each domain counted once."""
        return mean(list(self.by_domain.values()))


@dataclass(frozen=True)
class Run:
    """A finished run. `completions[i]` were sampled before `evaluations[i]`; both rise with i. `final`: success on the problems
    that nothing in the run ever saw, after training; `reach`: how large they may be there, by domain (`reach_of`).
    `zero_variance`: share of groups whose rewards were all equal."""

    curriculum: str
    seed: int
    completions: tuple[int, ...]
    evaluations: tuple[Success, ...]
    final: Success
    zero_variance: float
    reach: Mapping[str, float] = field(default_factory=dict)

    @property
    def rates(self) -> tuple[float, ...]:
        """Average held-out success at each evaluation."""
        return tuple(evaluation.average for evaluation in self.evaluations)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Run:
        """Raises KeyError or TypeError for data that is none."""
        evaluations = tuple(Success(**one) for one in data["evaluations"])
        return cls(
            **{**data, "completions": tuple(data["completions"]), "evaluations": evaluations, "final": Success(**data["final"])}
        )


def read_run(folder: Path, curriculum: str, seed: int) -> Run:
    """A run's curve from its metrics.jsonl and evaluation_after.json. Raises DataError for a folder that does not hold them."""
    completions, idle = 0, 0.0
    points: list[tuple[int, Success]] = []
    try:
        for record in map(json_value, read_lines(folder / METRICS)):
            completions += record.get("completions", 0)
            # Groups are equally large, so completions weigh them as well.
            idle += record.get("completions", 0) * record.get("zero_variance_groups", 0.0)
            if "eval_counts" in record:
                points.append((completions, _success(record["eval_step"], record["eval_counts"])))
        problems = json_value((folder / "evaluation_after.json").read_text(encoding="utf-8"))["problems"]
        final, reach = _success(points[-1][1].step, _cells(problems)), reach_of(problems)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataError(f"{folder} holds no finished run with evaluations: {type(error).__name__}: {error}") from None
    at, evaluations = zip(*points, strict=True)
    return Run(curriculum, seed, at, evaluations, final, idle / max(completions, 1), reach)


def _success(step: int, cells: Mapping[str, Mapping[str, Sequence[int]]]) -> Success:
    outcome = EvaluationOutcome.from_json({"step": step, "cells": cells})
    by_domain = {domain: outcome.domain_counts(domain) for domain in outcome.cells}
    by_bucket = {bucket: outcome.bucket_counts(bucket) for bucket in BUCKETS}
    rates = ({key: won / count for key, (won, count) in found.items() if count} for found in (by_domain, by_bucket))
    return Success(step, sum(count for _, count in by_domain.values()), *rates)


def _cells(problems: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, tuple[int, int]]]:
    cells: dict[str, dict[str, tuple[int, int]]] = {}
    for problem in problems:
        own = cells.setdefault(problem["domain"], {})
        successes, count = own.get(problem["bucket"], (0, 0))
        own[problem["bucket"]] = (successes + (problem["verdict_class"] == "success_plans"), count + 1)
    return cells


def reach_of(problems: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By domain, the largest difficulty score up to which success is at least one half; its least score where it never is.

    Success over the score is first fitted by the nearest non-increasing curve: one large problem solved by luck is no reach.
    """
    found = {}
    for domain in dict.fromkeys(problem["domain"] for problem in problems):
        # Of problems of one score failures come first, so that the fit pools them.
        own = sorted((one["difficulty"], one["verdict_class"] == "success_plans") for one in problems if one["domain"] == domain)
        failing = non_decreasing([float(not solved) for _, solved in own])
        found[domain] = max((score for (score, _), rate in zip(own, failing, strict=True) if rate <= 0.5), default=own[0][0])
    return found


# -- curves ---------------------------------------------------------------------------------------------------------------


def non_decreasing(values: Sequence[float]) -> list[float]:
    """The non-decreasing sequence nearest to `values` in squared distance (pool adjacent violators), of the same length.

    One lucky evaluation does not count as a level reached when the next ones fall back.
    """
    blocks: list[tuple[float, int]] = []
    for value in values:
        total, count = value, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before = blocks.pop()
            total, count = total + before[0], count + before[1]
        blocks.append((total, count))
    return [total / count for total, count in blocks for _ in range(count)]


def completions_to(level: float, run: Run) -> float | None:
    """Completions until the non-decreasing fit of the run's success reaches `level`, on straight lines between evaluations;
    None where it never does."""
    fitted = non_decreasing(run.rates)
    for place, rate in enumerate(fitted):
        if rate >= level - 1e-12:
            if place == 0:
                return float(run.completions[0])
            before, after = fitted[place - 1], rate
            share = 1.0 if after == before else (level - before) / (after - before)
            return run.completions[place - 1] + share * (run.completions[place] - run.completions[place - 1])
    return None


def mean_rate(run: Run) -> float:
    """Average success over the whole run (trapezoids over completions): one figure for how soon and how much."""
    area = math.fsum(
        (run.rates[i] + run.rates[i - 1]) / 2 * (run.completions[i] - run.completions[i - 1]) for i in range(1, len(run.rates))
    )
    return area / (run.completions[-1] - run.completions[0])


# -- statistics -----------------------------------------------------------------------------------------------------------


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def summary_of(values: Sequence[float], name: str) -> dict[str, Any]:
    """{"value", "interval", "by_seed"} of the mean; no interval for fewer than two values: there is nothing to resample."""
    interval = list(bootstrap_interval(values, name)) if len(values) > 1 else None
    return {"value": mean(values), "interval": interval, "by_seed": list(values)}


def geometric_summary_of(values: Sequence[float], name: str) -> dict[str, Any]:
    """The same of the geometric mean, which suits ratios: twice as much and half as much cancel out. Values above 0."""
    logs = summary_of([math.log(value) for value in values], name)
    interval = None if logs["interval"] is None else [math.exp(bound) for bound in logs["interval"]]
    return {"value": math.exp(logs["value"]), "interval": interval, "by_seed": list(values)}


# -- the comparison -------------------------------------------------------------------------------------------------------


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """All figures as JSON-ready data, and the runs; of each curriculum only the seeds that the control has, and curricula that
    have such seeds. Raises DataError where the runs cannot be compared: no control, unequal budgets of completions or
    evaluations at different points."""
    arms: dict[str, dict[int, Run]] = {}
    for run in runs:
        arms.setdefault(run.curriculum, {})[run.seed] = run
    if CONTROL not in arms:
        raise DataError(f"there is no finished run of {CONTROL}, the control, to compare with")
    seeds = {name: sorted(own.keys() & arms[CONTROL].keys()) for name, own in arms.items()}
    seeds = {name: own for name, own in seeds.items() if own}
    _check_budgets([arms[name][seed] for name, own in seeds.items() for seed in own])
    control = [arms[CONTROL][seed] for seed in seeds[CONTROL]]
    start = mean([run.rates[0] for run in control])
    end = mean([non_decreasing(run.rates)[-1] for run in control])
    levels = {f"{share:.0%} of the control's gain": start + share * (end - start) for share in SHARES_OF_GAIN}
    return {
        "control": CONTROL,
        "seeds": seeds[CONTROL],
        "completions_per_run": control[0].completions[-1],
        "problems_per_evaluation": control[0].evaluations[0].problems,
        "problems_at_the_end": control[0].final.problems,
        "control_start": start,
        "control_end": end,
        "levels": levels,
        "curricula": {
            name: _arm(name, [arms[name][seed] for seed in own], [arms[CONTROL][seed] for seed in own], levels)
            for name, own in seeds.items()
        },
        "runs": [arms[name][seed].to_json() for name in arms for seed in sorted(arms[name])],
    }


def _check_budgets(runs: Sequence[Run]) -> None:
    """Where groups are drawn anew, steps cost what chance wants, so budgets may differ by a tenth. An arm's runs are averaged
    evaluation by evaluation, so they must have equally many."""
    first = runs[0]
    count: dict[str, int] = {}
    for run in runs:
        if abs(run.completions[-1] / first.completions[-1] - 1) > BUDGET_TOLERANCE:
            raise DataError(
                f"{run.curriculum} seed {run.seed} cost {run.completions[-1]} completions, {first.curriculum} seed {first.seed} "
                f"{first.completions[-1]}: budgets must be equal, to {BUDGET_TOLERANCE:.0%}"
            )
        if count.setdefault(run.curriculum, len(run.evaluations)) != len(run.evaluations):
            raise DataError(
                f"{run.curriculum} seed {run.seed} was evaluated {len(run.evaluations)} times, unlike its other seeds"
            )


def _arm(name: str, runs: Sequence[Run], control: Sequence[Run], levels: Mapping[str, float]) -> dict[str, Any]:
    pairs = list(zip(runs, control, strict=True))
    ratios = {label: _ratio(pairs, lambda _, level=level: level, f"{name} {label}") for label, level in levels.items()}  # type: ignore[misc]
    ratios["the end of the control with the same seed"] = _ratio(
        pairs, lambda run: non_decreasing(run.rates)[-1], f"{name} end of control"
    )
    by_domain, by_bucket = _summaries([run.final for run in runs], name)
    shares = [math.exp(mean([math.log(r.reach[d] / c.reach[d]) for d in c.reach])) for r, c in pairs if c.reach]
    return {
        "seeds": [run.seed for run in runs],
        "completions_per_run": mean([run.completions[-1] for run in runs]),
        "final_success": summary_of([run.final.average for run in runs], f"{name} final"),
        "final_minus_control": summary_of([r.final.average - c.final.average for r, c in pairs], f"{name} final difference"),
        "mean_over_run": summary_of([mean_rate(run) for run in runs], f"{name} area"),
        "mean_over_run_minus_control": summary_of([mean_rate(r) - mean_rate(c) for r, c in pairs], f"{name} area difference"),
        "completions_ratio": ratios,
        "reach": {domain: summary_of([run.reach[domain] for run in runs], f"{name} reach {domain}") for domain in runs[0].reach},
        "reach_ratio": geometric_summary_of(shares, f"{name} reach") if shares else None,
        "zero_variance_groups": summary_of([run.zero_variance for run in runs], f"{name} zero variance"),
        "final_by_domain": by_domain,
        "final_by_bucket": by_bucket,
        "over_time": [_point(name, runs, place) for place in range(len(runs[0].evaluations))],
    }


def _summaries(evaluations: Sequence[Success], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(by domain, by difficulty) of the success in one evaluation of several runs."""
    by_domain, by_bucket = (
        {key: summary_of([rates[key] for rates in found], f"{name} {key}") for key in found[0]}
        for found in ([one.by_domain for one in evaluations], [one.by_bucket for one in evaluations])
    )
    return by_domain, by_bucket


def _ratio(pairs: Sequence[tuple[Run, Run]], level_for: Callable[[Run], float], name: str) -> dict[str, Any]:
    """Completions to the level that `level_for` gives for the control, divided by the control's own, over seeds.

    A run that never reaches it counts as if it did with its last completion, which is too kind to it: `lower_bound` says how
    often. Seeds whose control never reaches it, or has it from the start, say nothing and are left out.
    """
    values, bounded = [], 0
    for run, control in pairs:
        level = level_for(control)
        own, theirs = completions_to(level, run), completions_to(level, control)
        if not theirs:
            continue
        if own is None:
            bounded += 1
            own = float(run.completions[-1])
        values.append(max(own, 1.0) / theirs)
    found: dict[str, Any] = {"seeds": len(values), "never_reached": bounded}
    return found | (geometric_summary_of(values, name) if values else {"value": None, "interval": None, "by_seed": []})


def _point(name: str, runs: Sequence[Run], place: int) -> dict[str, Any]:
    """One evaluation over all seeds, with intervals over seeds."""
    evaluations = [run.evaluations[place] for run in runs]
    label = f"{name} at {place}"
    by_domain, by_bucket = _summaries(evaluations, label)
    return {
        "completions": mean([run.completions[place] for run in runs]),
        "step": evaluations[0].step,
        "success": summary_of([evaluation.average for evaluation in evaluations], label),
        "by_domain": by_domain,
        "by_bucket": by_bucket,
    }


# -- tables ---------------------------------------------------------------------------------------------------------------


def tables(evidence: Mapping[str, Any]) -> str:
    """The comparison as Markdown that also reads as plain text."""
    curricula = evidence["curricula"]
    head = (
        f"Success starts at {evidence['control_start']:.1%}; {evidence['control']} ends at "
        f"{evidence['control_end']:.1%} of {evidence['problems_per_evaluation']} problems. Intervals: 95%, bootstrap over seeds, "
        "paired by seed where two are compared."
    )
    rows = [
        [
            name,
            f"{len(arm['seeds'])}",
            f"{arm['completions_per_run']:.0f}",
            _percent(arm["final_success"]),
            _points(arm["final_minus_control"]),
            _percent(arm["mean_over_run"]),
            _points(arm["mean_over_run_minus_control"]),
            _percent(arm["zero_variance_groups"]),
        ]
        for name, arm in curricula.items()
    ]
    columns = "seeds,completions,success at the end,minus control,mean over the run,minus control,groups without variance"
    labels, domains, buckets = (
        list(next(iter(curricula.values()))[key]) for key in ("completions_ratio", "final_by_domain", "final_by_bucket")
    )
    speed = [
        [name, *(_ratio_text(arm["completions_ratio"][label], len(arm["seeds"])) for label in labels)]
        for name, arm in curricula.items()
    ]
    reach = [
        [name, *(_number(arm["reach"][domain]) for domain in arm["reach"]), _ratio_of(arm["reach_ratio"])]
        for name, arm in curricula.items()
        if arm.get("reach")  # not in comparisons of before it was counted
    ]
    where = [
        [name, *(_percent(arm["final_by_domain"][d]) for d in domains), *(_percent(arm["final_by_bucket"][b]) for b in buckets)]
        for name, arm in curricula.items()
    ]
    return "\n\n".join(
        [
            head,
            f"Success at the end is greedy, on {evidence['problems_at_the_end']} problems that no run ever saw; differences are "
            "in points.\n\n" + text_table(["curriculum", *columns.split(",")], rows),
            "Completions needed, as a share of the control's (below 1: faster), until held-out success reaches:\n\n"
            + text_table(["curriculum", *labels], speed),
            "Success at the end by domain and by difficulty:\n\n" + text_table(["curriculum", *domains, *buckets], where),
            *(
                [
                    "Reach at the end: the largest difficulty score with 50% success, and its ratio to the control's, mean over "
                    "domains:\n\n" + text_table(["curriculum", *domains, "ratio"], reach)
                ]
                if reach
                else []
            ),
        ]
    )


def _percent(found: Mapping[str, Any]) -> str:
    interval = found["interval"]
    return percent(found["value"]) + (f" {interval_text(*interval)}" if interval else "")


def _number(found: Mapping[str, Any]) -> str:
    return f"{found['value']:.1f}"


def _ratio_of(found: Mapping[str, Any]) -> str:
    interval = found["interval"]
    return f"{found['value']:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def _points(found: Mapping[str, Any]) -> str:
    interval = found["interval"]
    shown = f"{100 * found['value']:+.1f}"
    return f"{shown} [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]" if interval else shown


def _ratio_text(found: Mapping[str, Any], seeds: int) -> str:
    if found["value"] is None:
        return "-"
    shown = f"{'>= ' if found['never_reached'] else ''}{found['value']:.2f}"
    if found["interval"]:
        shown += f" [{found['interval'][0]:.2f}, {found['interval'][1]:.2f}]"
    notes = [f"{found['never_reached']} never" if found["never_reached"] else ""]
    notes += [f"{found['seeds']} seeds" if found["seeds"] < seeds else ""]
    return shown + "".join(f" ({note})" for note in notes if note)
