"""The page as plain data: its sections, and in each the blocks in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from grpo_project.common.metrics import METRICS, VERDICTS, is_number, key_label, pool
from grpo_project.common.text import counted, duration, figure, percent
from grpo_project.reporting import charts as drawn
from grpo_project.reporting.blocks import (
    Block,
    Cell,
    change_cell,
    chart_block,
    choice_of,
    coloured_cell,
    details_block,
    empty_block,
    heading_block,
    left_cell,
    rate_cell,
    row_rate_cell,
    split_block,
    table_block,
    table_of_runs,
    text_block,
)
from grpo_project.reporting.reasons import reason_blocks
from grpo_project.reporting.tiles import first_evaluation, last_evaluation, latest_success, seconds_taken, tenth_text, tenths

Run = Mapping[str, Any]

ABOUT = {
    "learning": "Sampled completions during training, with the verdicts of the validator.",
    "curriculum": "The weights under which each batch was drawn, and the difficulties that were really in it.",
    "batches": "Every batch owes every domain its quota of prompts: the same number, unless the run weighted its domains.",
    "verdicts": "What became of the sampled plans. A failed plan is counted once, by the first thing that went wrong.",
    "reasons": "Saved answers, verified again: one of each domain and recorded step, chosen before it was verified.",
    "course": "Pooled like the learning curves.",
    "timing": "Seconds of an optimizer step. Nested parts are not counted twice.",
}
PASS_AT_K = (
    "The chance that one of k drawn answers solves a problem (unbiased estimate; bands: 95% bootstrap over problems). Where it "
    "rises well above k = 1, there is something to learn from. Dashed: earlier evaluations."
)
BY_SIZE = (
    "Difficulty scores come from the sizes in a problem's file name; a point holds at least 20 problems where there are as many. "
    "Dashed: earlier evaluations."
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
            "reasons": ("Why answers fail", self.per_run(lambda run: reason_blocks(run["reasons"]))),
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
        return [chart_block(name) for name in names if name in self.charts]

    def run_head(self) -> list[Cell]:
        return [left_cell("run")] if self.several else []

    def run_cell(self, run: Run) -> list[Cell]:
        return [left_cell(run["name"])] if self.several else []

    # -- results --------------------------------------------------------------------------------------------------------

    def overview(self) -> Iterator[Block]:
        yield text_block(
            "Choose which runs the charts show. Held-out figures are means of the domains' rates; brackets are 95% Wilson "
            "intervals."
        )
        yield {"kind": "toggles"}
        rows = []
        for place, run in enumerate(self.runs):
            before, after = first_evaluation(run), last_evaluation(run)
            serious = sum(alarm["level"] != "note" for alarm in run["alarms"])
            rows.append([
                coloured_cell(run["name"], drawn.run_colour(place)),
                {"state": run["state"], "left": True},
                f"{run['step']}/{run['max_steps']}",
                percent(before["average"]) if before else None,
                percent(after["average"]) if after else None,
                change_cell(after["average"] - before["average"]) if before and after else None,
                row_rate_cell(after["all"] if after else None),
                rate_cell(*latest_success(run)),
                duration(seconds_taken(run)),
                str(serious),
            ])  # fmt: skip
        columns = "steps,held-out before,after,points,solved at the end,success in training: last tenth,training time,alarms"
        yield table_block(["run", left_cell("state"), *columns.split(",")], rows)

    def alarms(self, run: Run) -> Iterator[Block]:
        serious = [{"kind": "alarm", **alarm} for alarm in run["alarms"] if alarm["level"] != "note"]
        notes = [{"kind": "alarm", **alarm} for alarm in run["alarms"] if alarm["level"] == "note"]
        yield from serious
        if not serious:
            fine = "No alarm: figures are finite, batches equal, groups differ in reward, completions end by themselves."
            yield text_block(fine if run["points"]["step"] else "No log line to check yet.")
        if notes:
            yield details_block(counted(len(notes), "note"), *notes)

    def held_out_about(self) -> str:
        sources = "; ".join(dict.fromkeys(run["held_out"] for run in self.runs if run["held_out"]))
        of = f" ({sources})" if sources else ""
        remarks = dict.fromkeys(f"{run['name']}: {run['held_out_remark']}" for run in self.runs if run["held_out_remark"])
        what = "evaluation problems" if remarks else "problems the model never trains on"
        return f"Greedy answers to {what}{of}. {''.join(f'{text}. ' for text in remarks)}Brackets are 95% Wilson intervals."

    def held_out(self) -> Iterator[Block]:
        if "held_out" in self.charts:
            yield split_block(self.charts_of("held_out"), [self._rates_by_domain()])
            for place, run in enumerate(self.runs):
                for one in run["evaluations"]:
                    of = f"{run['name']}, " if self.several else ""
                    yield {**details_block(f"{of}{one['label']}: by difficulty and verdict", self._detail(one)), "run": place}
        if "by_size" in self.charts:
            yield heading_block("By size of the problem")
            yield text_block(BY_SIZE, small=True)
            yield chart_block("by_size")
        if "pass_at_k" in self.charts:
            yield heading_block("With several answers: pass@k")
            yield text_block(PASS_AT_K, small=True)
            yield chart_block("pass_at_k")
        without = [run for run in self.runs if not run["evaluations"]]
        if without and self.several:
            yield empty_block(f"No held-out evaluation: {', '.join(run['name'] for run in without)}.")
        elif without:
            finished = "This run has no held-out evaluation: it was started with --eval_samples 0."
            yield empty_block(finished if without[0]["state"] == "finished" else "This run has no held-out evaluation yet.")
        if "while_training" in self.charts:
            sources = "; ".join(dict.fromkeys(run["feedback"] for run in self.runs if run["feedback"]))
            yield heading_block("While training")
            yield text_block(
                f"Fewer problems, solved greedily every so many steps{f' ({sources})' if sources else ''}.", small=True
            )
            yield chart_block("while_training")

    def _rates_by_domain(self) -> Block:
        columns = ["before", "after"] if self.several else [one["label"] for one in self.runs[0]["evaluations"]]
        rows = []
        for domain in self.domains:
            for place, run in enumerate(self.runs):
                chosen = [first_evaluation(run), last_evaluation(run)] if self.several else run["evaluations"]
                found = [_of_domain(one, domain) for one in chosen]
                if any(found):
                    known = [row["rate"] for row in (found[0], found[-1]) if row and row["count"]]
                    change = change_cell(known[1] - known[0]) if len(known) == 2 and len(found) > 1 else None
                    rows.append((place, [domain, *self.run_cell(run), *map(row_rate_cell, found), change]))
        return table_of_runs(["domain", *self.run_head(), *columns, "points"], rows)

    def _detail(self, one: Mapping[str, Any]) -> Block:
        rows = []
        for row in one["rows"]:
            rates = [*(row["buckets"].get(bucket) for bucket in self.buckets), row["constrained"]]
            rows.append([row["domain"], *map(row_rate_cell, rates), *(str(row["verdicts"][name]) for name in VERDICTS)])
        return table_block(["domain", *self.buckets, "with constraints", *VERDICTS.values()], rows)

    # -- learning curves ------------------------------------------------------------------------------------------------

    def learning_controls(self) -> list[Block]:
        controls = [
            choice_of("Show", success="success rate", reward="reward"),
            choice_of("by", domain="domain", difficulty="difficulty", cell="domain \u00d7 difficulty"),
        ]
        if any(name.endswith(drawn.SINGLE_LINES) for name in self.charts):
            pooled = {"": f"pooled to {drawn.MOST_WINDOWS} points", drawn.SINGLE_LINES: "single"}
            controls.append(choice_of("Log lines", **pooled))
        return controls if any(run["points"]["step"] for run in self.runs) else []

    def learning(self) -> Iterator[Block]:
        if not any(run["points"]["step"] for run in self.runs):
            yield empty_block("No step has been logged yet.")
            return
        for what in ("success", "reward"):
            for by in ("domain", "difficulty"):
                there = f"{what}_by_{by}" in self.charts
                yield from _when(
                    self._curves(what, by) if there else [empty_block("No completion has been logged yet.")], Show=what, by=by
                )
        cells = self.single_lines("success_by_cell") or [empty_block("This run did not record domain and difficulty together.")]
        yield from _when(cells, Show="success", by="cell")
        without = empty_block("Reward is recorded by domain and by difficulty, not by both at once. The success rate is.")
        yield from _when([without], Show="reward", by="cell")

    def single_lines(self, name: str) -> list[Block]:
        """A chart, pooled or not as the section's choice has it."""
        return [
            {**chart_block(name + end), "when": {"Log lines": end}}
            for end in ("", drawn.SINGLE_LINES)
            if name + end in self.charts
        ]

    def _curves(self, what: str, by: str) -> list[Block]:
        notes = [OF_REWARD]
        if what == "success":
            notes = [DIAMONDS, OF_SUCCESS] if any(run["evaluations"] for run in self.runs) else [OF_SUCCESS]
        left = [*self.single_lines(f"{what}_by_{by}"), *(text_block(note, small=True) for note in notes)]
        return [split_block(left, [self._change_table(what, by)])]

    def _change_table(self, what: str, by: str) -> Block:
        """The first and the last tenth of the log."""
        key, names = ("by_domain", self.domains) if by == "domain" else ("by_bucket", self.buckets)
        logged = [(place, run) for place, run in enumerate(self.runs) if run["points"]["step"]]
        heads = (
            ["first tenth", "last tenth"] if self.several else [tenth_text(self.runs[0], part) for part in tenths(self.runs[0])]
        )
        rows = []
        for name in names:
            for place, run in logged:
                if name in run["points"][key]:
                    rows.append((place, [name, *self.run_cell(run), *_first_and_last(run, run["points"][key][name], what)]))
        caption = "Mean reward in the first and the last tenth of the log."
        if what == "success":
            caption = "Success in the first and the last tenth of the log, 95% intervals."
        return table_of_runs([by, *self.run_head(), *heads, "points" if what == "success" else "change"], rows, caption)

    # -- what was drawn -------------------------------------------------------------------------------------------------

    def curriculum(self, run: Run) -> Iterator[Block]:
        prompts, weights = run["points"]["prompts_by_bucket"], run["points"]["weights"]
        names = [name for name in self.buckets if name in weights or name in prompts]
        if not names:
            yield empty_block("No curriculum has been logged yet.")
            return
        left = [chart_block("curriculum")]
        if run["points"]["stages"]:
            told = ", ".join(f"{name} (from step {step})" for step, name in run["points"]["stages"])
            left.append(text_block(f"Stages: {told}."))
        left += self.charts_of("curriculum_state") if run["points"]["curriculum"] else []
        if run["points"]["expected_reward_std"]:
            left += [heading_block("Where the curriculum expects something to learn"), *self.charts_of("expected_reward_std")]
        whole = drawn.summed(drawn.totals(prompts))
        rows = []
        for name in names:
            weight = percent(_mean(weights[name])) if name in weights else None
            rows.append([name, weight, rate_cell(drawn.summed(prompts[name]), whole) if name in prompts else None])
        right = [table_block(["difficulty", "mean weight", "realised share"], rows, "Over the whole log.")]
        pools = run["configuration"]["buckets"]
        if pools:
            cells = [
                [
                    domain,
                    *(str(found["counts"].get(b, 0)) for b in self.buckets),
                    _figure(found["easy_up_to"]),
                    _figure(found["medium_up_to"]),
                ]
                for domain, found in pools.items()
            ]
            caption = "Training problems in each bucket: what there is to draw from."
            right.append(table_block(["domain", *self.buckets, "easy up to", "medium up to"], cells, caption))
        yield split_block(left, right)

    def batches(self, run: Run) -> Iterator[Block]:
        own = run["points"]["prompts_by_domain"]
        if not own:
            yield empty_block("No batch has been logged yet.")
            return
        fewest, most = (run["points"][f"{end}_per_batch"] for end in ("fewest", "most"))
        least = {name: pool("min", fewest.get(name, ()), [1] * len(fewest.get(name, ()))) for name in own}
        largest = {name: pool("max", most.get(name, ()), [1] * len(most.get(name, ()))) for name in own}
        whole = drawn.summed(drawn.totals(own))
        rows = [
            [coloured_cell(name, drawn.run_colour(self.domains.index(name))),
             {"text": percent(drawn.summed(values) / (whole or 1)), "of": f"{drawn.summed(values)}/{whole}"},
             _figure(least[name]), _figure(largest[name])]
            for name, values in own.items()
        ]  # fmt: skip
        told = text_block(_quota_text(least, largest))
        yield split_block(
            [*self.charts_of("domain_distribution"), told], [table_block(["domain", "share", "fewest in a batch", "most"], rows)]
        )

    def verdicts(self, run: Run) -> Iterator[Block]:
        own = run["points"]["verdicts"]
        if not own:
            yield empty_block("No verdict has been logged yet.")
            return
        parts = tenths(run)
        whole = [sum(drawn.summed(values[part]) for values in own.values()) for part in parts]
        rows = []
        for name, values in own.items():
            rates = [rate_cell(drawn.summed(values[part]), of) for part, of in zip(parts, whole, strict=True)]
            rows.append([coloured_cell(key_label(name), drawn.verdict_colour(name)), *rates])
        yield split_block(
            self.charts_of("verdicts"), [table_block(["verdict", *(tenth_text(run, part) for part in parts)], rows)]
        )

    def timing(self, run: Run) -> Iterator[Block]:
        names = drawn.timings(run)
        if not names:
            yield empty_block("No timings have been logged yet.")
            return
        means = {name: pool("mean by step", run["points"]["seconds"][name], drawn.spans(run)) or 0.0 for name in names}
        whole = sum(means.values())
        rows = []
        for name, value in means.items():
            seconds = f"{value:.{4 if value < 0.1 else 2}f}"
            rows.append([coloured_cell(key_label(name), drawn.timing_colour(name)), seconds, percent(value / (whole or 1))])
        rows.append(["whole step", f"{whole:.2f}", ""])
        yield split_block(
            self.charts_of("timing"), [table_block(["part of a step", "seconds", "share"], rows, "Mean over the run.")]
        )

    # -- the rest -------------------------------------------------------------------------------------------------------

    def course(self) -> Iterator[Block]:
        if "course" not in self.charts:
            yield empty_block("No figures of this kind have been logged yet.")
            return
        yield chart_block("course")
        if not self.several:
            yield text_block("The band of the completion length reaches from the shortest to the longest.", small=True)
        rows = []
        for name in drawn.COURSE:
            for place, run in enumerate(self.runs):
                if name in run["points"]:
                    values = run["points"][name]
                    found = [_mean(values[part]) for part in tenths(run)]
                    ends = [pool(end, values, [1] * len(values)) for end in ("min", "max")]
                    rows.append((place, [METRICS[name].label, *self.run_cell(run), *map(figure, [*found, *ends])]))
        table = table_of_runs(["figure", *self.run_head(), "first tenth", "last tenth", "lowest", "highest"], rows)
        yield details_block("The same figures as a table", table)
        if "equal_rewards" in self.charts:
            yield heading_block("Groups with equal rewards, by domain")
            yield chart_block("equal_rewards")


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
        cells = [rate_cell(won, count) for won, _, count in parts]
        return [*cells, change_cell(parts[1][0] / parts[1][2] - parts[0][0] / parts[0][2]) if known else None]
    means = [total / count if count else None for _, total, count in parts]
    cells = [{"text": figure(value), "of": f"{part[2]} completions"} for value, part in zip(means, parts, strict=True)]
    if means[0] is None or means[1] is None:
        return [*cells, None]
    change = means[1] - means[0]
    return [*cells, change_cell(change, f"{change:+.2f}".replace("-", "\u2212"))]


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
