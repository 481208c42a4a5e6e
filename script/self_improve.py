#!/usr/bin/env python
"""Self-improvement: SFT on the model's own verified plans, in rounds of growing problems (docs/sft.md).

    python script/self_improve.py --base_model data/models/tiny-planner --output_dir outputs/improved

Each round draws problems a little larger than the last, samples several answers for each, keeps those that the validator
accepts, and fine-tunes on them. Kill it at any time and run the same command again: it goes on. Flags of script/train_sft.py for
the rounds stand after `--`:

    python script/self_improve.py --base_model outputs/warm_start/model --output_dir outputs/improved --rounds 8 --names any \\
        --demonstrations outputs/sft_data -- --max_steps 400 --learning_rate 2e-3 --bf16
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--base_model", required=True, metavar="DIR", help="the model to begin with: it must solve some of the first sizes")
    add("--output_dir", required=True, type=Path, metavar="DIR", help="new, or one that the same command has begun")
    add("--domains", nargs="+", metavar="NAME", help="default: every domain that is not held out")
    add("--rounds", type=int, default=6, help="(default 6)")
    add("--problems", type=int, default=400, help="per domain and round (default 400)")
    add("--samples", type=int, default=8, help="answers drawn for each problem (default 8)")
    add("--kept", type=int, default=2, help="most plans of one problem that are learned from, the shortest (default 2)")
    add("--temperature", type=float, default=1.0, help="(default 1.0)")
    add("--max_completion_length", type=int, default=256, help="tokens of an answer (default 256)")
    add("--first_sizes", default="train", help="small, train, harder or far: from which sizes the rounds grow (default train)")
    add("--last_sizes", default="harder", help="and up to which (default harder)")
    add("--constraints_share", type=float, default=0.7, help="share of the problems with constraints (default 0.7)")
    add("--names", default="conventional", help="as in generate_data.py (default conventional, which the shipped planners know)")
    add("--demonstrations", nargs="+", default=[], metavar="DIR", help="data roots that every round learns from too")
    add("--seed", type=int, default=1, help="(default 1)")
    add("sft", nargs="*", help="after --: flags of script/train_sft.py for every round")
    return parser


@entry_point("stopped. Run the same command again to go on.", outlives_output=True)
def main(argv: list[str] | None = None) -> int:
    """Exit status: 0, 2 for a mistake that the message names, 130 after Ctrl-C."""
    arguments = build_parser().parse_args(argv)
    from grpo_project.domains import training_domains
    from grpo_project.sft.config import build_parser as sft_parser
    from grpo_project.sft.self_improvement import SelfImprovementConfig, improve

    given = vars(arguments) | {
        "domains": tuple(arguments.domains or training_domains()),
        "demonstrations": tuple(arguments.demonstrations),
        "sft": tuple(arguments.sft),
    }
    config = SelfImprovementConfig(**given)
    sft_parser("the flags of train_sft.py that stand after --").parse_args(arguments.sft)  # a mistake there costs no round
    model = improve(config)
    print(f"Model: {model}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
