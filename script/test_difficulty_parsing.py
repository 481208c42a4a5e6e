"""Prints how the problems of a data root fall into easy, medium and hard, per domain, and whether their PDDL files are found.

python script/test_difficulty_parsing.py --data_root data/four_domain
python script/test_difficulty_parsing.py --data_root my_rows --domains logistics --problem_root my_pddl
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from grpo_project.common.entry_point import entry_point  # noqa: E402

if TYPE_CHECKING:
    from grpo_project.data.difficulty import BucketStatistics

DEFAULT_DATA_ROOT = "data/four_domain"
NO_PROBLEMS = 1


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="test_difficulty_parsing.py",
        description="Difficulty scores and buckets of each domain, read from the problems' file names. Exit status 1: training "
        "would refuse a domain, since no problem file of it is found.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--domains", nargs="+", default=None, metavar="NAME", help="default: every domain that has a file")
    add("--problem_root", nargs="+", default=[], metavar="DIR", help="where PDDL files are looked for too, however deep")
    add("--difficulty_pattern", metavar="TEXT", help="as in training: scores file names that follow no grammar of this suite")
    parser.add_argument(
        "--data_root",
        default=None,
        metavar="DIR",
        help=f"folder with one <domain>.jsonl per domain (default: {DEFAULT_DATA_ROOT} of this repository)",
    )
    return parser.parse_args(argv)


def report(domain: str, statistics: BucketStatistics) -> str:
    """The block of one domain, as the quick-start guide shows it."""
    p40, p80 = statistics.p40, statistics.p80
    labels = {"easy": f"Easy   (≤{p40:.1f}): ", "medium": f"Medium ({p40:.1f}-{p80:.1f}):", "hard": f"Hard   (>{p80:.1f}): "}
    lines = [
        f"Domain: {domain}",
        f"  Samples analyzed: {statistics.count}",
        "  Difficulty Score Statistics:",
        f"    Min:    {statistics.min:.1f}",
        f"    Max:    {statistics.max:.1f}",
        f"    Mean:   {statistics.mean:.1f}",
        f"    Median: {statistics.median:.1f}",
        "  Percentiles (for bucketing):",
        f"    40th (p40): {p40:.1f}",
        f"    80th (p80): {p80:.1f}",
        "  Bucket Distribution:",
    ]
    for bucket, label in labels.items():
        lines.append(f"    {label} {statistics.counts[bucket]:4d} samples ({100 * statistics.share(bucket):.1f}%)")
    return "\n".join(lines)


@entry_point()
def main(argv: list[str] | None = None) -> int:
    """Prints one block per domain. Returns 0; 1 where a domain has no problem file, 2 where nothing can be read, both with one
    line on standard error."""
    arguments = parse_arguments(argv)
    from grpo_project.data.difficulty import fill_buckets
    from grpo_project.data.origin import Origin
    from grpo_project.data.rows import read_rows, rows_without_files

    data_root = Path(arguments.data_root) if arguments.data_root is not None else REPOSITORY / DEFAULT_DATA_ROOT
    origin = Origin.of(data_root, arguments.problem_root, arguments.difficulty_pattern)
    table = read_rows(origin, arguments.domains, validate_pddl=False)
    missing = {name: rows_without_files([table.rows[index] for index in table.indices_of(name)]) for name in table.domains}
    buckets = fill_buckets(table.rows, table.domains)
    print("\n\n".join(report(domain, statistics) for domain, statistics in buckets.statistics.items()))
    left = {name: statistics.count - len(missing[name]) for name, statistics in buckets.statistics.items()}
    for name, rows in missing.items():
        if rows:
            then = "skips them" if left[name] else "refuses the domain"
            counted = f"{len(rows)} of {len(rows) + left[name]} rows lack a file"
            print(f"{name}: {counted}, and training {then}: {rows[0]}", file=sys.stderr)
    return 0 if all(left.values()) else NO_PROBLEMS


if __name__ == "__main__":
    sys.exit(main())
