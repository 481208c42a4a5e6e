"""Data of other tools as a data root: one row a problem, its PDDL inside, plans only where they were verified (docs/own_data.md).

    python script/convert_data.py rows/merged.jsonl --problem_root repository --out data/mine
    python script/convert_data.py pairs.json more_pairs.jsonl --out data/mine --split
    python script/convert_data.py folder_of_pddl_files --out data/mine --split

With --split a quarter of the problems becomes OUT/test, the rest OUT/train: by canonical form, so that no problem is in both, nor
in OUT/test and in training data of generate_data.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.errors import DataError  # noqa: E402

NAMED = 10  # refused records


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="JSON Lines, JSON, or a folder of .jsonl or of .pddl files")
    add(
        "--problem_root",
        nargs="+",
        default=[],
        metavar="DIR",
        help="where PDDL files that records name are looked for, however deep",
    )
    add("--split", action="store_true", help="into OUT/train and OUT/test")
    add("--out", required=True, metavar="DIR", help="a new or empty folder")
    return parser


@entry_point()
def main(argv: list[str] | None = None) -> int:
    """Returns 0; 1 where some records were refused, 2 after a one-line message where nothing was written."""
    arguments = build_parser().parse_args(argv)
    from grpo_project.data.conversion import convert, describe, write_converted

    converted = convert(arguments.sources, arguments.problem_root, arguments.split)
    for line in converted.refused[:NAMED]:
        print(f"refused: {line}", file=sys.stderr)
    if not converted.rows:
        raise DataError(f"none of {converted.counts['records']} records can be used")
    write_converted(converted, Path(arguments.out))
    print(f"{arguments.out}: {describe(converted)}")
    if converted.refused:
        print(f"{len(converted.refused)} records are refused; the first {NAMED} are named above", file=sys.stderr)
    return 1 if converted.refused else 0


if __name__ == "__main__":
    sys.exit(main())
