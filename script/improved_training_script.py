#!/usr/bin/env python
"""A second entry point to the trainer: train_grpo_unsloth_stl_v2.py with an evaluation every 25 steps and the stage curriculum.

    python script/improved_training_script.py --output_dir outputs/enhanced --eval_every_n_steps 25

Every flag of the main script is known here, and every flag shown here is known there. A resumed run keeps its own settings.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import train_grpo_unsloth_stl_v2 as main_script  # noqa: E402

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.configs.environment import read_environment  # noqa: E402

DEFAULTS: dict[str, object] = {"eval_every_n_steps": 25, "max_eval_samples": 8, "curriculum": "stage"}


@entry_point("\nInterrupted before the run began; nothing was written.", outlives_output=True)
def main(argv: list[str] | None = None) -> int:
    """Exit status as of the main script."""
    given = main_script.parse_flags(argv)
    named = {*given, *read_environment().values}
    if not named & {"resume_from_checkpoint", "config_file"}:
        given |= {name: value for name, value in DEFAULTS.items() if name not in named}
    return main_script.start(given)


if __name__ == "__main__":
    sys.exit(main())
