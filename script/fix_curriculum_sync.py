#!/usr/bin/env python
"""Find out whether the curriculum of a run can go on where its checkpoints are, and put its state file right.

    python script/fix_curriculum_sync.py --diagnose --output_dir outputs/my-run
    python script/fix_curriculum_sync.py --create-fresh --checkpoint outputs/my-run/checkpoint-100
    python script/fix_curriculum_sync.py --auto-fix --output_dir outputs/my-run

A state inside a checkpoint is never changed: training goes on from that one, and exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from grpo_project.common.entry_point import entry_point  # noqa: E402


@entry_point()
def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 healthy or written, 1 findings, 2 cannot run."""
    parser = argparse.ArgumentParser(prog=Path(__file__).name, description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--output_dir", type=Path, help="run folder; default: that of --checkpoint, else the working directory")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint (or run) folder")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--diagnose", action="store_true", help="look, and change nothing (the default)")
    how.add_argument("--create-fresh", action="store_true", help="write curriculum_state.json anew from --checkpoint")
    how.add_argument("--auto-fix", action="store_true", help="repair; every file that is changed is kept as .backup")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    flags = parser.parse_args(argv)
    from grpo_project.repair.curriculum import FILE, diagnose, write_fresh_state
    from grpo_project.repair.findings import HEALTHY, report
    from grpo_project.repair.resume import run_and_checkpoint

    run, checkpoint = run_and_checkpoint(flags.checkpoint or flags.output_dir or Path())
    if flags.create_fresh and flags.checkpoint is None:
        parser.error("--create-fresh needs --checkpoint")
    run = flags.output_dir or run
    if not flags.create_fresh:
        return report(lambda: diagnose(run), as_json=flags.json, fix=flags.auto_fix, notes=[f"run {run}"])
    source = write_fresh_state(run / FILE, checkpoint)
    text = f"{run / FILE} written from {source}"
    print(json.dumps({"written": str(run / FILE), "from": source}) if flags.json else text)
    return HEALTHY


if __name__ == "__main__":
    sys.exit(main())
