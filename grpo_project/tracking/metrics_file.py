"""metrics.jsonl: one line of plain JSON per logging step, on disk before the next step begins."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from grpo_project.common.files import append_json_line
from grpo_project.runs.observer import Observer, Record

logger = logging.getLogger(__name__)


class MetricsFile(Observer):
    """Appends records to `path`. NaN and infinity become null: JSON has neither.

    What a full disk does not take waits for the next record; training goes on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[Any] = []

    def record_made(self, record: Record) -> None:
        """Writes one line, after those that still wait."""
        self._waiting.append(dict(record))
        try:
            while self._waiting:
                append_json_line(self.path, self._waiting[0])
                del self._waiting[0]
        except OSError as error:
            logger.warning("%s took no line (%s); %d wait", self.path, error, len(self._waiting))
