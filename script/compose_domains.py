"""Demonstrations in transport domains put together at random, for planners that read domains (docs/sft.md).

    python script/compose_domains.py --count 20000 --seed 1 --out outputs/composed

The same command gives the same files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.configs.asking import at_least  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--count", type=int, default=1000, metavar="N", help="rows (default 1000)")
    add("--seed", type=int, default=1, help="names the stream of domains and problems (default 1)")
    add("--places", type=int, nargs=2, default=(3, 5), metavar=("LEAST", "MOST"), help="of a problem (default 3 5)")
    add("--things", type=int, nargs=2, default=(1, 3), metavar=("LEAST", "MOST"), help="that are carried (default 1 3)")
    add("--constraints_share", type=float, default=0.5, metavar="SHARE", help="of the rows with a constraint (default 0.5)")
    add("--out", required=True, metavar="DIR", help="a new folder")
    return parser


@entry_point("stopped. Nothing was written; run the same command again.")
def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    at_least(arguments, count=1)
    for name, least in (("places", 2), ("things", 1)):
        low, high = getattr(arguments, name)
        if not least <= low <= high:
            raise ConfigError(f"--{name} must be two numbers from {least} on, the lesser one first, got {low} {high}")
    if not 0 <= arguments.constraints_share <= 1:
        raise ConfigError(f"--constraints_share must lie in 0..1, got {arguments.constraints_share:g}")
    from grpo_project.data.composed import write_composed

    sizes = tuple(arguments.places), tuple(arguments.things)
    write_composed(arguments.out, arguments.count, arguments.seed, *sizes, arguments.constraints_share)
    print(f"{arguments.out}: {arguments.count} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
