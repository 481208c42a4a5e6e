"""Prints how the problems of a data root fall into easy, medium and hard, per domain. Reads the file names only.

python script/test_difficulty_parsing.py --data_root data/four_domain
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


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="test_difficulty_parsing.py",
        description="Difficulty scores and buckets of each domain, read from the problems' file names.",
    )
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
    """Prints one block per domain. Returns 0, or 2 after a one-line message on standard error."""
    arguments = parse_arguments(argv)
    from grpo_project.data.difficulty import fill_buckets
    from grpo_project.data.rows import read_rows

    data_root = Path(arguments.data_root) if arguments.data_root is not None else REPOSITORY / DEFAULT_DATA_ROOT
    table = read_rows(data_root, validate_pddl=False)
    buckets = fill_buckets(table.rows, table.domains)
    print("\n\n".join(report(domain, statistics) for domain, statistics in buckets.statistics.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
