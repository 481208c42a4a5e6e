"""completions.jsonl: one completion per domain and logging step, with its problem, so that a plan can be replayed later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_project.common.files import append_json_line
from grpo_project.data.rows import Row
from grpo_project.domains import all_domains
from grpo_project.rewards.trl import ScoredCompletion

COMPLETIONS = "completions.jsonl"
# The file stays small whatever the run: this many logging steps, evenly spaced, and so much of each text.
RECORDED_STEPS = 200
LONGEST_COMPLETION = 8_000  # characters


class CompletionFile:
    """A sink beside metrics.jsonl. `buckets` names the difficulty of each row.

    Of each domain the first completion after the last log line is kept: chosen before it is verified, so that the samples show
    neither the best nor the worst.
    """

    def __init__(self, path: Path, rows: Sequence[Row], buckets: Sequence[str], max_steps: int) -> None:
        self.path = path
        self._rows = rows
        self._buckets = buckets
        self._gap = max_steps / RECORDED_STEPS
        self._written_at: int | None = None
        self._kept: dict[str, ScoredCompletion] = {}

    def observe(self, scored: Sequence[ScoredCompletion]) -> None:
        """One batch of completions as the reward function scored them."""
        for item in scored:
            self._kept.setdefault(self._rows[item.row_index].scenario, item)

    def beside(self, observer: Callable[[list[Any]], None]) -> Callable[[list[Any]], None]:
        """An observer for the reward function that shows each batch to both."""

        def both(scored: list[Any]) -> None:
            observer(scored)
            self.observe(scored)

        return both

    def record(self, record: Mapping[str, Any]) -> None:
        """A log line is due: the samples since the last one go to the file, if it is their turn."""
        step = int(record["step"])
        if self._kept and (self._written_at is None or step - self._written_at >= self._gap):
            self._written_at = step
            for domain, item in sorted(self._kept.items()):
                append_json_line(self.path, self._line(step, domain, item))
        self._kept = {}

    def close(self) -> None:
        """Nothing is held open."""

    def _line(self, step: int, domain: str, item: ScoredCompletion) -> dict[str, Any]:
        row = self._rows[item.row_index]
        line = {
            "step": step,
            "domain": domain,
            "problem_file": row.problem_file,
            "bucket": self._buckets[item.row_index],
            "verdict_class": item.verdict.verdict_class,
            "reward": item.parts.total,
            "completion": _encodable(item.text[:LONGEST_COMPLETION]),
            "cut": len(item.text) > LONGEST_COMPLETION,
            "problem_pddl": row.problem_text,
        }
        known = all_domains().get(domain)
        if known is None or known.domain_pddl != row.domain_text:
            line["domain_pddl"] = row.domain_text
        return line


def _encodable(text: str) -> str:
    """Half of a surrogate pair cannot be written as UTF-8; a sample must never stop a run."""
    return text.encode("utf-8", "replace").decode("utf-8")
