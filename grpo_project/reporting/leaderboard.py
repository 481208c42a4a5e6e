"""Evaluations of files and of runs to one Markdown table, best first, with counts and intervals."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from grpo_project.common.text import interval_text, percent, rate_text, text_table
from grpo_project.errors import ConfigError
from grpo_project.evaluation.results import EvaluationResult, read_result
from grpo_project.reporting.page_data import outcome_of
from grpo_project.reporting.run import RecordedRun, read_run


@dataclass(frozen=True)
class Entry:
    """A row. counts: (solved, asked) by domain; pass_at: (value, low, high) by k. Rows of equal `problems` can be compared.

    `repeats`: answers that are left out, since their problem was asked before.
    """

    name: str
    counts: Mapping[str, tuple[int, int]]
    problems: Hashable
    pass_at: Mapping[int, tuple[float, float, float]] = field(default_factory=dict)
    repeats: int = 0

    @classmethod
    def of(cls, name: str, result: EvaluationResult) -> Entry:
        whole, result = result, result.without_repeats()
        counts = {domain: result.counts(domain=domain) for domain in result.domains}
        problems = frozenset((problem.domain, problem.problem_file) for problem in result.problems)
        repeats = len(whole.problems) - len(result.problems)
        return cls(name, counts, problems, {k: result.pass_at(k) for k in result.ks()}, repeats)

    def average(self) -> float:
        """The mean of the domains' success rates."""
        rates = [solved / asked for solved, asked in self.counts.values() if asked]
        return sum(rates) / len(rates) if rates else 0.0


def read_entries(paths: Sequence[str | Path]) -> list[Entry]:
    """What each path holds: an evaluation file, or a run with its evaluations. Raises DataError.

    Where names meet, the path is told too.
    """
    found = [(path, entry) for path in map(Path, paths) for entry in _entries(path)]
    names = [entry.name for _, entry in found]
    return [entry if names.count(entry.name) == 1 else replace(entry, name=f"{entry.name} ({path})") for path, entry in found]


def _entries(path: Path) -> list[Entry]:
    if path.is_dir():
        return _entries_of_run(read_run(path))
    result = read_result(path)
    return [Entry.of(result.name or path.stem, result)]


def _entries_of_run(run: RecordedRun) -> list[Entry]:
    """Its stored evaluations, then those made while it trained: of these the run keeps counts, on problems of their own."""
    stored = [Entry.of(f"{run.name}, {found.label}", found.result) for found in run.evaluations]
    during = []
    for outcome in map(outcome_of, run.outcomes):
        counts = {domain: outcome.domain_counts(domain) for domain in outcome.cells}
        during.append(Entry(f"{run.name}, step {outcome.step} in training", counts, run.path))
    return stored + during


def leaderboard(entries: Sequence[Entry]) -> str:
    """Ranked by the average of the domains. Rows on other problems than the first entry's are marked: they compare badly.

    A cell is `rate solved/asked [95% Wilson interval]`; pass@k stands where an entry has drawn answers. Raises ConfigError
    without entries.
    """
    if not entries:
        raise ConfigError("a leaderboard needs evaluations: script/evaluate.py --output writes one, and most runs hold some")
    domains = sorted({domain for entry in entries for domain in entry.counts})
    ks = sorted({k for entry in entries for k in entry.pass_at})
    first = entries[0]
    # A model that was not asked about a domain is ranked by the others, which the mark says.
    ranked = sorted(entries, key=lambda entry: (-entry.average(), entry.name))
    rows = []
    for place, entry in enumerate(ranked, 1):
        mark = "" if entry.problems == first.problems else " *"
        solved, asked = (sum(counts[place] for counts in entry.counts.values()) for place in (0, 1))
        rows.append(
            [
                f"{place}",
                f"{_cell(entry.name)}{mark}",
                percent(entry.average()),
                f"{solved}/{asked}",
                *(_pass_at(entry, k) for k in ks),
                *(rate_text(*entry.counts.get(domain, (0, 0)), counts=True) for domain in domains),
            ]
        )
    table = text_table(["place", "model", "average", "solved", *(f"pass@{k}" for k in ks), *domains], rows)
    notes = ["Average: mean of the domains' rates. Brackets: 95% Wilson intervals, in percent."]
    if ks:
        notes.append("pass@k: mean over the problems, from drawn answers; brackets: 95% bootstrap intervals over problems.")
    repeats = sum(entry.repeats for entry in entries)
    if repeats:
        notes.append(f"{repeats} answers are left out: their problems, equal up to names and order, stand above already.")
    if any(entry.problems != first.problems for entry in entries):
        notes.append(f"\\* evaluated on other problems than {_cell(first.name)}: not comparable one to one.")
    return table + "\n\n" + "\n".join(notes) + "\n"


def _pass_at(entry: Entry, k: int) -> str:
    if k not in entry.pass_at:
        return "-"
    value, low, high = entry.pass_at[k]
    return f"{percent(value)} {interval_text(low, high)}"


def _cell(text: str) -> str:
    """A name in a Markdown table: bars and line ends would break the row."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
