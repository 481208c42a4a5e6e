"""The page as plain data: its sections, and in each the texts, tables and charts in their order. The script only lays them out.

A block is {"kind": ...} with what it shows. "run": only where that run is shown. "when": only where the choices of its section
are those.
A cell of a table is a text, or an object with `text`, `of` (what it rests on), `tone` (up, down), `colour` and `left`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from grpo_project.common.metrics import METRICS, VERDICTS, is_number, key_label, pool
from grpo_project.common.statistics import wilson_interval
from grpo_project.common.text import NOTHING, counted, duration, figure, interval_text, percent, points
from grpo_project.reporting import charts as drawn

Run = Mapping[str, Any]
Block = dict[str, Any]
Cell = Any  # a text, an object as above, or None for a dash

ABOUT = {
    "learning": "Sampled completions during training, with the verdicts of the validator.",
    "curriculum": "The weights under which each batch was drawn, and the difficulties that were really in it.",
    "batches": "Every batch owes every domain its quota of prompts: the same number, unless the run weighted its domains.",
    "verdicts": "What became of the sampled plans. A failed plan is counted once, by the first thing that went wrong.",
    "course": "Pooled like the learning curves.",
    "timing": "Seconds of an optimizer step. Nested parts are not counted twice.",
}
PASS_AT_K = (
    "The chance that one of k drawn answers solves a problem (unbiased estimate; bands: 95% bootstrap over problems). Where it "
    "rises well above k = 1, there is something to learn from. Dashed: earlier evaluations."
)
DIAMONDS = "Diamonds: greedy success on held-out problems with its interval; hollow for earlier evaluations, filled for the last."
OF_SUCCESS = (
    "Bands: 95% Wilson intervals that take completions as independent. Those of one prompt are not, so the bands are somewhat "
    "too narrow."
)
OF_REWARD = "Reward lies in [\u22121, 1]; a plan that reaches the goal earns 1, every failure less than 0."


def sections(data: Mapping[str, Any], charts: Iterable[str]) -> list[Block]:
    """The sections in order; `charts`: the names of those that can be drawn. The plans and the configuration are the script's."""
    return _Page(data, set(charts)).sections()


def head(data: Mapping[str, Any]) -> list[Block]:
    """What stands above the sections."""
    runs, written = data["runs"], f"Written {data['written']}"
    if len(runs) > 1:
        return [_text(f"{len(runs)} training runs side by side. {written}.")]
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


# -- blocks -------------------------------------------------------------------------------------------------------------


def _text(text: str, small: bool = False) -> Block:
    return {"kind": "text", "text": text, "small": small}


def _empty(text: str) -> Block:
    return {"kind": "empty", "text": text}


def _heading(text: str) -> Block:
    return {"kind": "heading", "text": text}


def _chart(name: str) -> Block:
    return {"kind": "chart", "name": name}


def _split(left: Sequence[Block], right: Sequence[Block]) -> Block:
    return {"kind": "split", "left": list(left), "right": list(right)}


def _choice(label: str, **options: str) -> Block:
    """options: what is shown for each value, the first one chosen at first."""
    return {"label": label, "options": [list(option) for option in options.items()]}


def _details(summary: str, *blocks: Block) -> Block:
    return {"kind": "details", "summary": summary, "blocks": list(blocks)}


def _table(head: Sequence[Cell], rows: Iterable[Sequence[Cell]], caption: str = "") -> Block:
    return _table_of_runs(head, ((None, cells) for cells in rows), caption)


def _table_of_runs(head: Sequence[Cell], rows: Iterable[tuple[int | None, Sequence[Cell]]], caption: str = "") -> Block:
    """rows: (the run that a row is of, or None; its cells)."""
    shown = [{"run": run, "cells": list(cells)} for run, cells in rows]
    return {"kind": "table", "head": list(head), "caption": caption, "rows": shown}


def _left(text: str) -> Cell:
    return {"text": text, "left": True}


