"""The collapse guard: a domain that falls significantly below its best is named at the evaluation that shows it.

An average can rise while a whole domain is lost, so every domain is compared with itself. A fall counts when the 99% Wilson
intervals of now and of the best do not meet. With 24 problems, one at 67% is named at 12% or below, one at 96% at 46%.
The intervals are that wide because the best is the luckiest of many looks. Simulated, a domain of any constant rate is named by
chance in 0.1% of runs with 10 evaluations of 24 problems and in 3% with 40; with 95% intervals it would be in 7% and in 41%.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpo_project.common.statistics import wilson_interval
from grpo_project.curriculum.base import EvaluationOutcome

Z = 2.576  # 99%, two-sided


@dataclass(frozen=True)
class Change:
    """A domain that collapsed (`collapsed`) or came back. Counts are (successes, problems); steps count from 0."""

    domain: str
    collapsed: bool
    step: int
    now: tuple[int, int]
    best_step: int
    best: tuple[int, int]

    def __str__(self) -> str:
        what = "COLLAPSED" if self.collapsed else "recovered"
        return (
            f"{self.domain} {what}: held-out success {_shown(self.now)} at step {self.step}, "
            f"its best was {_shown(self.best)} at step {self.best_step}"
        )


class CollapseGuard:
    """Remembers the best evaluation of every domain. `collapsed`: the domains that are down now, in order of falling."""

    def __init__(self) -> None:
        self.collapsed: list[str] = []
        self._best: dict[str, tuple[int, int, int]] = {}  # domain -> (step, successes, problems)

    def check(self, outcome: EvaluationOutcome) -> list[Change]:
        """What changed with this evaluation: domains that fell, and domains that came back to their best."""
        changes = []
        for domain in outcome.cells:
            now = outcome.domain_counts(domain)
            if not now[1]:
                continue
            low, high = wilson_interval(*now, Z)
            best = self._best.get(domain)
            if best is None or low > wilson_interval(*best[1:], Z).low:
                self._best[domain] = best = (outcome.step, *now)
            down = high < wilson_interval(*best[1:], Z).low
            if down != (domain in self.collapsed):
                changes.append(Change(domain, down, outcome.step, now, best[0], best[1:]))
                if down:
                    self.collapsed.append(domain)
                else:
                    self.collapsed.remove(domain)
        return changes

    def best_step(self, domain: str) -> int:
        """The step of the domain's best evaluation."""
        return self._best[domain][0]

    def state_dict(self) -> dict[str, Any]:
        return {"collapsed": list(self.collapsed), "best": {domain: list(best) for domain, best in self._best.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.collapsed = [str(domain) for domain in state["collapsed"]]
        self._best = {domain: (int(best[0]), int(best[1]), int(best[2])) for domain, best in state["best"].items()}


def _shown(counts: tuple[int, int]) -> str:
    low, high = wilson_interval(*counts, Z)
    return f"{counts[0] / counts[1]:.0%} ({counts[0]}/{counts[1]}, {low:.0%} to {high:.0%})"
