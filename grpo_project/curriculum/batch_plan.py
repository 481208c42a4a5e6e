"""Which rows stand in batch g: an exact quota per domain, buckets by curriculum weight. A function of (seed, g, decision)."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from grpo_project.common.random_streams import stream
from grpo_project.curriculum.base import Decision, mean_weights
from grpo_project.curriculum.frontier import LevelRows
from grpo_project.curriculum.quotas import domain_quotas
from grpo_project.curriculum.weights import DomainWeights
from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchPlan:
    """Batch number `batch`. `row_indices`, `domains` and `buckets` run in parallel, one entry per prompt, `batch_size` long.

    Domains alternate in a fixed order: a b c d a b c d, and those with a larger quota go on: b b. `buckets` names where each
    row really came from, after fallback.
    `weights` are the shares aimed at, {bucket: share in [0, 1]}, the mean over prompts; `domain_weights` has them per domain.
    `step` is the optimizer step (from 0) whose curriculum decision made the batch.
    """

    batch: int
    step: int
    row_indices: tuple[int, ...]
    domains: tuple[str, ...]
    buckets: tuple[str, ...]
    weights: Mapping[str, float]
    domain_weights: DomainWeights


class _Pool(NamedTuple):
    """Rows that prompts are drawn from. `name`: (domain, bucket), or (domain, bucket, level)."""

    name: tuple[str, ...]
    rows: Sequence[int]


def nearest_buckets(bucket: str) -> tuple[str, ...]:
    """All buckets, nearest first, beginning with `bucket` itself; at equal distance the easier one."""
    place = BUCKETS.index(bucket)
    return tuple(sorted(BUCKETS, key=lambda name: (abs(BUCKETS.index(name) - place), BUCKETS.index(name))))


class BatchPlanner:
    """Plans batches of row indices.

    seed: names all random streams of the planner.
    bucket_rows: {domain: {bucket: row indices}}; buckets may be empty or left out, a domain may not be empty. The order of the
        domains is the order within a batch.
    batch_size: prompts per batch; must come out even over the domains by their `quota_weights`.
    decide: generation batch (from 0) -> Decision, with quotas that sum to batch_size; it must answer the same at any time, as
        `CurriculumEngine.decide` does.
    max_steps: optimizer steps of the run.
    steps_per_batch: optimizer steps that train on one batch (TRL's num_iterations); a fraction where a step takes several
        batches, 1/A with A batches to a step.
    batches_per_generation: batches whose completions are made together; all of them follow the curriculum of the first one's
        step. A with A batches to a step (steps_per_batch being num_iterations/A).
    quota_weights: {domain: whole number}, 1 where not named; `quotas` is in that proportion.
    levels: {domain: {bucket: {difficulty score: row indices}}}, for decisions that choose among the scores of a bucket.

    Raises ConfigError for anything else. `plan` may be called in any order, any number of times, in any process.
    """

    def __init__(
        self,
        seed: int,
        bucket_rows: Mapping[str, Mapping[str, Sequence[int]]],
        batch_size: int,
        decide: Callable[[int], Decision],
        max_steps: int,
        steps_per_batch: float | Fraction = 1,
        batches_per_generation: int = 1,
        quota_weights: Mapping[str, int] | None = None,
        levels: LevelRows | None = None,
    ) -> None:
        self.domains = tuple(bucket_rows)
        self.quotas = domain_quotas(batch_size, self.domains, quota_weights)
        if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
            raise ConfigError(f"max_steps must be a whole number of 1 or more, got {max_steps!r}")
        if not (math.isfinite(steps_per_batch) and steps_per_batch > 0):
            raise ConfigError(f"steps_per_batch must be above 0, got {steps_per_batch}")
        if isinstance(batches_per_generation, bool) or not isinstance(batches_per_generation, int) or batches_per_generation < 1:
            raise ConfigError(f"batches_per_generation must be a whole number of 1 or more, got {batches_per_generation!r}")
        self.seed = seed
        self.batch_size = batch_size
        self.max_steps = max_steps
        self.batches_per_generation = batches_per_generation
        # As a float, 49 batches of 1/49 step each fall short of step 1; as a fraction they do not.
        self.steps_per_batch = Fraction(steps_per_batch).limit_denominator(1_000_000)
        self.decide = decide
        self.quota_weights = dict(quota_weights or {})
        self._pools = {domain: _pools(domain, buckets) for domain, buckets in bucket_rows.items()}
        owner: dict[int, str] = {}
        for domain, pools in self._pools.items():
            for bucket, members in pools.items():
                for index in members:
                    if index in owner:
                        raise ConfigError(f"row {index} stands twice, in {owner[index]} and in {domain} {bucket}")
                    owner[index] = f"{domain} {bucket}"
        self._levels = levels or {}
        self._said: set[tuple[str, str]] = set()
        self._cycles: dict[tuple[str, ...], tuple[int, list[int]]] = {}

    def step_of(self, batch: int) -> int:
        """The optimizer step, 0..max_steps-1, that first trains on batch `batch` (from 0); later batches count to the last."""
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 0:
            raise ValueError(f"batches count from 0, got {batch!r}")
        first = batch // self.batches_per_generation * self.batches_per_generation
        return min(math.floor(first * self.steps_per_batch), self.max_steps - 1)

    def plan(self, batch: int) -> BatchPlan:
        """Batch number `batch` (from 0). Raises ConfigError for weights that cannot be used, ValueError for batch < 0."""
        step = self.step_of(batch)
        decision = self._decision(batch)
        drawn = {domain: self._draw(batch, domain, decision) for domain in self.domains}
        rounds = range(max(decision.quotas.values()))
        slots = [(name, *drawn[name][place]) for place in rounds for name in self.domains if place < decision.quotas[name]]
        return BatchPlan(
            batch=batch,
            step=step,
            row_indices=tuple(index for _, _, index in slots),
            domains=tuple(domain for domain, _, _ in slots),
            buckets=tuple(bucket for _, bucket, _ in slots),
            weights=mean_weights(decision),
            domain_weights=decision.weights,
        )

    def replacements(self, generation: int, attempt: int, rows: Sequence[int], used: set[int]) -> list[int | None]:
        """For each of `rows` another row of its domain, of the same bucket or the nearest with any left, not in `used`.

        No row twice; None where the domain has no other. The same for the same generation batch (from 0) and attempt. Raises
        KeyError for a row that is none of the planner's.
        """
        home = {row: (name, bucket) for name, pools in self._pools.items() for bucket, own in pools.items() for row in own}
        taken = set(used)
        found: list[int | None] = []
        for place, row in enumerate(rows):
            domain, bucket = home[row]
            rng = stream(self.seed, "resample", generation, attempt, place)
            left = ([index for index in self._pools[domain][name] if index not in taken] for name in nearest_buckets(bucket))
            members = next((own for own in left if own), None)
            if members is None:
                found.append(None)
                continue
            chosen = rng.choice(members)
            taken.add(chosen)
            found.append(chosen)
        return found

    def plans(self, count: int) -> Iterator[BatchPlan]:
        """plan(0), plan(1), ..., plan(count - 1)."""
        return (self.plan(batch) for batch in range(count))

    def _decision(self, batch: int) -> Decision:
        decision = self.decide(batch // self.batches_per_generation)
        quotas = decision.quotas
        if set(quotas) != set(self.domains) or min(quotas.values()) < 1 or sum(quotas.values()) != self.batch_size:
            raise ConfigError(f"quotas {dict(quotas)} do not share {self.batch_size} prompts among {', '.join(self.domains)}")
        return decision

    def _draw(self, batch: int, domain: str, decision: Decision) -> list[tuple[str, int]]:
        """The quota of a domain as pairs (bucket, row index); no row twice while the domain has one that was not drawn."""
        rng = stream(self.seed, "batch", batch, domain)
        quota, shares = decision.quotas[domain], decision.weights[domain]
        used: set[int] = set()
        # Where quotas move, batch x quota would come to positions that were walked before.
        first = decision.drawn_before.get(domain, batch // self.batches_per_generation * self.batches_per_generation * quota)
        before = first + batch % self.batches_per_generation * quota
        pairs = []
        for place in range(quota):
            bucket = _choose(rng, [(name, shares[name]) for name in BUCKETS])
            source = self._source(domain, bucket, used)
            pool = self._level(rng, domain, source, decision, used)
            index = self._row(pool, before + place, used, decision.skipped)
            used.add(index)
            pairs.append((source, index))
        return pairs

    def _source(self, domain: str, bucket: str, used: set[int]) -> str:
        """The bucket to draw from: the nearest with a row not in the batch yet, or, with none left, the nearest with rows."""
        pools = self._pools[domain]
        filled = [name for name in nearest_buckets(bucket) if pools[name]]
        if filled[0] != bucket and (domain, bucket) not in self._said:
            self._said.add((domain, bucket))  # for the log only: no plan depends on it
            logger.warning("%s has no %s rows; %s ones stand in", domain, bucket, filled[0])
        for name in filled:
            if len(pools[name]) > len(used) or any(index not in used for index in pools[name]):
                return name
        return filled[0]

    def _level(self, rng: random.Random, domain: str, bucket: str, decision: Decision, used: set[int]) -> _Pool:
        """What to walk through: the bucket, or one of its levels, drawn by its share among those with a row not in the batch."""
        shares = decision.levels.get(domain, {}).get(bucket, {})
        rows = self._levels[domain][bucket] if shares else {}
        left = [(level, shares.get(level, 0.0)) for level, own in rows.items() if not used.issuperset(own)]
        if not any(share for _, share in left):
            return _Pool((domain, bucket), self._pools[domain][bucket])
        level = _choose(rng, left)
        return _Pool((domain, bucket, level), rows[level])

    def _row(self, pool: _Pool, position: int, used: set[int], skipped: frozenset[int]) -> int:
        """The row at a position of the pool's endless walk: one random order of all its rows after another.

        Walking instead of drawing evens out how often each row is seen. The position comes from the batch number alone, so a
        plan needs no other plan. Skipped rows are passed over unless no other is left, and so are rows already in the batch.
        """
        size = len(pool.rows)
        spare = None
        for ahead in range(2 * size):  # from anywhere, two rounds meet every row
            round_number, place = divmod(position + ahead, size)
            index = self._round(pool, round_number)[place]
            if index not in used:
                if index not in skipped:
                    return index
                spare = index if spare is None else spare
        if spare is not None:
            return spare
        round_number, place = divmod(position, size)
        return self._round(pool, round_number)[place]

    def _round(self, pool: _Pool, number: int) -> list[int]:
        """The pool's rows in the random order of round `number`. The last order is kept to save time, never to remember."""
        kept = self._cycles.get(pool.name)
        if kept is None or kept[0] != number:
            order = list(pool.rows)
            stream(self.seed, "round", number, *pool.name).shuffle(order)
            kept = (number, order)
            self._cycles[pool.name] = kept
        return kept[1]


def _pools(domain: str, buckets: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Every bucket of a domain with its rows, sorted: the order in which they came must not matter."""
    unknown = [str(name) for name in buckets if name not in BUCKETS]
    if unknown:
        raise ConfigError(f"{domain} has rows in {', '.join(unknown)}; the buckets are {', '.join(BUCKETS)}")
    pools = {name: tuple(sorted(buckets.get(name, ()))) for name in BUCKETS}
    if not any(pools.values()):
        raise ConfigError(f"{domain} has no rows: leave it out, or give it some")
    if any(index < 0 for members in pools.values() for index in members):
        raise ConfigError(f"{domain} has a negative row index")
    return pools


def _choose(rng: random.Random, shares: Sequence[tuple[str, float]]) -> str:
    """A name with the probability of its share; one with share 0 never. The order of the names belongs to the draw."""
    possible = [(name, share) for name, share in shares if share > 0]
    point = rng.random() * math.fsum(share for _, share in possible)
    reached = 0.0
    for name, share in possible:
        reached += share
        if point < reached:
            return name
    return possible[-1][0]  # rounding
