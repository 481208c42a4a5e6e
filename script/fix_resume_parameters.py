#!/usr/bin/env python
"""Find what keeps a training from going on as it was: settings, lengths, W&B, checkpoints. Repair what can be repaired.

python script/fix_resume_parameters.py --checkpoint outputs/my-run/checkpoint-100
python script/fix_resume_parameters.py --checkpoint outputs/my-run --auto-fix
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from grpo_project.common.entry_point import entry_point  # noqa: E402


@entry_point()
def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 healthy, 1 findings, 2 cannot run."""
    parser = argparse.ArgumentParser(prog=Path(__file__).name, description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--checkpoint", type=Path, help="checkpoint or run folder; without it only settings are looked at")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--auto-fix", action="store_true", help="repair; every file that is changed is kept as .backup")
    how.add_argument("--report-only", action="store_true", help="change nothing (as without --auto-fix)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    flags = parser.parse_args(argv)
    from grpo_project.repair.findings import report
    from grpo_project.repair.resume import diagnose, run_and_checkpoint

    notes = []
    if flags.checkpoint is not None:
        run, checkpoint = run_and_checkpoint(flags.checkpoint)
        notes = [f"run {run}", f"checkpoint {checkpoint.name if checkpoint else 'none that is good'}"]
    return report(lambda: diagnose(flags.checkpoint), as_json=flags.json, fix=flags.auto_fix, notes=notes)


if __name__ == "__main__":
    sys.exit(main())
