"""What a person would want to be told about a run before reading its curves. Every alarm names figures and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_project.reporting.run import RecordedRun

Record = Mapping[str, Any]

RECENT = 10  # log lines that count as "now"
CUT_OFF = 0.2
FORMAT_ERRORS = 0.5
MIXED_GROUPS = 0.1
ENTROPY_LEFT = 0.1  # of what it was at first
GRADIENT_SPIKE = 20.0  # times the median
SHARE_GAP = 0.25
ENOUGH_PROMPTS = 40  # below that, chance alone moves shares by as much


@dataclass(frozen=True)
class Alarm:
    """level: error (the run's numbers cannot be trusted or it learns nothing), warning, or note. `step`: where it shows."""

    level: str
    title: str
    detail: str
    step: int | None = None


def alarms(run: RecordedRun) -> list[Alarm]:
    """Errors first."""
    found = [*_of_the_folder(run), *_recorded(run.records), *_collapses(run.outcomes), *_of_the_numbers(run)]
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
            f"No line was written for {_duration(seconds)}. --resume_from_checkpoint auto goes on from its last checkpoint.",
            run.step,
        )
    if run.disagreements:
        yield Alarm(
            "error",
            "The validators disagree",
            f"VAL judged {run.disagreements} completions otherwise. The folder disagreements/ holds each with both answers.",
        )
    for step in run.resumed_at:
        yield Alarm("note", f"Continued at step {step}", "The run was interrupted and went on from its checkpoint.", step)
    environment = run.described.get("environment")
    if isinstance(environment, Mapping) and environment.get("uncommitted_changes"):
        yield Alarm("note", "The code had uncommitted changes", "The commit named below does not repeat this run exactly.")


def _recorded(records: Sequence[Record]) -> Iterator[Alarm]:
    """Alarms that training itself wrote into its log lines, as texts or as objects with level, title and detail."""
    for record in records:
        listed = record.get("alarms")
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, Mapping):
                level = item.get("level")
                title = str(item.get("title") or item.get("name") or "Alarm")
                detail = str(item.get("detail") or item.get("message") or "")
                yield Alarm(level if level in ("error", "warning", "note") else "warning", title, detail, record["step"])
            else:
                yield Alarm("warning", str(item), "", record["step"])


def _of_the_numbers(run: RecordedRun) -> Iterator[Alarm]:
    records = run.records
    for name in ("loss", "grad_norm", "reward", "kl"):
        broken = [record["step"] for record in records if name in record and record[name] is None]
        if broken:
            text = f"{name} was NaN or infinite in {len(broken)} of {len(records)} log lines, first at step {broken[0]}."
            yield Alarm("error", f"{name} is not a number", f"{text} Lower the learning rate, or look at that step.", broken[0])
    yield from _unequal_batches(run)
    recent = records[-RECENT:]
    if not recent:
        return
    step = recent[-1]["step"]
    cut_off = _mean(recent, "completions_cut_off")
    if cut_off is not None and cut_off > CUT_OFF:
        yield Alarm(
            "warning",
            "Many completions are cut off",
            f"{cut_off:.0%} of the latest reach --max_completion_length and earn nothing for what they would have said.",
            step,
        )
    faulty = _mean([record["verdict_shares"] for record in recent if "verdict_shares" in record], "plan_format_error", 0.0)
    if faulty is not None and faulty > FORMAT_ERRORS:
        yield Alarm(
            "warning",
            "Most completions are no plans",
            f"{faulty:.0%} of the latest are format errors: the model does not write the plan format yet, or no longer.",
            step,
        )
    mixed = _mean(recent, "mixed_groups")
    if mixed is not None and mixed < MIXED_GROUPS:
        yield Alarm(
            "warning",
            "Almost nothing to learn from",
            f"Only {mixed:.0%} of the latest groups differ in reward; in the others every advantage is zero. "
            "Easier or harder problems, or more generations per prompt, bring some back.",
            step,
        )
    yield from _entropy(records, recent)
    yield from _gradients(records)
    yield from _shares(records)


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

    Quotas are equal unless the user weighted the domains, and constant unless the collapse guard shifts them. Groups that
    were drawn anew are seen twice, so nothing can be said of lines with them.
    """
    settings = run.settings
    weighted, moving = bool(settings.get("domain_weights")), settings.get("on_collapse") in ("reweight", "rollback")
    for record in run.records:
        counts = record.get("prompts_per_batch")
        if not isinstance(counts, Mapping) or not counts or record.get("resampled_groups") or moving:
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


def _entropy(records: Sequence[Record], recent: Sequence[Record]) -> Iterator[Alarm]:
    first, last = _mean(records[:RECENT], "entropy"), _mean(recent, "entropy")
    if len(records) > RECENT and first and last is not None and last < ENTROPY_LEFT * first:
        yield Alarm(
            "warning",
            "Entropy has collapsed",
            f"From {first:.3g} to {last:.3g} nats per token: completions of a prompt are nearly the same. "
            "A higher --temperature, --epsilon_high or --beta keeps variety.",
            recent[-1]["step"],
        )


def _gradients(records: Sequence[Record]) -> Iterator[Alarm]:
    norms = [(record["grad_norm"], record["step"]) for record in records if isinstance(record.get("grad_norm"), (int, float))]
    if len(norms) < RECENT:
        return
    median = sorted(norms)[len(norms) // 2][0]
    largest, step = max(norms)
    if median > 0 and largest > GRADIENT_SPIKE * median:
        yield Alarm("warning", "A gradient spike", f"Norm {largest:.3g} where the median is {median:.3g}.", step)


def _shares(records: Sequence[Record]) -> Iterator[Alarm]:
    """Realised difficulty against the weights over the whole run: an empty bucket gives way to its neighbour."""
    prompts: dict[str, float] = {}
    wanted: dict[str, float] = {}
    total = 0.0
    for record in records:
        shares, weights = record.get("bucket_shares"), record.get("curriculum_weights")
        if not isinstance(shares, Mapping) or not isinstance(weights, Mapping):
            continue
        count = _prompts_of(record)
        total += count
        for name, share in shares.items():
            prompts[name] = prompts.get(name, 0.0) + share * count
            wanted[name] = wanted.get(name, 0.0) + float(weights.get(name) or 0.0) * count
    if total < ENOUGH_PROMPTS:
        return
    for name in prompts:
        got, asked = prompts[name] / total, wanted[name] / total
        if abs(got - asked) > SHARE_GAP:
            yield Alarm(
                "note",
                f"{name} problems were not drawn as the curriculum asked",
                f"{got:.0%} of the prompts instead of {asked:.0%}. Domains without such problems fall back to the nearest "
                "difficulty; the table of buckets says which.",
            )


def _prompts_of(record: Record) -> float:
    cells = record.get("cells")
    if isinstance(cells, Mapping):
        return float(sum(counts[0] for own in cells.values() for counts in own.values()))
    return float(record.get("completions") or 0)


def _mean(records: Sequence[Record], name: str, missing: float | None = None) -> float | None:
    values = [record.get(name, missing) for record in records]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    return sum(numbers) / len(numbers) if numbers else None


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
