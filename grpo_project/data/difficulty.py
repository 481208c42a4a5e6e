"""Difficulty of a problem, for the most part from its file name, and the three buckets of a domain."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from grpo_project.data.rows import Row
from grpo_project.domains import all_domains, get_domain
from grpo_project.errors import DataError
from grpo_project.pddl.conditions import conjuncts

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


def difficulty_of(scenario: str, problem_file: str, pattern: str | None = None) -> Difficulty:
    """The difficulty that a file name states by its domain's grammar and formula, else by `pattern`, whose groups in the first
    match are added up; folders in front are ignored.

    A name that fits neither is warned about once per name and counts as score 0, which is always easy. Raises the domain
    registry's error for an unknown scenario without a pattern.
    """
    domain = all_domains().get(scenario) if pattern is not None else get_domain(scenario)
    name = re.split(r"[/\\]", problem_file)[-1]
    readable = len(name) <= LONGEST_FILE_NAME
    parameters = domain.parameters_of(name) if domain is not None and readable else None
    if domain is not None and parameters is not None:
        return Difficulty(domain.difficulty(parameters), parameters)
    score = _score_by(pattern, name) if pattern is not None and readable else None
    if score is not None:
        return Difficulty(score)
    if (scenario, name) not in _warned:
        _warned.add((scenario, name))
        shown = name if len(name) <= 80 else name[:77] + "..."
        own = [domain.file_name_format] if domain is not None else []
        fitting = " or ".join([*own, *([f"--difficulty_pattern {pattern}"] if pattern is not None else [])])
        logger.warning("%s: file name %r does not fit %s; its difficulty counts as 0, easy", scenario, shown, fitting)
    return Difficulty(0.0, {}, False)


def difficulty_of_row(row: Row) -> Difficulty:
    """By its file name, as `difficulty_of`; of a domain that the registry does not know, without a pattern, the number of objects
    and of goals. Raises DataError or PddlError as the row's problem does."""
    known = row.scenario in all_domains()
    pattern = row.origin.difficulty_pattern
    if known or pattern is not None:
        return difficulty_of(row.scenario, row.problem_file, pattern)
    counted = {"objects": len(row.problem.objects), "goals": len(conjuncts(row.problem.goal))}
    return Difficulty(float(sum(counted.values())), counted)


def _score_by(pattern: str, name: str) -> float | None:
    """The sum of the groups that took part in the first match; None without a match, or where a group is no number from 0 on."""
    match = re.search(pattern, name, re.IGNORECASE)
    groups = [group for group in match.groups() if group is not None] if match else []
    try:
        score = math.fsum(map(float, groups))
    except (ValueError, OverflowError):
        return None
    return score if groups and 0 <= score < math.inf else None


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
    """Statistics and bucket borders of the scores of one domain, by one of DIFFICULTY_BANDS.

    Raises DataError without scores or with one not finite.
    """
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
    """Sorts rows into the buckets of their own domain, by `difficulty_of_row`. `domains` sets the order, else that of first
    appearance; `bands`: one of DIFFICULTY_BANDS.

    Raises DataError for a domain without rows and for a row of a domain that `domains` leaves out.
    """
    names = list(dict.fromkeys(row.scenario for row in rows)) if domains is None else list(domains)
    members: dict[str, list[int]] = {name: [] for name in names}
    scores = []
    for index, row in enumerate(rows):
        if row.scenario not in members:
            raise DataError(f"row {index} is of {row.scenario}, which is not among the domains ({', '.join(names)})")
        members[row.scenario].append(index)
        scores.append(difficulty_of_row(row).score)
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