def _named(text: str, colour: str) -> Cell:
    return {"text": text, "colour": colour}


def _of(successes: float, count: float) -> str:
    """What a rate rests on: 40/70 [45.4, 68.1]"""
    return f"{successes}/{count} {interval_text(*wilson_interval(successes, count))}"


def _rate(successes: float, count: float) -> Cell:
    """A rate with its counts and its 95% Wilson interval; None without observations."""
    return {"text": percent(successes / count), "of": _of(successes, count)} if count else None


def _row_rate(row: Mapping[str, Any] | None) -> Cell:
    return _rate(row["successes"], row["count"]) if row else None


def _change(change: float, text: str = "") -> Cell:
    tone = "up" if change > 0 else "down" if change < 0 else ""
    return {"text": text or points(change), "tone": tone}


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


def _tenth_text(run: Run, part: slice) -> str:
    steps = run["points"]["step"]
    first, last = steps[part.start - 1] + 1 if part.start else min(1, steps[0]), steps[part.stop - 1]
    return f"step {last}" if first >= last else f"steps {first}\u2013{last}"


def _latest_success(run: Run) -> tuple[int, int]:
    """(valid plans, completions) of the last tenth of the log."""
    part = tenths(run)[1]
    return drawn.summed(run["points"]["successes"][part]), drawn.summed(run["points"]["completions"][part])


def _seconds_taken(run: Run) -> float | None:
    total = run["points"]["seconds"].get("total")
    return (
        drawn.summed(seconds * steps for seconds, steps in zip(total, drawn.spans(run), strict=True) if seconds is not None)
        if total
        else None
    )


def _tiles(run: Run) -> Iterator[Block]:
    before, after, taken = first_evaluation(run), last_evaluation(run), _seconds_taken(run)
    if after:
        solved = _of(after["all"]["successes"], after["all"]["count"]).replace(" ", " solved ", 1)
        moved = f"{percent(before['average'])} \u2192 " if before else ""
        gain = f"{points(after['average'] - before['average'])} points; " if before else ""
        yield {"label": "Held-out success, mean of domains", "value": moved + percent(after["average"]), "under": gain + solved}
    elif before:
        under = f"before training, {before['all']['successes']}/{before['all']['count']}; the end is still to come"
        yield {"label": "Held-out success", "value": percent(before["average"]), "under": under}
    else:
        yield {"label": "Held-out success", "value": "not measured", "under": "this run has no held-out evaluation"}
    won, of = _latest_success(run)
    under = f"{_tenth_text(run, tenths(run)[1])}, {_of(won, of)}" if of else "no completions logged yet"
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


# -- sections -----------------------------------------------------------------------------------------------------------


