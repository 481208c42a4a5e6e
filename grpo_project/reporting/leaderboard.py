"""Many evaluation files to one Markdown table, best first, with counts and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grpo_project.core.statistics import wilson_interval
from grpo_project.errors import ConfigError
from grpo_project.evaluation.results import EvaluationResult, read_result, render_table


def read_entries(paths: Sequence[str | Path]) -> list[tuple[str, EvaluationResult]]:
    """(name, result) of each evaluation file. Where names meet, the file is told too. Raises DataError."""
    found = [(Path(path), read_result(path)) for path in paths]
    names = [result.name or path.stem for path, result in found]
    return [
        (name if names.count(name) == 1 else f"{name} ({path})", result)
        for name, (path, result) in zip(names, found, strict=True)
    ]


def leaderboard(entries: Sequence[tuple[str, EvaluationResult]]) -> str:
    """Ranked by the average of the domains. Rows on other problems than the first file's are marked: they compare badly.

    A cell is `rate solved/asked [95% Wilson interval]`. Raises ConfigError without entries.
    """
    if not entries:
        raise ConfigError("a leaderboard needs evaluation files: script/evaluate.py --output writes one")
    domains = sorted({domain for _, result in entries for domain in result.domains})
    asked = {name: _problems(result) for name, result in entries}
    first = asked[entries[0][0]]
    # A model that was not asked about a domain is ranked by the others, which the mark says.
    ranked = sorted(entries, key=lambda entry: (-entry[1].average(), entry[0]))
    rows = []
    for place, (name, result) in enumerate(ranked, 1):
        mark = "" if asked[name] == first else " *"
        successes, count = result.counts()
        rows.append(
            [
                f"{place}",
                f"{_cell(name)}{mark}",
                f"{100 * result.average():.1f}%",
                f"{successes}/{count}",
                *(_rate(*result.counts(domain=domain)) for domain in domains),
            ]
        )
    table = render_table(["place", "model", "average", "solved", *domains], rows)
    notes = ["Average: mean of the domains' rates. Brackets: 95% Wilson intervals, in percent."]
    if any(problems != first for problems in asked.values()):
        notes.append(f"\\* judged on other problems than {_cell(entries[0][0])}: not comparable one to one.")
    return table + "\n\n" + "\n".join(notes) + "\n"


def _problems(result: EvaluationResult) -> frozenset[tuple[str, str]]:
    return frozenset((problem.domain, problem.problem_file) for problem in result.problems)


def _rate(successes: int, count: int) -> str:
    if not count:
        return "-"
    low, high = wilson_interval(successes, count)
    return f"{100 * successes / count:.1f}% {successes}/{count} [{100 * low:.1f}, {100 * high:.1f}]"


def _cell(text: str) -> str:
    """A name in a Markdown table: bars and line ends would break the row."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
