"""What stands above and below the sections of the page, and the figures of a whole run that it shares with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from grpo_project.common.text import NOTHING, counted, duration, percent, points
from grpo_project.reporting import charts as drawn
from grpo_project.reporting.blocks import Block, counts_text, text_block

Run = Mapping[str, Any]


def head(data: Mapping[str, Any]) -> list[Block]:
    """What stands above the sections."""
    runs, written = data["runs"], f"Written {data['written']}"
    if len(runs) > 1:
        return [text_block(f"{len(runs)} training runs side by side. {written}.")]
    run = runs[0]
    age = f", last line {duration(run['seconds_since_last_line'])} before" if run["state"] in ("in progress", "stopped") else ""
    where = {"kind": "state", "state": run["state"], "path": run["path"], "text": f"{written}{age}."}
    return [where, {"kind": "tiles", "tiles": list(_tiles(run))}]


def foot(data: Mapping[str, Any]) -> str:
    """The last line: when the page was written, and how many log lines a point stands for."""
    told = [f"Written {data['written']} by script/report.py."]
    for run in data["runs"]:
        if run["pooled"] > 1:
            of = f"{run['name']}: each" if len(data["runs"]) > 1 else "Each"
            told.append(f"{of} point stands for at least {run['pooled']} log lines (of {run['log_lines']}).")
    return " ".join(told)


def _tiles(run: Run) -> Iterator[Block]:
    before, after, taken = first_evaluation(run), last_evaluation(run), seconds_taken(run)
    if after:
        solved = counts_text(after["all"]["successes"], after["all"]["count"]).replace(" ", " solved ", 1)
        moved = f"{percent(before['average'])} \u2192 " if before else ""
        gain = f"{points(after['average'] - before['average'])} points; " if before else ""
        yield {"label": "Held-out success, mean of domains", "value": moved + percent(after["average"]), "under": gain + solved}
    elif before:
        under = f"before training, {before['all']['successes']}/{before['all']['count']}; the end is still to come"
        yield {"label": "Held-out success", "value": percent(before["average"]), "under": under}
    else:
        yield {"label": "Held-out success", "value": "not measured", "under": "this run has no held-out evaluation"}
    won, of = latest_success(run)
    under = f"{tenth_text(run, tenths(run)[1])}, {counts_text(won, of)}" if of else "no completions logged yet"
    yield {"label": "Success in training", "value": percent(won / of) if of else NOTHING, "under": under}
    under = ""
    if run["state"] == "in progress" and taken and run["step"]:
        under = f"about {duration(taken / run['step'] * (run['max_steps'] - run['step']))} left"
    elif taken and run["step"]:
        under = f"{duration(taken)} of training, {duration(taken / run['step'])} per step"
    share = min(1.0, run["step"] / run["max_steps"]) if run["max_steps"] else None
    yield {"label": "Steps", "value": f"{run['step']} of {run['max_steps']}", "under": under, "share": share}
    levels = [alarm["level"] for alarm in run["alarms"]]
    errors, warnings, notes = (levels.count(level) for level in ("error", "warning", "note"))
    under = counted(notes, "note") if notes else "nothing out of the ordinary"
    if errors + warnings:
        under = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
    yield {"label": "Alarms", "value": str(errors + warnings or "none"), "under": under}


# -- figures of a run ---------------------------------------------------------------------------------------------------


def _labelled(run: Run, name: str) -> Any:
    return next((one for one in reversed(run["evaluations"]) if one["label"] == name), None)


def first_evaluation(run: Run) -> Any:
    return _labelled(run, "before") or (run["evaluations"][0] if len(run["evaluations"]) > 1 else None)


def last_evaluation(run: Run) -> Any:
    return _labelled(run, "after") or next((one for one in reversed(run["evaluations"]) if one["label"] != "before"), None)


def tenths(run: Run) -> tuple[slice, slice]:
    """The first and the last tenth of the points."""
    count = len(run["points"]["step"])
    size = max(1, round(count / 10))
    return slice(0, size), slice(max(0, count - size), count)


def tenth_text(run: Run, part: slice) -> str:
    steps = run["points"]["step"]
    first, last = steps[part.start - 1] + 1 if part.start else min(1, steps[0]), steps[part.stop - 1]
    return f"step {last}" if first >= last else f"steps {first}\u2013{last}"


def latest_success(run: Run) -> tuple[int, int]:
    """(valid plans, completions) of the last tenth of the log."""
    part = tenths(run)[1]
    return drawn.summed(run["points"]["successes"][part]), drawn.summed(run["points"]["completions"][part])


def seconds_taken(run: Run) -> float | None:
    total = run["points"]["seconds"].get("total")
    return (
        drawn.summed(seconds * steps for seconds, steps in zip(total, drawn.spans(run), strict=True) if seconds is not None)
        if total
        else None
    )
