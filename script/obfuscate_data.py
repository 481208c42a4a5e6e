"""The problems of a data root with every predicate, action, type and object renamed, seeded, domains inline.

    python script/obfuscate_data.py --data_root data/test --seed 16 --out outputs/test_obfuscated

The same rows and seed give the same files. Each problem gets names of its own.
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
    parser.add_argument("--data_root", default="data/test", metavar="DIR", help="rows to rename (default data/test)")
    parser.add_argument("--seed", type=int, default=1, help="names the stream of invented words (default 1)")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder, or one that the same command made")
    return parser


@entry_point("stopped. Run the same command again.")
def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    from grpo_project.data.obfuscated import write_obfuscated

    written = write_obfuscated(arguments.data_root, arguments.out, arguments.seed)
    print(f"{arguments.out}: " + ", ".join(f"{domain} {count}" for domain, count in written.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