class _Page:
    def __init__(self, data: Mapping[str, Any], charts: set[str]) -> None:
        self.runs: Sequence[Run] = data["runs"]
        self.domains: Sequence[str] = data["domains"]
        self.buckets: Sequence[str] = data["buckets"]
        self.several = len(self.runs) > 1
        self.charts = charts

    def sections(self) -> list[Block]:
        found = {
            "runs": ("Runs", self.overview() if self.several else ()),
            "alarms": ("Alarms", self.per_run(self.alarms)),
            "heldout": ("Held-out success", self.held_out()),
            "learning": ("Learning curves", self.learning()),
            "curriculum": ("Curriculum", self.per_run(self.curriculum)),
            "batches": ("Domains in each batch", self.per_run(self.batches)),
            "verdicts": ("Verdicts", self.per_run(self.verdicts)),
            "course": ("Lengths, entropy and the update", self.course()),
            "timing": ("Where the time goes", self.per_run(self.timing)),
        }
        bar = {"batches": "Batches", "course": "Lengths and entropy", "timing": "Time"}
        controls = {"learning": self.learning_controls()}
        about = {**ABOUT, "heldout": self.held_out_about()}
        made = []
        for name, (title, blocks) in found.items():
            own = {"id": name, "title": title, "bar": bar.get(name, title), "about": about.get(name, "")}
            made.append({**own, "controls": controls.get(name, []), "blocks": list(blocks)})
        return [section for section in made if section["blocks"]]

    def per_run(self, blocks: Callable[[Run], Iterable[Block]]) -> Iterator[Block]:
        """The blocks of each run, under its name where there are several."""
        for place, run in enumerate(self.runs):
            title = [{"kind": "heading", "text": run["name"], "colour": drawn.run_colour(place)}] if self.several else []
            yield from ({**block, "run": place} for block in [*title, *blocks(run)])

    def charts_of(self, *names: str) -> list[Block]:
        return [_chart(name) for name in names if name in self.charts]

    def run_head(self) -> list[Cell]:
        return [_left("run")] if self.several else []

    def run_cell(self, run: Run) -> list[Cell]:
        return [_left(run["name"])] if self.several else []

    # -- results --------------------------------------------------------------------------------------------------------

    def overview(self) -> Iterator[Block]:
        yield _text(
            "Choose which runs the charts show. Held-out figures are means of the domains' rates; brackets are 95% Wilson "
            "intervals."
        )
        yield {"kind": "toggles"}
        rows = []
        for place, run in enumerate(self.runs):
            before, after = first_evaluation(run), last_evaluation(run)
            serious = sum(alarm["level"] != "note" for alarm in run["alarms"])
            rows.append([
                _named(run["name"], drawn.run_colour(place)),
                {"state": run["state"], "left": True},
                f"{run['step']}/{run['max_steps']}",
                percent(before["average"]) if before else None,
                percent(after["average"]) if after else None,
                _change(after["average"] - before["average"]) if before and after else None,
                _row_rate(after["all"] if after else None),
                _rate(*_latest_success(run)),
                duration(_seconds_taken(run)),
                str(serious),
            ])  # fmt: skip
        columns = "steps,held-out before,after,points,solved at the end,success in training: last tenth,training time,alarms"
        yield _table(["run", _left("state"), *columns.split(",")], rows)

    def alarms(self, run: Run) -> Iterator[Block]:
        serious = [{"kind": "alarm", **alarm} for alarm in run["alarms"] if alarm["level"] != "note"]
        notes = [{"kind": "alarm", **alarm} for alarm in run["alarms"] if alarm["level"] == "note"]
        yield from serious
        if not serious:
            fine = "No alarm: figures are finite, batches equal, groups differ in reward, completions end by themselves."
            yield _text(fine if run["points"]["step"] else "No log line to check yet.")
        if notes:
            yield _details(counted(len(notes), "note"), *notes)

    def held_out_about(self) -> str:
        sources = "; ".join(dict.fromkeys(run["held_out"] for run in self.runs if run["held_out"]))
        of = f" ({sources})" if sources else ""
        return f"Greedy answers to problems the model never trains on{of}. Brackets are 95% Wilson intervals."

    def held_out(self) -> Iterator[Block]:
        if "held_out" in self.charts:
            yield _split(self.charts_of("held_out"), [self._rates_by_domain()])
            for place, run in enumerate(self.runs):
                for one in run["evaluations"]:
                    of = f"{run['name']}, " if self.several else ""
                    yield {**_details(f"{of}{one['label']}: by difficulty and verdict", self._detail(one)), "run": place}
        if "pass_at_k" in self.charts:
            yield _heading("With several answers: pass@k")
            yield _text(PASS_AT_K, small=True)
            yield _chart("pass_at_k")
        without = [run for run in self.runs if not run["evaluations"]]
        if without and self.several:
            yield _empty(f"No held-out evaluation: {', '.join(run['name'] for run in without)}.")
        elif without:
            finished = "This run has no held-out evaluation: it was started with --eval_samples 0."
            yield _empty(finished if without[0]["state"] == "finished" else "This run has no held-out evaluation yet.")
        if "while_training" in self.charts:
            sources = "; ".join(dict.fromkeys(run["feedback"] for run in self.runs if run["feedback"]))
            yield _heading("While training")
            yield _text(f"Fewer problems, solved greedily every so many steps{f' ({sources})' if sources else ''}.", small=True)
            yield _chart("while_training")

    def _rates_by_domain(self) -> Block:
        columns = ["before", "after"] if self.several else [one["label"] for one in self.runs[0]["evaluations"]]
        rows = []
        for domain in self.domains:
            for place, run in enumerate(self.runs):
                chosen = [first_evaluation(run), last_evaluation(run)] if self.several else run["evaluations"]
                found = [_of_domain(one, domain) for one in chosen]
                if any(found):
                    known = [row["rate"] for row in (found[0], found[-1]) if row and row["count"]]
                    change = _change(known[1] - known[0]) if len(known) == 2 and len(found) > 1 else None
                    rows.append((place, [domain, *self.run_cell(run), *map(_row_rate, found), change]))
        return _table_of_runs(["domain", *self.run_head(), *columns, "points"], rows)

    def _detail(self, one: Mapping[str, Any]) -> Block:
        rows = []
        for row in one["rows"]:
            rates = [*(row["buckets"].get(bucket) for bucket in self.buckets), row["constrained"]]
            rows.append([row["domain"], *map(_row_rate, rates), *(str(row["verdicts"][name]) for name in VERDICTS)])
        return _table(["domain", *self.buckets, "with constraints", *VERDICTS.values()], rows)

    # -- learning curves ------------------------------------------------------------------------------------------------

    def learning_controls(self) -> list[Block]:
        controls = [
            _choice("Show", success="success rate", reward="reward"),
            _choice("by", domain="domain", difficulty="difficulty", cell="domain \u00d7 difficulty"),
        ]
        if any(name.endswith(drawn.SINGLE_LINES) for name in self.charts):
            pooled = {"": f"pooled to {drawn.MOST_WINDOWS} points", drawn.SINGLE_LINES: "single"}
            controls.append(_choice("Log lines", **pooled))
        return controls if any(run["points"]["step"] for run in self.runs) else []

    def learning(self) -> Iterator[Block]:
        if not any(run["points"]["step"] for run in self.runs):
            yield _empty("No step has been logged yet.")
            return
        for what in ("success", "reward"):
            for by in ("domain", "difficulty"):
                there = f"{what}_by_{by}" in self.charts
                yield from _when(
                    self._curves(what, by) if there else [_empty("No completion has been logged yet.")], Show=what, by=by
                )
        cells = self.single_lines("success_by_cell") or [_empty("This run did not record domain and difficulty together.")]
        yield from _when(cells, Show="success", by="cell")
        without = _empty("Reward is recorded by domain and by difficulty, not by both at once. The success rate is.")
        yield from _when([without], Show="reward", by="cell")

    def single_lines(self, name: str) -> list[Block]:
        """A chart, pooled or not as the section's choice has it."""
        return [
            {**_chart(name + end), "when": {"Log lines": end}} for end in ("", drawn.SINGLE_LINES) if name + end in self.charts
        ]

    def _curves(self, what: str, by: str) -> list[Block]:
        notes = [OF_REWARD]
        if what == "success":
            notes = [DIAMONDS, OF_SUCCESS] if any(run["evaluations"] for run in self.runs) else [OF_SUCCESS]
        left = [*self.single_lines(f"{what}_by_{by}"), *(_text(note, small=True) for note in notes)]
        return [_split(left, [self._change_table(what, by)])]

    def _change_table(self, what: str, by: str) -> Block:
        """The first and the last tenth of the log."""
        key, names = ("by_domain", self.domains) if by == "domain" else ("by_bucket", self.buckets)
        logged = [(place, run) for place, run in enumerate(self.runs) if run["points"]["step"]]
        heads = (
            ["first tenth", "last tenth"] if self.several else [_tenth_text(self.runs[0], part) for part in tenths(self.runs[0])]
        )
        rows = []
        for name in names:
            for place, run in logged:
                if name in run["points"][key]:
                    rows.append((place, [name, *self.run_cell(run), *_first_and_last(run, run["points"][key][name], what)]))
        caption = "Mean reward in the first and the last tenth of the log."
        if what == "success":
            caption = "Success in the first and the last tenth of the log, 95% intervals."
        return _table_of_runs([by, *self.run_head(), *heads, "points" if what == "success" else "change"], rows, caption)

    # -- what was drawn -------------------------------------------------------------------------------------------------

    def curriculum(self, run: Run) -> Iterator[Block]:
        prompts, weights = run["points"]["prompts_by_bucket"], run["points"]["weights"]
        names = [name for name in self.buckets if name in weights or name in prompts]
        if not names:
            yield _empty("No curriculum has been logged yet.")
            return
        left = [_chart("curriculum")]
        if run["points"]["stages"]:
            told = ", ".join(f"{name} (from step {step})" for step, name in run["points"]["stages"])
            left.append(_text(f"Stages: {told}."))
        left += self.charts_of("curriculum_state") if run["points"]["curriculum"] else []
        if run["points"]["expected_reward_std"]:
            left += [_heading("Where the curriculum expects something to learn"), *self.charts_of("expected_reward_std")]
        whole = drawn.summed(drawn.totals(prompts))
        rows = []
        for name in names:
            weight = percent(_mean(weights[name])) if name in weights else None
            rows.append([name, weight, _rate(drawn.summed(prompts[name]), whole) if name in prompts else None])
        right = [_table(["difficulty", "mean weight", "realised share"], rows, "Over the whole log.")]
        pools = run["configuration"]["buckets"]
        if pools:
            cells = [
                [domain, *(str(found["counts"].get(b, 0)) for b in self.buckets), _figure(found["p40"]), _figure(found["p80"])]
                for domain, found in pools.items()
            ]
            caption = "Training problems in each bucket: what there is to draw from."
            right.append(_table(["domain", *self.buckets, "p40", "p80"], cells, caption))
        yield _split(left, right)

    def batches(self, run: Run) -> Iterator[Block]:
        own = run["points"]["prompts_by_domain"]
        if not own:
            yield _empty("No batch has been logged yet.")
            return
        fewest, most = (run["points"][f"{end}_per_batch"] for end in ("fewest", "most"))
        least = {name: pool("min", fewest.get(name, ()), [1] * len(fewest.get(name, ()))) for name in own}
        largest = {name: pool("max", most.get(name, ()), [1] * len(most.get(name, ()))) for name in own}
        whole = drawn.summed(drawn.totals(own))
        rows = [
            [_named(name, drawn.run_colour(self.domains.index(name))),
             {"text": percent(drawn.summed(values) / (whole or 1)), "of": f"{drawn.summed(values)}/{whole}"},
             _figure(least[name]), _figure(largest[name])]
            for name, values in own.items()
        ]  # fmt: skip
        told = _text(_quota_text(least, largest))
        yield _split(
            [*self.charts_of("domain_distribution"), told], [_table(["domain", "share", "fewest in a batch", "most"], rows)]
        )

    def verdicts(self, run: Run) -> Iterator[Block]:
        own = run["points"]["verdicts"]
        if not own:
            yield _empty("No verdict has been logged yet.")
            return
        parts = tenths(run)
        whole = [sum(drawn.summed(values[part]) for values in own.values()) for part in parts]
        rows = []
        for name, values in own.items():
            rates = [_rate(drawn.summed(values[part]), of) for part, of in zip(parts, whole, strict=True)]
            rows.append([_named(key_label(name), drawn.verdict_colour(name)), *rates])
        yield _split(self.charts_of("verdicts"), [_table(["verdict", *(_tenth_text(run, part) for part in parts)], rows)])

    def timing(self, run: Run) -> Iterator[Block]:
        names = drawn.timings(run)
        if not names:
            yield _empty("No timings have been logged yet.")
            return
        means = {name: pool("mean by step", run["points"]["seconds"][name], drawn.spans(run)) or 0.0 for name in names}
        whole = sum(means.values())
        rows = []
        for name, value in means.items():
            seconds = f"{value:.{4 if value < 0.1 else 2}f}"
            rows.append([_named(key_label(name), drawn.timing_colour(name)), seconds, percent(value / (whole or 1))])
        rows.append(["whole step", f"{whole:.2f}", ""])
        yield _split(self.charts_of("timing"), [_table(["part of a step", "seconds", "share"], rows, "Mean over the run.")])

    # -- the rest -------------------------------------------------------------------------------------------------------

    def course(self) -> Iterator[Block]:
        if "course" not in self.charts:
            yield _empty("No figures of this kind have been logged yet.")
            return
        yield _chart("course")
        if not self.several:
            yield _text("The band of the completion length reaches from the shortest to the longest.", small=True)
        rows = []
        for name in drawn.COURSE:
            for place, run in enumerate(self.runs):
                if name in run["points"]:
                    values = run["points"][name]
                    found = [_mean(values[part]) for part in tenths(run)]
                    ends = [pool(end, values, [1] * len(values)) for end in ("min", "max")]
                    rows.append((place, [METRICS[name].label, *self.run_cell(run), *map(figure, [*found, *ends])]))
        table = _table_of_runs(["figure", *self.run_head(), "first tenth", "last tenth", "lowest", "highest"], rows)
        yield _details("The same figures as a table", table)
        if "equal_rewards" in self.charts:
            yield _heading("Groups with equal rewards, by domain")
            yield _chart("equal_rewards")


