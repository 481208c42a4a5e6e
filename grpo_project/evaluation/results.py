"""What an evaluation found: counts per domain, difficulty and constraints, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from grpo_project.common.files import json_value
from grpo_project.common.statistics import bootstrap_interval_of_rates, pass_at_k, wilson_interval
from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import DataError
from grpo_project.pddl import VERDICT_CLASSES
from grpo_project.pddl.lenient import PLAN_READINGS

SUCCESS = VERDICT_CLASSES[0]
NO_ANSWER = "no_answer"  # stands beside the verdict classes: no failure of a plan, but none solved either
NO_CONSTRAINT = "none"


@dataclass(frozen=True)
class SampleResult:
    """One more completion of a problem and its verdict; cost, tokens and readings as in ProblemResult."""

    verdict_class: str
    plan_cost: float
    completion: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    cut_off: bool | None = None
    refused: str | None = None
    by_reading: Mapping[str, str] | None = None
    dropped: str = ""

    @property
    def success(self) -> bool:
        return self.verdict_class == SUCCESS


@dataclass(frozen=True)
class ProblemResult:
    """One problem: who it is, the verdict on the greedy answer, and what the plan cost against the reference (None: unknown).

    constraint_kind: the PDDL3 operators of its constraints, sorted and joined by +, or `none`. Tokens, seconds and cut_off (the
    answer ended at the limit on tokens) are those of the greedy answer, None where unknown. refused: why there is no answer, in
    the server's words; the verdict is NO_ANSWER then. samples: drawn answers. repairs: the greedy answer's successors in its
    conversation with the verifier.
    by_reading: the verdict class under each of PLAN_READINGS, of which verdict_class is one; None where it was read in one way.
    dropped: what the lenient reading left out (pddl/lenient.py), sorted and joined by +. difficulty: its score; canonical: its
    canonical form, which equal problems share. Results of before these were kept have None and "".
    """

    domain: str
    problem_file: str
    bucket: str
    constrained: bool
    verdict_class: str
    plan_cost: float
    reference_cost: float | None
    completion: str
    constraint_kind: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    cut_off: bool | None = None
    refused: str | None = None
    by_reading: Mapping[str, str] | None = None
    dropped: str = ""
    samples: tuple[SampleResult, ...] = ()
    repairs: tuple[SampleResult, ...] = ()
    difficulty: float | None = None
    canonical: str = ""

    @property
    def success(self) -> bool:
        return self.verdict_class == SUCCESS

    @property
    def independent(self) -> tuple[ProblemResult | SampleResult, ...]:
        """The greedy answer, then the drawn ones."""
        return (self, *self.samples)

    @property
    def conversation(self) -> tuple[ProblemResult | SampleResult, ...]:
        """The greedy answer, then its repairs."""
        return (self, *self.repairs)

    @property
    def cost_ratio(self) -> float | None:
        """Cost of a valid plan over that of the reference; None for a failed one, or without a reference cost above 0."""
        reference = self.reference_cost or 0.0
        return self.plan_cost / reference if self.success and reference > 0 else None

    def pass_at(self, k: int) -> float:
        """pass@k from this problem's samples. Raises ValueError where there are fewer than k."""
        return pass_at_k(len(self.samples), sum(sample.success for sample in self.samples), k)


