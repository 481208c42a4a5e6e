#!/usr/bin/env python
"""Send W&B the points it missed: of an offline run, or of one whose server was down. Each point arrives exactly once.

    python script/sync_wandb.py --output_dir outputs/my-run

The server is asked what it has, before and after, so the command can be repeated at any time.
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
    """Exit status: 0 W&B has every point, 1 it still lacks some, 2 the server or the run cannot be reached."""
    parser = argparse.ArgumentParser(prog=Path(__file__).name, description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--output_dir", type=Path, required=True, help="run folder, the one that holds wandb_sync_state.json")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long a run may take to be sent [600]")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    flags = parser.parse_args(argv)
    from grpo_project.tracking.wandb_sync import sync_folder_to_wandb

    results = sync_folder_to_wandb(flags.output_dir, flags.seconds)
    if flags.json:
        print(json.dumps({"runs": results}))
    for run in results if not flags.json else ():
        if run["held_before"] >= run["points"]:
            print(f"run {run['run_id']}: W&B has all {run['points']} points already")
        else:
            print(f"run {run['run_id']}: W&B had {run['held_before']} of {run['points']} points, now {run['held_after']}")
    lacking = any(run["held_after"] is None or run["held_after"] < run["points"] for run in results)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
