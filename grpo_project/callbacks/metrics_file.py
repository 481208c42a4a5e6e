"""metrics.jsonl: one line of plain JSON per logging step, on disk before the next step begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_project.core.files import append_json_line


class MetricsFile:
    """Appends records to `path`. NaN and infinity become null: JSON has neither."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, record: Mapping[str, Any]) -> None:
        """Writes one line."""
        append_json_line(self.path, _finite(record))

    def close(self) -> None:
        """Nothing is held open."""


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
