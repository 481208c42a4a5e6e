"""What a person would want to be told about a run before reading its curves. Every alarm names figures and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from grpo_project.common.text import duration
from grpo_project.configs.health import HealthConfig
from grpo_project.errors import ConfigError
from grpo_project.health.alarms import EVENTS, Alarm, replay
from grpo_project.reporting.run import RecordedRun

Record = Mapping[str, Any]


def alarms(run: RecordedRun) -> list[Alarm]:
    """Errors first."""
    limits = _limits(run.settings)
    found = [*_of_the_folder(run), *_of_the_records(run.records, limits), *_collapses(run.outcomes)]
    found += [*_unequal_batches(run), *_shares(run.records, limits)]
    order = ("error", "warning", "note")
    return sorted(found, key=lambda alarm: order.index(alarm.level))


def _of_the_folder(run: RecordedRun) -> Iterator[Alarm]:
    for fault in run.faults:
        yield Alarm("warning", "Something in the run folder could not be read", fault)
    if run.state == "stopped":
        seconds = run.seconds_since_last_line or 0.0
        yield Alarm(
            "warning",
            f"The run stopped at step {run.step} of {run.max_steps}",
            f"No line was written for {duration(seconds)}. --resume_from_checkpoint auto goes on from its last checkpoint.",
            run.step,
        )
    if run.disagreements:
        yield Alarm(
            "error",
            "The validators disagree",
            f"VAL gave {run.disagreements} completions another verdict. The folder disagreements/ holds each with both answers.",
        )
    for step in run.resumed_at:
        yield Alarm("note", f"Continued at step {step}", "The run was interrupted and went on from its checkpoint.", step)
    environment = run.described.get("environment")
    if isinstance(environment, Mapping) and environment.get("uncommitted_changes"):
        yield Alarm("note", "The code had uncommitted changes", "The commit named below does not repeat this run exactly.")


def _limits(settings: Mapping[str, Any]) -> HealthConfig:
    """The run's own thresholds; the usual ones where they are not known, or are those of another version."""
    changes = settings.get("alarm_thresholds")
    try:
        return HealthConfig.of([str(change) for change in changes] if isinstance(changes, list) else ())
    except ConfigError:
        return HealthConfig()


def _of_the_records(records: Sequence[Record], limits: HealthConfig) -> list[Alarm]:
    """What the log lines show, and what training wrote into them: the same once, an error as it was written.

    A warning that no longer stood later is a note; what the run is like now comes first.
    """
    recorded = list(_recorded(records))
    written = {alarm.name for alarm in recorded if alarm.name and alarm.level == "error"}
    shown = [_as_it_ended(alarm, until) for alarm, until in replay(records, limits) if alarm.name not in written]
    replayed = {alarm.name for alarm in shown}
    return sorted([alarm for alarm in recorded if alarm.name not in replayed] + shown, key=lambda alarm: alarm.step or 0)


def _as_it_ended(alarm: Alarm, until: int | None) -> Alarm:
    if until is None or alarm.name in EVENTS:
        return alarm
    return replace(alarm, level="note", detail=f"{alarm.detail} No longer so at step {until}.")


def _recorded(records: Sequence[Record]) -> Iterator[Alarm]:
    """Alarms that training itself wrote into its log lines, as texts or as objects with level, title and detail."""
    for record in records:
        for item in record.get("alarms", ()):
            if isinstance(item, Mapping):
                level = item.get("level")
                title = str(item.get("title") or item.get("name") or "Alarm")
                detail = str(item.get("detail") or item.get("message") or "")
                known = level if level in ("error", "warning", "note") else "warning"
                yield Alarm(known, title, detail, record["step"], str(item.get("name") or ""))
            else:
                yield Alarm("warning", str(item), "", record["step"])


def _collapses(outcomes: Sequence[Record]) -> Iterator[Alarm]:
    """What the collapse guard found: a domain whose held-out success fell far below its best, and when it came back."""
    before: set[str] = set()
    for outcome in outcomes:
        now = set(outcome.get("eval_collapsed") or ())
        step = int(outcome.get("eval_step", outcome["step"]))
        for domain in sorted(now - before):
            text = "Its held-out success fell significantly below its best. --on_collapse says what training does then."
            yield Alarm("error", f"{domain} has collapsed", text, step)
        for domain in sorted(before - now):
            yield Alarm("note", f"{domain} has come back", "Its held-out success is near its best again.", step)
        before = now


def _unequal_batches(run: RecordedRun) -> Iterator[Alarm]:
    """Every batch owes every domain its quota; this is a promise of the suite, so a breach is an error.

    Quotas are equal unless the user weighted the domains, and constant unless the collapse guard or --adaptive_quotas moves them.
    Groups that were drawn anew are seen twice, so nothing can be said of lines with them.
    """
    settings = run.settings
    weighted, moving = bool(settings.get("domain_weights")), settings.get("on_collapse") in ("reweight", "rollback")
    moving = moving or bool(settings.get("adaptive_quotas"))
    for record in run.records:
        counts = record.get("prompts_per_batch")
        if not counts or "resampled_groups" in record or moving:
            continue
        uneven = any(fewest != most for fewest, most in counts.values())
        unequal = len({tuple(pair) for pair in counts.values()}) > 1
        if uneven or (unequal and not weighted):
            shown = ", ".join(
                f"{name} {low}" if low == high else f"{name} {low} to {high}" for name, (low, high) in counts.items()
            )
            yield Alarm(
                "error", "A batch did not hold the domains in their quotas", f"Prompts per batch: {shown}.", record["step"]
            )
            return


def _shares(records: Sequence[Record], limits: HealthConfig) -> Iterator[Alarm]:
    """Realised difficulty against the weights over the whole run: an empty bucket gives way to its neighbour."""
    prompts: dict[str, float] = {}
    wanted: dict[str, float] = {}
    total = 0.0
    for record in records:
        shares, weights = record.get("bucket_shares"), record.get("curriculum_weights")
        if shares is None or weights is None:
            continue
        count = _prompts_of(record)
        total += count
        for name, share in shares.items():
            prompts[name] = prompts.get(name, 0.0) + share * count
            wanted[name] = wanted.get(name, 0.0) + float(weights.get(name) or 0.0) * count
    if total < limits.enough_prompts:
        return
    for name in prompts:
        got, asked = prompts[name] / total, wanted[name] / total
        if abs(got - asked) > limits.share_gap:
            yield Alarm(
                "note",
                f"{name} problems were not drawn as the curriculum asked",
                f"{got:.0%} of the prompts instead of {asked:.0%}. Domains without such problems fall back to the nearest "
                "difficulty; the table of buckets says which.",
            )


def _prompts_of(record: Record) -> float:
    if "cells" in record:
        return float(sum(counts[0] for own in record["cells"].values() for counts in own.values()))
    return float(record.get("completions") or 0)
