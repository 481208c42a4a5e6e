"""What a repair tool found: each finding with its fix, as text and as JSON; and changes that keep a backup of what was there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEALTHY, FOUND, CANNOT_RUN = 0, 1, 2


@dataclass(frozen=True)
class Finding:
    """`area`: what it concerns (configuration, lengths, wandb, checkpoint, curriculum, environment). `fix`: what to do.

    `repair`: does it, and returns the files it changed; None where only a person can.
    """

    area: str
    text: str
    fix: str
    repair: Callable[[], list[Path]] | None = None

    def to_json(self) -> dict[str, Any]:
        return {"area": self.area, "text": self.text, "fix": self.fix, "automatic": self.repair is not None}


def back_up(path: Path) -> Path | None:
    """Copies a file to <name>.backup, .backup2 and so on; None where there is nothing to copy. An older backup is never lost."""
    if not path.exists():
        return None
    number, target = 1, path.with_name(f"{path.name}.backup")
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.backup{number}")
    shutil.copy2(path, target)
    return target


def report(
    diagnose: Callable[[], Sequence[Finding]],
    *,
    as_json: bool,
    fix: bool = False,
    notes: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> int:
    """Diagnoses, with `fix` repairs what can be repaired and diagnoses again, and says so. Returns 0 healthy or 1 findings."""
    findings = diagnose()
    changed: list[Path] = []
    if fix:
        for finding in findings:
            changed += finding.repair() if finding.repair is not None else []
        findings = diagnose() if changed else findings
    if as_json:
        content = {
            "healthy": not findings,
            "findings": [finding.to_json() for finding in findings],
            "changed": [str(path) for path in changed],
            "notes": list(notes),
        }
        say(json.dumps(content, ensure_ascii=False, indent=2))
        return FOUND if findings else HEALTHY
    for note in notes:
        say(note)
    for path in changed:
        say(f"repaired: {path} (what was there is kept beside it as .backup)")
    for finding in findings:
        say(f"[{finding.area}] {finding.text}")
        say(f"    fix: {finding.fix}" + ("  (--auto-fix does it)" if finding.repair is not None and not fix else ""))
    say(f"{len(findings)} finding{'s' if len(findings) > 1 else ''}" if findings else "healthy: no findings")
    return FOUND if findings else HEALTHY
