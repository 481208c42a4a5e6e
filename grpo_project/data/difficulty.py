"""Difficulty of a problem from its file name, and the three buckets of a domain."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from grpo_project.data.rows import Row
from grpo_project.domains import get_domain
from grpo_project.errors import DataError

logger = logging.getLogger(__name__)

BUCKETS = ("easy", "medium", "hard")  # in order of difficulty
LONGEST_FILE_NAME = 255  # of every common file system; a longer text is no file name

_warned: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Difficulty:
    """`score` >= 0, larger is harder. `parameters` are the numbers in the file name; `matched` says whether it fits the
    domain's grammar. A name that does not fit has score 0 and no parameters."""

    score: float
    parameters: Mapping[str, int] = field(default_factory=dict)
    matched: bool = True


def difficulty_of(scenario: str, problem_file: str) -> Difficulty:
    """The difficulty that a file name states by its domain's grammar and formula; folders in front are ignored.

    A name that does not fit is warned about once per name and counts as score 0, which is always easy. Raises the domain
    registry's error for an unknown scenario.
    """
    domain = get_domain(scenario)
    name = re.split(r"[/\\]", problem_file)[-1]
    parameters = domain.parameters_of(name) if len(name) <= LONGEST_FILE_NAME else None
    if parameters is None:
        if (scenario, name) not in _warned:
            _warned.add((scenario, name))
            shown = name if len(name) <= 80 else name[:77] + "..."
            fitting = domain.file_name_format
            logger.warning("%s: file name %r does not fit %s; its difficulty counts as 0, easy", scenario, shown, fitting)
        return Difficulty(0.0, {}, False)
    return Difficulty(domain.difficulty(parameters), parameters, True)


@dataclass(frozen=True)
class BucketStatistics:
    """Scores of one domain. easy <= easy_up_to < medium <= medium_up_to < hard; p40 and p80 are percentiles, which interpolate
    linearly (numpy's default) and are the borders unless others were asked for.

    `counts` has every bucket, in order of difficulty; ties can leave medium or hard with 0. `count` is their sum.
    """

    count: int
    min: float
    max: float
    mean: float
    median: float
    p40: float
    p80: float
    easy_up_to: float
    medium_up_to: float
    counts: Mapping[str, int]

    def bucket_of(self, score: float) -> str:
        """easy, medium or hard."""
        if score <= self.easy_up_to:
            return "easy"
        return "medium" if score <= self.medium_up_to else "hard"

    def share(self, bucket: str) -> float:
        """The share of a bucket in all scores, in [0, 1]."""
        return self.counts[bucket] / self.count


def bucket_scores(scores: Iterable[float], bands: str = "percentiles") -> BucketStatistics:
    """Statistics and bucket borders of the scores of one domain, by one of DIFFICULTY_BANDS. Raises DataError without scores or with one not finite."""
    values = [float(score) for score in scores]
    if not values:
        raise DataError("no difficulty score to put into buckets: the domain has no rows")
    if not all(math.isfinite(value) for value in values):
        raise DataError("a difficulty score is not finite")
    p40, p80 = map(float, np.percentile(values, [40, 80]))
    low, width = min(values), max(values) - min(values)
    ends = {"percentiles": (p40, p80), "scores": (low + width / 3, low + width * 2 / 3)}[bands]
    borders = BucketStatistics(
        count=len(values),
        min=min(values),
        max=max(values),
        mean=math.fsum(values) / len(values),
        median=float(np.median(values)),
        p40=p40,
        p80=p80,
        easy_up_to=ends[0],
        medium_up_to=ends[1],
        counts={},
    )
    counts = dict.fromkeys(BUCKETS, 0)
    for value in values:
        counts[borders.bucket_of(value)] += 1
    return replace(borders, counts=counts)


@dataclass(frozen=True)
class Buckets:
    """`rows`: {domain: {bucket: row indices, ascending}} with every bucket of every domain, domains in the order asked for;
    `of_row`: bucket of each row, by row index; `scores`: difficulty score of each row; `statistics`: per domain."""

    rows: Mapping[str, Mapping[str, list[int]]]
    of_row: Sequence[str]
    scores: Sequence[float]
    statistics: Mapping[str, BucketStatistics]


def fill_buckets(rows: Sequence[Row], domains: Sequence[str] | None = None, bands: str = "percentiles") -> Buckets:
    """Sorts rows into the buckets of their own domain, by file name. `domains` sets the order, else that of first appearance;
    `bands`: one of DIFFICULTY_BANDS.

    Raises DataError for a domain without rows and for a row of a domain that `domains` leaves out.
    """
    names = list(dict.fromkeys(row.scenario for row in rows)) if domains is None else list(domains)
    members: dict[str, list[int]] = {name: [] for name in names}
    scores = []
    for index, row in enumerate(rows):
        if row.scenario not in members:
            raise DataError(f"row {index} is of {row.scenario}, which is not among the domains ({', '.join(names)})")
        members[row.scenario].append(index)
        scores.append(difficulty_of(row.scenario, row.problem_file).score)
    empty = [name for name in names if not members[name]]
    if empty:
        raise DataError(f"no rows for {', '.join(empty)}")
    statistics = {name: bucket_scores((scores[index] for index in indices), bands) for name, indices in members.items()}
    of_row = [statistics[row.scenario].bucket_of(score) for row, score in zip(rows, scores, strict=True)]
    filled = {
        name: {bucket: [index for index in indices if of_row[index] == bucket] for bucket in BUCKETS}
        for name, indices in members.items()
    }
    return Buckets(filled, of_row, scores, statistics)
