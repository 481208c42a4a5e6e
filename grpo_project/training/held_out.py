"""The problems on which a model is judged before and after training: a test folder, or problems made from a named seed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpo_project.configs.training import TrainingConfig, locate
from grpo_project.core.rows import Row, RowTable, read_rows
from grpo_project.core.statistics import wilson_interval
from grpo_project.errors import DataError
from grpo_project.pddl import validate_text

DEFAULT_TEST_DATA = "data/test"
GENERATED_SEED = 20_260_101  # names the streams of generated problems; changing it changes every such result
DRAWS_PER_PROBLEM = 200  # small domains have few different problems; then there are fewer than asked for


def held_out_problems(config: TrainingConfig, training_rows: RowTable) -> tuple[RowTable | None, list[int], str]:
    """(table, row indices to evaluate, where they come from): up to `eval_samples` problems of each trained domain.

    The same for every seed of a run, so that runs can be compared. (None, [], "") where eval_samples is 0. Raises DataError
    for a test folder that is not there or cannot be read.
    """
    if config.eval_samples == 0:
        return None, [], ""
    domains = training_rows.domains
    name = config.test_data or DEFAULT_TEST_DATA
    root = locate(name)
    if root is None and config.test_data is not None:
        raise DataError(f"--test_data {name}: no such folder. script/generate_data.py makes one; --eval_samples 0 goes without")
    if root is None:
        table = generate_held_out(domains, config.eval_samples, training_rows)
        return table, list(range(len(table))), f"generated problems, seed {GENERATED_SEED}"
    table = read_rows(root, domains, config.on_bad_row)
    return table, [index for domain in domains for index in table.indices_of(domain)[: config.eval_samples]], name


def generate_held_out(domains: Sequence[str], count: int, training_rows: RowTable) -> RowTable:
    """`count` problems of each domain, of the sizes and in the share with constraints that training has by default.

    All of the test split, no two the same up to renaming, and none of them among the training rows. Fewer where a domain does
    not have as many. Raises DataError for a domain that has none.
    """
    from grpo_project.domains import get_domain
    from grpo_project.domains.instances import generate_instance
    from grpo_project.pddl import render_problem
    from grpo_project.pddl.canonical import canonical_form
    from grpo_project.prompting import render_prompt

    with_constraints = {row.scenario for row in training_rows.rows if row.problem.constraints is not None}
    rows = []
    for name in domains:
        domain = get_domain(name)
        seen = {canonical_form(row.domain, row.problem) for row in training_rows.rows if row.scenario == name}
        share = 0.5 if name in with_constraints else 0.0
        index = found = 0
        while found < count and index < DRAWS_PER_PROBLEM * count:
            instance = generate_instance(domain, GENERATED_SEED, index, domain.sizes["train"], share)
            index += 1
            if instance.split != "test" or instance.canonical in seen:
                continue
            seen.add(instance.canonical)
            found += 1
            rows.append(
                Row(
                    prompt=render_prompt(name, domain.domain_pddl, instance.problem, "full"),
                    scenario=name,
                    problem_file=instance.file_name,
                    response=None,
                    class_label=None,
                    meta={
                        "scenario": name,
                        "problem_file": instance.file_name,
                        "problem_pddl": render_problem(instance.problem),
                        "split": "test",
                    },
                    source=f"<generated {name} {index - 1}>",
                    data_root=Path(),
                )
            )
        if not found:
            raise DataError(f"no held-out {name} problem could be generated; name a folder with --test_data")
    return RowTable(Path(), domains, rows, (), f"generated/{GENERATED_SEED}/{count}")


@dataclass(frozen=True)
class Score:
    """`successes` of `count` problems of one domain were solved. `verdicts`: how many completions got each verdict class."""

    successes: int
    count: int
    verdicts: Mapping[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """In [0, 1]."""
        return self.successes / self.count

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with the 95% Wilson interval."""
        low, high = wilson_interval(self.successes, self.count)
        return {
            "successes": self.successes,
            "count": self.count,
            "rate": self.rate,
            "interval": [low, high],
            "verdicts": dict(self.verdicts),
        }

    def text(self) -> str:
        """`158/200 79.0% [72.9, 84.1]`."""
        low, high = wilson_interval(self.successes, self.count)
        return f"{self.successes}/{self.count} {self.rate:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def judge(table: RowTable, rows: Sequence[int], completions: Sequence[str]) -> dict[str, Score]:
    """{domain: Score} of one completion per row, same order. Raises ValueError when the lengths differ."""
    verdicts: dict[str, Counter[str]] = {}
    for row, completion in zip(rows, completions, strict=True):
        verdict = validate_text(table.task(row), completion)
        # As in the reward: doing nothing is no plan, even where the goal holds from the start.
        empty = verdict.success and verdict.steps_executed == 0
        name = "plan_format_error" if empty else verdict.verdict_class
        verdicts.setdefault(table.rows[row].scenario, Counter())[name] += 1
    return {name: Score(found["success_plans"], found.total(), dict(sorted(found.items()))) for name, found in verdicts.items()}


def read_scores(path: Path) -> dict[str, Score]:
    """The scores of an evaluation file. Raises DataError when it is broken."""
    try:
        domains = json.loads(path.read_text(encoding="utf-8"))["domains"]
        return {name: Score(found["successes"], found["count"], found["verdicts"]) for name, found in domains.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def summary_line(scores: Mapping[str, Score]) -> str:
    """`blocksworld 79.0%, ferry 35.0%; average 57.0%`."""
    rates = ", ".join(f"{name} {score.rate:.1%}" for name, score in scores.items())
    return f"{rates}; average {average(scores):.1%}"


def average(scores: Mapping[str, Score]) -> float:
    """The mean of the domains' rates: every domain counts the same."""
    return sum(score.rate for score in scores.values()) / len(scores)


def comparison_table(before: Mapping[str, Score], after: Mapping[str, Score]) -> str:
    """A Markdown table: counts, rates and 95% Wilson intervals per domain, the average, and the change in points."""
    lines = [["domain", "before", "after", "change"]]
    for name in before:
        lines.append([name, before[name].text(), after[name].text(), f"{100 * (after[name].rate - before[name].rate):+.1f}"])
    first, last = average(before), average(after)
    lines.append(["average", f"{first:.1%}", f"{last:.1%}", f"{100 * (last - first):+.1f}"])
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    padded = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines]
    padded.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(padded)
