"""`frontier`: problems that are solved about half the time, by a fit of success over the difficulty scores of each domain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from grpo_project.curriculum.base import EvaluationOutcome, GroupOutcome
from grpo_project.errors import ConfigError

# {domain: {bucket: {level: row indices}}}; a level is a difficulty score as text, such as "25" (see `levels_of`).
LevelRows = Mapping[str, Mapping[str, Mapping[str, Sequence[int]]]]

KNOWN, FAR = 0.75, 0.25  # fitted pass rates from which a level is known, and up to which it is out of reach
_NEWTON_STEPS = 25


def levels_of(bucket_rows: Mapping[str, Mapping[str, Sequence[int]]], scores: Sequence[float]) -> LevelRows:
    """The rows of every bucket by their difficulty score, from low to high. `scores`: by row index."""
    levels: dict[str, dict[str, dict[str, list[int]]]] = {}
    for domain, buckets in bucket_rows.items():
        levels[domain] = {}
        for bucket, rows in buckets.items():
            own = levels[domain].setdefault(bucket, {})
            for row in sorted(rows, key=lambda row: (scores[row], row)):
                own.setdefault(f"{scores[row]:g}", []).append(row)
    return levels


class FrontierCurriculum:
    """Draws most prompts where the fitted pass rate is near a target, and a share of what is known and of what is far.

    The pass rate of a completion over the difficulty score of its problem is fitted in each domain by a logistic curve
    (Rasch 1960: one difficulty an item, one ability), with all that was seen fading over generation batches; so a few groups
    say something about every level, also about those that were never drawn. Half is where a group of completions differs most
    in its rewards: p (1 - p) is the variance of success, the learnability of Foster et al. 2025 (arXiv 2502.12272). AdaRFT (Shi
    et al. 2025, arXiv 2504.05520) moves one target difficulty by the mean reward; a fit needs no step size and knows how steep
    the slope is. A level is weighted by its number of rows times exp(-sharpness x KL(target, fitted)), which for a target of one
    half is (4 p (1 - p)) ^ (sharpness / 2).

    levels: {domain: {bucket: {score: row indices}}}. target_pass_rates: {domain: in (0, 1)}, one half where not named (NVIDIA's
    Nemotron 3 blends its data by such targets). known_share, far_share: shares in [0, 1) drawn evenly from the rows whose fitted
    pass rate is 0.75 or more, so that they are not forgotten, and 0.25 or less, so that what became possible is noticed; where a
    domain has no such rows the share goes to the frontier. half_life: generation batches after which an observation counts half.
    Raises ConfigError.
    """

    name = "frontier"
    uses_groups = True
    uses_evaluations = False

    def __init__(
        self,
        levels: LevelRows,
        target_pass_rates: Mapping[str, float] | None = None,
        known_share: float = 0.15,
        far_share: float = 0.1,
        sharpness: float = 6.0,
        half_life: float = 10.0,
    ) -> None:
        targets = dict(target_pass_rates or {})
        unknown = [name for name in targets if name not in levels]
        if unknown:
            raise ConfigError(f"--target_pass_rate names {', '.join(unknown)}; the domains of this run are {', '.join(levels)}")
        if not (0 <= known_share and 0 <= far_share and known_share + far_share < 1):
            raise ConfigError(f"known_share {known_share} and far_share {far_share} must lie in [0, 1) and leave a share")
        if not (half_life > 0 and math.isfinite(sharpness) and sharpness >= 0):
            raise ConfigError(f"half_life must be above 0 and sharpness 0 or more, got {half_life} and {sharpness}")
        self._targets = {domain: targets.get(domain, 0.5) for domain in levels}
        self._known_share, self._far_share, self._sharpness = known_share, far_share, sharpness
        self._fading = 0.5 ** (1 / half_life)
        self._bucket_of = {
            domain: {level: b for b, own in buckets.items() for level in own} for domain, buckets in levels.items()
        }
        self._rows = {
            domain: {level: len(rows) for own in buckets.values() for level, rows in own.items()}
            for domain, buckets in levels.items()
        }
        self._level_of = {
            row: level for buckets in levels.values() for own in buckets.values() for level, rows in own.items() for row in rows
        }
        self._seen = self._nothing_seen()

    def _nothing_seen(self) -> dict[str, dict[str, list[float]]]:
        """{domain: {level: [passed, completions]}}, both faded."""
        return {domain: {level: [0.0, 0.0] for level in own} for domain, own in self._rows.items()}

    def observe_groups(self, groups: Sequence[GroupOutcome]) -> None:
        """The groups of one generation batch; all that was seen before fades by one generation batch."""
        for own in self._seen.values():
            for cell in own.values():
                cell[0] *= self._fading
                cell[1] *= self._fading
        for group in groups:
            cell = self._seen[group.domain][self._level_of[group.row_index]]
            cell[0] += group.successes
            cell[1] += group.count

    def observe_evaluation(self, outcome: EvaluationOutcome) -> None:
        """Training groups say more, and sooner."""

    def observe_collapse(self, domain: str) -> None:
        """What was learned about a domain that fell no longer holds."""
        self._seen[domain] = self._nothing_seen()[domain]

    def pass_rates(self, domain: str) -> dict[str, float]:
        """{level: fitted pass rate in (0, 1)}, never rising with the score; before anything was seen, one half in the middle."""
        scores = {level: float(level) for level in self._rows[domain]}
        rows = self._rows[domain]
        count = sum(rows.values())
        middle = math.fsum(scores[level] * rows[level] for level in rows) / count
        width = math.sqrt(math.fsum(rows[level] * (scores[level] - middle) ** 2 for level in rows) / count) or 1.0
        places = {level: (score - middle) / width for level, score in scores.items()}
        seen = self._seen[domain]
        ability, slope = _fitted_curve([(places[level], seen[level][0], seen[level][1]) for level in rows])
        return {level: _logistic(ability - slope * place) for level, place in places.items()}

    def weights(self, step: int, max_steps: int) -> dict[str, dict[str, dict[str, float]]]:
        """{domain: {bucket: {level: share}}}: shares of a domain sum to 1."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for domain, rows in self._rows.items():
            rates, target = self.pass_rates(domain), self._targets[domain]
            pull = {level: rows[level] * math.exp(-self._sharpness * _divergence(target, rate)) for level, rate in rates.items()}
            known = {level: float(rows[level]) for level, rate in rates.items() if rate >= KNOWN}
            far = {level: float(rows[level]) for level, rate in rates.items() if rate <= FAR}
            kept = (self._known_share if known else 0.0, self._far_share if far else 0.0)
            shares = dict.fromkeys(rows, 0.0)
            for share, own in ((1 - sum(kept), pull), (kept[0], known), (kept[1], far)):
                total = math.fsum(own.values())
                for level, weight in own.items():
                    shares[level] += share * weight / total
            found[domain] = {}
            for level, share in shares.items():
                # Rounded for journal and log; shares are normalised again where they are used.
                found[domain].setdefault(self._bucket_of[domain][level], {})[level] = round(share, 6)
        return found

    def metrics(self) -> dict[str, Any]:
        """The score at which the fitted pass rate is nearest to the target, and the number of completions it rests on."""
        frontier, seen = {}, {}
        for domain in self._rows:
            rates = self.pass_rates(domain)
            nearest = min(rates, key=lambda level: (abs(rates[level] - self._targets[domain]), float(level)))
            frontier[domain] = float(nearest)
            seen[domain] = round(math.fsum(cell[1] for cell in self._seen[domain].values()), 1)
        return {"curriculum/frontier_score": frontier, "curriculum/frontier_completions": seen}

    def state_dict(self) -> dict[str, Any]:
        return {"seen": {domain: {level: list(cell) for level, cell in own.items()} for domain, own in self._seen.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ConfigError for a state of other problems."""
        seen = state["seen"]
        if {domain: set(own) for domain, own in seen.items()} != {domain: set(own) for domain, own in self._rows.items()}:
            raise ConfigError("the saved state of the frontier curriculum is of other domains or difficulties")
        self._seen = {
            domain: {level: [float(seen[domain][level][0]), float(seen[domain][level][1])] for level in own}
            for domain, own in self._rows.items()
        }


def parse_target_pass_rates(entries: Sequence[str], domains: Sequence[str]) -> dict[str, float]:
    """{domain: target} of entries such as `0.5`, for all, and `ferry=0.6`. Raises ConfigError for anything else."""
    targets: dict[str, float] = {}
    named: dict[str, float] = {}
    for entry in entries:
        name, equals, text = entry.rpartition("=")
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if not 0 < rate < 1 or bool(equals) != bool(name):
            raise ConfigError(
                f"--target_pass_rate {entry!r}: write a rate above 0 and below 1, or domain=RATE, such as ferry=0.6"
            )
        if name in named or (not name and targets):
            raise ConfigError(f"--target_pass_rate names {name or 'a rate for all domains'} twice")
        if name:
            named[name] = rate
        else:
            targets = dict.fromkeys(domains, rate)
    return targets | named


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _divergence(target: float, rate: float) -> float:
    """KL divergence in nats between two coins, of which one falls heads with `target` and the other with `rate`."""
    rate = min(max(rate, 1e-9), 1 - 1e-9)
    return target * math.log(target / rate) + (1 - target) * math.log((1 - target) / (1 - rate))


def _fitted_curve(seen: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """(ability, slope) of the likeliest logistic curve through (place, passed, completions), with normal priors: ability 0 +- 3,
    slope 1.5 +- 1 and at least 0, in units of the scores' standard deviation. By Newton's method with halved steps."""

    def loss(ability: float, slope: float) -> float:
        value = ability**2 / 18 + (slope - 1.5) ** 2 / 2
        for place, passed, count in seen:
            x = ability - slope * place
            value += count * (max(x, 0.0) + math.log1p(math.exp(-abs(x)))) - passed * x
        return value

    ability, slope = 0.0, 1.5
    best = loss(ability, slope)
    for _ in range(_NEWTON_STEPS):
        g0, g1, h00, h01, h11 = ability / 9, slope - 1.5, 1 / 9, 0.0, 1.0
        for place, passed, count in seen:
            rate = _logistic(ability - slope * place)
            g0 += count * rate - passed
            g1 -= (count * rate - passed) * place
            curvature = count * rate * (1 - rate)
            h00, h01, h11 = h00 + curvature, h01 - curvature * place, h11 + curvature * place**2
        determinant = h00 * h11 - h01**2
        step = ((h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant)
        scale = 1.0
        while scale > 1e-6 and (found := loss(ability - scale * step[0], max(0.0, slope - scale * step[1]))) > best:
            scale /= 2
        if scale <= 1e-6 or best - found < 1e-12:
            break
        ability, slope, best = ability - scale * step[0], max(0.0, slope - scale * step[1]), found
    return ability, slope
