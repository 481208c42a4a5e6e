"""Problems with reference plans, as JSONL rows, one file a domain.

    python script/generate_data.py --domains ferry spanner --count 500 --seed 7 --split train --out data/mine

Training and test problems never meet: the split of a problem is decided by its canonical form, whatever seed made it. Kill it at
any time and run the same command again: it goes on, and the finished files are the same.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402
from grpo_project.pddl.explanation import DETAILS  # noqa: E402
from grpo_project.prompting import PROMPT_FORMATS, PROMPT_STYLES  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--domains", nargs="+", metavar="NAME", help="default: every domain that is not held out")
    add("--count", type=int, default=100, help="rows per domain, over all shards (default 100)")
    add("--seed", type=int, default=1, help="names the stream of problems (default 1)")
    add(
        "--sizes",
        default="train",
        metavar="NAME|RANGES",
        help="small, train, harder or far; from one to another, small-far; or ranges such as n=3-5,l=4 (default train)",
    )
    constraints = parser.add_mutually_exclusive_group()
    constraints.add_argument(
        "--constraints", dest="constraints_share", action="store_const", const=1.0, help="in every problem (default)"
    )
    constraints.add_argument("--no-constraints", dest="constraints_share", action="store_const", const=0.0, help="in none")
    constraints.add_argument("--constraints_share", type=float, metavar="SHARE", help="in this share of them, 0 to 1")
    add("--split", choices=("train", "test"), default="train", help="decided by a problem's canonical form (default train)")
    add(
        "--exclude",
        nargs="+",
        metavar="DIR",
        help="data roots whose problems no row may equal up to renaming: a benchmark of your own, for instance",
    )
    add("--out", required=True, metavar="DIR", help="a new folder, or one that the same command line has begun")
    add("--shard", default="0/1", metavar="I/N", help="make the I-th of N parts (I from 0), for job arrays")
    add("--workers", type=int, default=0, help="processes; default one a core. The rows do not depend on it")
    add("--node_budget", type=int, default=200_000, help="search nodes per problem (default 200,000)")
    add("--plan_ties", choices=("fixed", "random"), default="random", help="which of equally good plans is the reference")
    add(
        "--plans",
        choices=("search", "policy", "varied_policy", "reasoned_policy"),
        default="search",
        help="policy: plans of each domain's simple rule, where it works; varied_policy: its open choices drawn at random; "
        "reasoned_policy: with the reasoning in front, in <think> (delivery: the search for its ways)",
    )
    add(
        "--ignore_constraints_share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the plans that are made as a classical planner makes them: as if the problem had no constraints",
    )
    add(
        "--repairs_share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the rows that are repairs: a plan that fails, what the verifier says of it, and the right plan, which "
        "alone is learned (docs/sft.md)",
    )
    add(
        "--middle_share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the rows that begin in the middle of a plan, with what is left of the constraints, for --step_by_step",
    )
    add("--repair_detail", choices=DETAILS, default="state", help="how much is said (default state)")
    add(
        "--names",
        choices=("conventional", "drawn", "invented", "any"),
        default="conventional",
        help="of objects: b1, b2, ... in this order, as published; drawn from the domain's vocabulary; invented words; or any "
        "(drawn, and invented in a quarter). All but the first list the objects in a drawn order",
    )
    add(
        "--prompt_style",
        choices=PROMPT_STYLES,
        default="full",
        help="PDDL; the short line of a small planner; or domain and problem under symbols drawn anew for every row (schemas)",
    )
    add("--prompt_format", choices=PROMPT_FORMATS, default="pddl", help="of the full style: PDDL, JSON or English")
    duplicates = parser.add_mutually_exclusive_group()
    duplicates.add_argument(
        "--unique", dest="allow_duplicates", action="store_false", help="skip problems equal up to renaming (default)"
    )
    duplicates.add_argument("--allow_duplicates", action="store_true", help="keep them (needed for large sets of SFT examples)")
    add("--no_inline", dest="inline", action="store_false", help="leave the problem's PDDL out of the rows: for SFT only")
    add("--no_prompt", dest="with_prompt", action="store_false", help="leave the prompt out: readers make it of the PDDL")
    parser.set_defaults(constraints_share=1.0, allow_duplicates=False)
    return parser


@entry_point("stopped. Run the same command again to go on.")
def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    match = re.fullmatch(r"(\d+)/(\d+)", arguments.shard)
    if not match or int(match[1]) >= int(match[2]):
        raise ConfigError(f"--shard must be I/N with 0 <= I < N, got {arguments.shard!r}")
    from grpo_project.data.corpus import CorpusConfig, generate_corpus

    settings = {name: value for name, value in vars(arguments).items() if name not in ("shard", "domains", "exclude", "workers")}
    settings |= {"domains": tuple(arguments.domains or ()), "exclude": tuple(arguments.exclude or ())}
    generate_corpus(CorpusConfig(**settings, shard=int(match[1]), shards=int(match[2])), arguments.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
