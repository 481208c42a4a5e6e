"""Runs to the plain data that the page and the figures draw: columns by log line, counts beside every rate."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grpo_project.common.metrics import METRICS, TIMINGS, VERDICTS, is_number, pool
from grpo_project.common.statistics import wilson_interval
from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.data.difficulty import BUCKETS, difficulty_of
from grpo_project.evaluation import EvaluationResult
from grpo_project.evaluation.results import ProblemResult
from grpo_project.pddl import VERDICT_CLASSES
from grpo_project.reporting.alarms import alarms
from grpo_project.reporting.reasons import reasons_data
from grpo_project.reporting.run import RecordedRun, StoredEvaluation
from grpo_project.reporting.traces import run_traces

Record = Mapping[str, Any]

CELL = ("prompts", "completions", "successes")  # what a cell of `cells` counts, in this order
EXPECTED_STD = "curriculum/expected_reward_std"
MOST_POINTS = 600  # log lines per run on the page; longer runs are pooled

PROBLEMS_PER_POINT = 20  # at least, of success over difficulty scores: fewer say little


def page_data(runs: Sequence[RecordedRun], title: str | None = None, now: datetime.datetime | None = None) -> dict[str, Any]:
    """Everything the page shows. JSON types only."""
    described = [run_data(run) for run in runs]
    written = now or datetime.datetime.now(datetime.UTC)
    return {
        "title": title or (runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared"),
        "written": written.strftime("%Y-%m-%d %H:%M UTC"),
        "buckets": list(BUCKETS),
        "domains": sorted({domain for run in described for domain in run["domains"]}),
        "runs": described,
    }


def run_data(run: RecordedRun) -> dict[str, Any]:
    """One run. `points` holds columns of equal length, one entry per pooled log line."""
    pooled, points = _points(run.records)
    traces, notes = run_traces(run)
    evaluations = [_evaluation(stored) for stored in run.evaluations]
    domains = {domain for own in (points["by_domain"], points["cells"]) for domain in own}
    domains |= {domain for outcome in run.outcomes for domain in outcome["eval_counts"]}
    domains |= {row["domain"] for found in evaluations for row in found["rows"]} | {made["domain"] for made in traces}
    return {
        **{name: getattr(run, name) for name in ("name", "state", "step", "max_steps", "seconds_since_last_line")},
        "path": str(run.path),
        "log_lines": len(run.records),
        "pooled": pooled,
        "domains": sorted(domains),
        "points": points,
        "evaluations": evaluations,
        "outcomes": _outcomes(run),
        "feedback": str(run.described.get("feedback") or ""),
        "held_out": str(run.described.get("held_out") or ""),
        "held_out_remark": str(run.described.get("held_out_remark") or ""),
        "alarms": [vars(alarm) for alarm in alarms(run)],
        "reasons": reasons_data(run.samples, run.plan_reading),
        "traces": traces,
        "trace_notes": notes,
        "configuration": _configuration(run),
    }


# -- log lines --------------------------------------------------------------------------------------------------------


def _points(records: Sequence[Record]) -> tuple[int, dict[str, Any]]:
    """(log lines per point, columns). Log lines are pooled as METRICS says, counts as sums; the last step names them."""
    size = max(1, -(-len(records) // MOST_POINTS))
    groups = [records[start : start + size] for start in range(0, len(records), size)]
    before = [0, *(record["step"] for record in records)]
    spans = {record["step"]: record["step"] - last for record, last in zip(records, before, strict=False)}

    def column(how: str, value: Callable[..., Any], *of: Any) -> list[Any]:
        def weight(record: Record) -> float:
            return spans[record["step"]] if how == "mean by step" else record.get("completions") or 1

        return [_rounded(pool(how, [value(r, *of) for r in group], [weight(r) for r in group])) for group in groups]

    def counted(rates: str, counts: str, rewards: str, order: Sequence[str] = ()) -> dict[str, dict[str, list[Any]]]:
        return {
            key: {
                "completions": column("sum", _at, counts, key),
                "successes": column("sum", _product, rates, counts, key, True),
                "reward_sum": column("sum", _product, rewards, counts, key),
            }
            for key in _keys(records, counts, order)
        }

    def each(name: str, order: Sequence[str] = (), how: str = "", value: Any = None) -> dict[str, list[Any]]:
        """A column for every key of a nested figure."""
        found, of = (value, ()) if value else (_at, (name,))
        return {key: column(how or METRICS[name].pooled, found, *of, key) for key in _keys(records, name, order)}

    points: dict[str, Any] = {
        "step": [group[-1]["step"] for group in groups],
        "by_domain": counted("success_rate_by_domain", "completions_by_domain", "reward_by_domain"),
        "by_bucket": counted("success_rate_by_difficulty", "completions_by_difficulty", "reward_by_difficulty", BUCKETS),
        "cells": {
            domain: {
                bucket: {name: column("sum", _at, "cells", domain, bucket, place) for place, name in enumerate(CELL)}
                for bucket in BUCKETS
                if any(_at(record, "cells", domain, bucket, 0) for record in records)
            }
            for domain in _keys(records, "cells")
        },
        "weights": each("curriculum_weights", BUCKETS),
        "prompts_by_bucket": each("bucket_shares", BUCKETS, "sum", _bucket_prompts),
        "prompts_by_domain": each("cells", (), "sum", _domain_prompts),
        "fewest_per_batch": each("prompts_per_batch", (), "min", lambda record, key: _at(record, "prompts_per_batch", key, 0)),
        "most_per_batch": each("prompts_per_batch", (), "max", lambda record, key: _at(record, "prompts_per_batch", key, 1)),
        "verdicts": each("verdict_shares", tuple(VERDICTS), "sum", _verdicts),
        "seconds": each("seconds_per_step", (*TIMINGS, "total")),
        "zero_variance_by_domain": each("zero_variance_by_domain"),
        "expected_reward_std": {
            domain: {bucket: column("mean", _at, EXPECTED_STD, domain, bucket) for bucket in BUCKETS}
            for domain in _keys(records, EXPECTED_STD)
        },
        "stages": _stages(records),
    }
    known = {name for record in records for name, value in record.items() if is_number(value)}
    own = {name for name in known if name.startswith("curriculum/")}
    single = {name for name in known - own - {"step"} if name in METRICS and METRICS[name].pooled != "none"}
    pooled = {name: METRICS[name].pooled if name in METRICS else "mean" for name in own | single}
    points["curriculum"] = {name.removeprefix("curriculum/"): column(pooled[name], _at, name) for name in sorted(own)}
    points |= {name: column(pooled[name], _at, name) for name in METRICS if name in single}
    for name in ("completions", "successes"):
        points.setdefault(name, [None] * len(groups))
    if not points["prompts_by_domain"]:
        # Runs from before the cells were recorded: every prompt has the same number of completions.
        points["prompts_by_domain"] = {name: own["completions"] for name, own in points["by_domain"].items()}
    return size, points


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _keys(records: Sequence[Record], name: str, order: Sequence[str] = ()) -> list[str]:
    """The keys of a nested figure over all records: in `order`, then the others sorted."""
    found = {key for record in records for key in record.get(name, ())}
    return [key for key in order if key in found] + sorted(found.difference(order))


def _at(found: Any, *keys: str | int) -> Any:
    """What stands under these names and places, one inside the other; None where one is missing. shapes.py checked the forms."""
    for key in keys:
        if found is None:
            return None
        found = found.get(key) if isinstance(found, Mapping) else found[key]
    return found


def _product(record: Record, rates: str, counts: str, key: str, whole: bool = False) -> Any:
    rate, count = _at(record, rates, key), _at(record, counts, key)
    if rate is None or count is None:
        return None
    return round(rate * count) if whole else rate * count


def _domain_prompts(record: Record, domain: str) -> Any:
    own = _at(record, "cells", domain)
    return None if own is None else sum(counts[0] for counts in own.values())


def _bucket_prompts(record: Record, bucket: str) -> Any:
    """Prompts of a difficulty; where only shares are known, the share of the completions, which has the same proportions."""
    if "cells" in record:
        return sum(own[bucket][0] for own in record["cells"].values() if bucket in own)
    share, total = _at(record, "bucket_shares", bucket), record.get("completions")
    return None if share is None or total is None else round(share * total)


def _verdicts(record: Record, name: str) -> Any:
    shares, total = record.get("verdict_shares"), record.get("completions")
    return None if shares is None or total is None else round(shares.get(name, 0.0) * total)


def _stages(records: Sequence[Record]) -> list[list[Any]]:
    """[first step, stage] for every stretch of log lines in one named stage of the curriculum."""
    found: list[list[Any]] = []
    for record in records:
        stage = record.get("curriculum/stage")
        if stage is not None and (not found or found[-1][1] != stage):
            found.append([record["step"], stage])
    return found


# -- evaluations ------------------------------------------------------------------------------------------------------


def rate_row(successes: int, count: int) -> dict[str, Any]:
    """A rate with its count and 95% Wilson interval; `rate` is None without observations."""
    low, high = wilson_interval(successes, count)
    return {"successes": successes, "count": count, "rate": successes / count if count else None, "low": low, "high": high}


def _evaluation(stored: StoredEvaluation) -> dict[str, Any]:
    result = stored.result
    return {
        "label": stored.label,
        "step": stored.step,
        "name": result.name,
        "seconds": result.seconds,
        "average": result.average(),
        "all": rate_row(*result.counts()),
        "rows": [_domain_row(result, domain) for domain in result.domains],
        "buckets": {bucket: rate_row(*result.counts(bucket=bucket)) for bucket in BUCKETS if result.counts(bucket=bucket)[1]},
        "by_score": {domain: _by_score(result, domain) for domain in result.domains},
        "pass_at_k": {domain: _pass_at_k(result, domain) for domain in result.domains} if result.num_samples else {},
    }


def _score_of(problem: ProblemResult) -> float:
    if problem.difficulty is not None:
        return problem.difficulty
    return difficulty_of(problem.domain, problem.problem_file).score  # of a result that does not have it yet


def _by_score(result: EvaluationResult, domain: str) -> list[list[float]]:
    """[mean difficulty score, successes, problems] from low to high; neighbouring scores share a point of PROBLEMS_PER_POINT."""
    scored = sorted((_score_of(problem), problem.success) for problem in result.where(domain=domain))
    groups: list[list[tuple[float, bool]]] = []
    for number, (score, success) in enumerate(scored):
        same = number > 0 and scored[number - 1][0] == score
        left = len(scored) - number
        if not groups or (not same and len(groups[-1]) >= PROBLEMS_PER_POINT and left >= PROBLEMS_PER_POINT):
            groups.append([])
        groups[-1].append((score, success))
    return [[sum(s for s, _ in own) / len(own), sum(won for _, won in own), len(own)] for own in groups]


def _pass_at_k(result: EvaluationResult, domain: str) -> list[list[float]]:
    """[k, pass@k, low, high] for the k that were asked for and the powers of two; intervals resample the problems."""
    doubled = {2**power for power in range(result.num_samples.bit_length())}
    return [[k, *result.pass_at(k, domain=domain)] for k in sorted({*result.ks(), *doubled})]


def _domain_row(result: EvaluationResult, domain: str) -> dict[str, Any]:
    verdicts = result.verdicts(domain)
    cells = {bucket: rate_row(*result.counts(domain=domain, bucket=bucket)) for bucket in BUCKETS}
    constrained = result.counts(domain=domain, constrained=True)
    return {
        "domain": domain,
        **rate_row(*result.counts(domain=domain)),
        "buckets": {bucket: cell for bucket, cell in cells.items() if cell["count"]},
        "constrained": rate_row(*constrained) if constrained[1] else None,
        "verdicts": {name: verdicts[name] for name in VERDICT_CLASSES},
    }


def _outcomes(run: RecordedRun) -> list[dict[str, Any]]:
    """The evaluations made during training: step, counts by domain, counts by difficulty, domains then held for collapsed."""
    found = []
    for record in run.outcomes:
        outcome = outcome_of(record)
        by_bucket = {bucket: list(outcome.bucket_counts(bucket)) for bucket in BUCKETS}
        found.append(
            {
                "step": outcome.step,
                "average": record.get("eval_avg_test_pass_rate"),
                "interval": record.get("eval_avg_test_pass_rate_interval") or {},
                "by_domain": {domain: list(outcome.domain_counts(domain)) for domain in outcome.cells},
                "by_bucket": {bucket: counts for bucket, counts in by_bucket.items() if counts[1]},
                "collapsed": list(record.get("eval_collapsed") or ()),
            }
        )
    return found


def outcome_of(record: Record) -> EvaluationOutcome:
    """What an evaluation made during training found, from the log line that tells of it."""
    return EvaluationOutcome.from_json({"step": record.get("eval_step", record["step"]), "cells": record["eval_counts"]})


# -- configuration ----------------------------------------------------------------------------------------------------


def _configuration(run: RecordedRun) -> dict[str, Any]:
    described = run.described
    environment = dict(_mapping(described.get("environment")))
    packages = _mapping(environment.pop("packages", {}))
    schedule, words = described.get("schedule_source"), described.get("command_line")
    return {
        "settings": _texts(run.settings),
        "sources": _texts(described.get("sources")),
        "command_line": shlex.join(map(str, words)) if isinstance(words, list) else "",
        "environment": _texts({**environment, **packages}),
        "reward": _texts(described.get("reward")),
        "fingerprints": _texts(described.get("fingerprints")),
        "schedule": schedule if isinstance(schedule, str) else "",
        "buckets": {
            domain: {
                "easy_up_to": found.get("easy_up_to", found.get("p40")),
                "medium_up_to": found.get("medium_up_to", found.get("p80")),
                "counts": dict(_mapping(found.get("counts"))),
            }
            for domain, found in _mapping(described.get("buckets")).items()
            if isinstance(found, Mapping)
        },
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: Any) -> dict[str, str]:
    return {name: _shown(inner) for name, inner in _mapping(value).items()}


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "not set"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={inner}" for name, inner in value.items()) or "not set"
    return str(value)