@dataclass(frozen=True)
class EvaluationResult:
    """All problems in the order in which they were asked, and how long the completions took.

    settings: what decides the numbers (model, data and their fingerprints, prompts, sampling); tokens: the sums over all answers,
    and `cost` in the currency of the price given, or None.
    """

    problems: tuple[ProblemResult, ...]
    seconds: float
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(problem.domain for problem in self.problems))

    def without_repeats(self) -> EvaluationResult:
        """With the first row alone of problems that are equal up to names and order."""
        first: dict[tuple[str, str], ProblemResult] = {}
        for number, problem in enumerate(self.problems):
            first.setdefault((problem.domain, problem.canonical or str(number)), problem)
        return replace(self, problems=tuple(first.values()))

    @property
    def num_samples(self) -> int:
        """Samples that every problem has."""
        return min((len(problem.samples) for problem in self.problems), default=0)

    def where(self, **values: Any) -> list[ProblemResult]:
        """The problems whose attributes equal `values`, in order."""
        return [p for p in self.problems if all(getattr(p, key) == value for key, value in values.items())]

    def counts(self, **where: Any) -> tuple[int, int]:
        """(successes, problems) among those whose attributes equal `where`."""
        chosen = self.where(**where)
        return sum(p.success for p in chosen), len(chosen)

    def rate(self, domain: str) -> float:
        successes, count = self.counts(domain=domain)
        return successes / count if count else 0.0

    def average(self) -> float:
        """The mean of the domains' success rates, each domain counted once whatever its number of problems."""
        return sum(map(self.rate, self.domains)) / len(self.domains) if self.domains else 0.0

    def pass_at(self, k: int, **where: Any) -> tuple[float, float, float]:
        """(pass@k, low, high) over the problems whose attributes equal `where`; the interval resamples them.

        Raises ValueError where one of them has fewer than k samples, and where there are none.
        """
        return _mean_pass_at(self.where(**where), k)

    def successes_by_reading(self, **where: Any) -> dict[str, int] | None:
        """Greedy successes under each of PLAN_READINGS among the problems whose attributes equal `where`; None where some were
        read in one way only."""
        return _successes_by_reading(self.where(**where))

    def dropped(self) -> dict[str, int]:
        """From how many greedy answers the lenient reading dropped something, by name in DROPPED; `answers`: from how many."""
        named = [problem.dropped.split("+") for problem in self.problems if problem.dropped]
        return {"answers": len(named), **Counter(name for names in named for name in names)} if named else {}

    def verdicts(self, domain: str) -> Counter[str]:
        return Counter(problem.verdict_class for problem in self.problems if problem.domain == domain)

    def ks(self) -> tuple[int, ...]:
        """The k of pass@k that are reported: those asked for, or 1 and the number of samples."""
        asked = self.settings.get("k")
        if not isinstance(asked, (list, tuple)) or not asked:
            asked = sorted({1, self.num_samples})
        return tuple(k for k in asked if isinstance(k, int) and 1 <= k <= self.num_samples)

    def to_json(self) -> dict[str, Any]:
        """Plain data: a summary for people, and every problem, from which from_json makes an equal result."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "settings": dict(self.settings),
            "usage": dict(self.usage),
            "average": self.average(),
            "successes_by_reading": self.successes_by_reading(),
            "dropped": self.dropped(),
            "domains": {domain: self._summary(self.where(domain=domain)) for domain in self.domains},
            "groups": [
                {"domain": domain, "bucket": bucket, "constraint_kind": kind, **self._summary(members)}
                for (domain, bucket, kind), members in self.groups().items()
            ],
            "problems": [asdict(problem) for problem in self.problems],
        }

    def groups(self) -> dict[tuple[str, str, str], list[ProblemResult]]:
        """The problems of each (domain, bucket, constraint kind) that has any: domains in order, easy to hard, kinds sorted."""
        order = {bucket: number for number, bucket in enumerate(BUCKETS)}
        keys = {(p.domain, p.bucket, p.constraint_kind) for p in self.problems}
        place = {domain: i for i, domain in enumerate(self.domains)}
        ordered = sorted(keys, key=lambda key: (place[key[0]], order.get(key[1], len(BUCKETS)), key[2]))
        return {key: self.where(domain=key[0], bucket=key[1], constraint_kind=key[2]) for key in ordered}

    def _summary(self, problems: Sequence[ProblemResult]) -> dict[str, Any]:
        successes, count = sum(p.success for p in problems), len(problems)
        low, high = wilson_interval(successes, count)
        summary: dict[str, Any] = {
            "successes": successes,
            "count": count,
            "interval_95": [low, high],
            "verdicts": dict(Counter(p.verdict_class for p in problems)),
            "successes_by_reading": _successes_by_reading(problems),
        }
        for k in self.ks():
            value, low, high = _mean_pass_at(problems, k)
            summary[f"pass@{k}"] = {"value": value, "interval_95": [low, high]}
        ratios = [ratio for p in problems if (ratio := p.cost_ratio) is not None]
        summary["cost_ratio"] = sum(ratios) / len(ratios) if ratios else None
        summary["at_reference_cost"] = sum(ratio <= 1 for ratio in ratios) if ratios else None
        summary["completion_tokens"] = _mean(p.completion_tokens for p in problems if p.refused is None)
        summary["seconds_per_problem"] = _mean(p.seconds for p in problems if p.refused is None)
        return summary

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvaluationResult:
        """Reads what to_json wrote, now or before it knew samples and settings. Raises KeyError or TypeError for other data."""
        problems = []
        for problem in data["problems"]:
            more = {name: tuple(SampleResult(**sample) for sample in problem.get(name, ())) for name in ("samples", "repairs")}
            problems.append(ProblemResult(**{**problem, **more}))
        return cls(tuple(problems), data["seconds"], data["name"], data.get("settings", {}), data.get("usage", {}))


def read_result(path: str | Path) -> EvaluationResult:
    """The result in a file that script/evaluate.py or a training wrote. Raises DataError where there is none."""
    try:
        return EvaluationResult.from_json(json_value(Path(path).read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. script/evaluate.py --output writes such a file") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is no evaluation ({found}). script/evaluate.py --output writes one") from None


def _successes_by_reading(problems: Sequence[ProblemResult]) -> dict[str, int] | None:
    readings = [problem.by_reading for problem in problems if problem.by_reading is not None]
    if not readings or len(readings) < len(problems):
        return None
    return {name: sum(reading[name] == SUCCESS for reading in readings) for name in PLAN_READINGS}


def _mean_pass_at(problems: Sequence[ProblemResult], k: int) -> tuple[float, float, float]:
    values = [problem.pass_at(k) for problem in problems]
    low, high = bootstrap_interval_of_rates(values)
    return sum(values) / len(values), low, high


def _mean(values: Iterable[float | None]) -> float | None:
    """None where any is missing: a mean over some of the problems would be no figure of all."""
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    return sum(value for value in known if value is not None) / len(known)
