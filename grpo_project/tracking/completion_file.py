"""completions.jsonl: one completion per domain and logging step, with its problem, so that a plan can be replayed later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grpo_project.common.files import append_json_line
from grpo_project.data.rows import Row
from grpo_project.domains import all_domains
from grpo_project.rewards.trl import ScoredCompletion
from grpo_project.runs.observer import Observer, Record

COMPLETIONS = "completions.jsonl"
# The file stays small whatever the run: this many logging steps, evenly spaced, and so much of each text.
RECORDED_STEPS = 200
LONGEST_COMPLETION = 8_000  # characters


class CompletionFile(Observer):
    """Beside metrics.jsonl. `buckets` names the difficulty of each row.

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

    def completions_scored(self, step: int, scored: Sequence[ScoredCompletion]) -> None:
        for item in scored:
            self._kept.setdefault(self._rows[item.row_index].scenario, item)

    def record_made(self, record: Record) -> None:
        """A log line is due: the samples since the last one go to the file, if it is their turn."""
        step = int(record["step"])
        if self._kept and (self._written_at is None or step - self._written_at >= self._gap):
            self._written_at = step
            for domain, item in sorted(self._kept.items()):
                append_json_line(self.path, self._line(step, domain, item))
        self._kept = {}

    def _line(self, step: int, domain: str, item: ScoredCompletion) -> dict[str, Any]:
        row = self._rows[item.row_index]
        line = {
            "step": step,
            "domain": domain,
            "problem_file": row.problem_file,
            "bucket": self._buckets[item.row_index],
            "verdict_class": item.verdict.verdict_class,
            "reward": item.total,
            "completion": _encodable(item.text[:LONGEST_COMPLETION]),
            "cut": len(item.text) > LONGEST_COMPLETION,
            "problem_pddl": row.problem_text,
        }
        if len(item.rewards) > 1:
            line["rewards"] = dict(item.rewards)
        known = all_domains().get(domain)
        if known is None or known.domain_pddl != row.domain_text:
            line["domain_pddl"] = row.domain_text
        return line


def _encodable(text: str) -> str:
    """Half of a surrogate pair cannot be written as UTF-8; a sample must never stop a run."""
    return text.encode("utf-8", "replace").decode("utf-8")