def _when(blocks: Iterable[Block], **choices: str) -> Iterator[Block]:
    """The blocks, shown where the section's choices are these, too."""
    return ({**block, "when": {**block.get("when", {}), **choices}} for block in blocks)


def _of_domain(one: Mapping[str, Any] | None, domain: str) -> Any:
    """An evaluation's row of a domain, or None."""
    return next((row for row in one["rows"] if row["domain"] == domain), None) if one else None


def _mean(values: Sequence[Any]) -> float | None:
    found: float | None = pool("mean", values, [1] * len(values))
    return found


def _figure(value: Any) -> str:
    return figure(value if is_number(value) else None)


def _first_and_last(run: Run, own: Mapping[str, Sequence[Any]], what: str) -> list[Cell]:
    parts = [[drawn.summed(own[name][part]) for name in ("successes", "reward_sum", "completions")] for part in tenths(run)]
    known = all(count for *_, count in parts)
    if what == "success":
        cells = [_rate(won, count) for won, _, count in parts]
        return [*cells, _change(parts[1][0] / parts[1][2] - parts[0][0] / parts[0][2]) if known else None]
    means = [total / count if count else None for _, total, count in parts]
    cells = [{"text": figure(value), "of": f"{part[2]} completions"} for value, part in zip(means, parts, strict=True)]
    if means[0] is None or means[1] is None:
        return [*cells, None]
    change = means[1] - means[0]
    return [*cells, _change(change, f"{change:+.2f}".replace("-", "\u2212"))]


def _quota_text(fewest: Mapping[str, Any], most: Mapping[str, Any]) -> str:
    """What can be said of the prompts of a domain in every batch."""
    if None in fewest.values():
        return "Shares of the completions; this run did not record the prompts of single batches."
    if fewest != most:
        causes = "by adaptive quotas, by a domain that was given more, or by groups that were drawn anew"
        return f"The numbers moved during the run: {causes}."
    if len(set(fewest.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in fewest.items())
        return f"Every batch held exactly the same number of prompts of a domain: {told}."
    each = "its domain" if len(fewest) == 1 else f"each of the {len(fewest)} domains"
    return f"Every batch held exactly {counted(next(iter(fewest.values())), 'prompt')} of {each}."
