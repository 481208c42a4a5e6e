"""Which weights were evaluated: a model folder may hold others tomorrow."""

from __future__ import annotations

import hashlib
from pathlib import Path

from grpo_project.common.files import utf8
from grpo_project.common.paths import locate_model


def model_fingerprint(*models: str | None) -> str | None:
    """SHA-256 (hex) over the names, sizes and times of change of all files in these model folders; None for hub names alone.

    Times of change instead of contents: a large model takes minutes to read.
    """
    digest = hashlib.sha256()
    found = False
    for model in models:
        folder = Path(locate_model(model)) if model else None
        if folder is None or not folder.is_dir():
            continue
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                found = True
                status = path.stat()
                digest.update(utf8(f"{path.relative_to(folder)}/{status.st_size}/{status.st_mtime_ns}\n"))
    return digest.hexdigest() if found else None
