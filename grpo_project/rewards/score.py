"""A verdict to a number in [-1, 1].

Success scores 1. A failed plan is paid for its progress: the share of the goals, not already true at the start, that held
together in the best state reached before the failure. Two consequences make it pointless to game. The score never reads what was
not executed, so nothing after the failing step, no padding and no repetition counts. And it can only grow along the states of one
plan, so no truncation of a plan beats the plan; the class of the failure is left out of it on purpose, since a plan could
otherwise change its class by stopping one step earlier. States from a constraint violation on earn nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from grpo_project.configs.reward import LOWEST, RewardConfig
from grpo_project.pddl import Verdict


@dataclass(frozen=True)
class RewardParts:
    """`total` in [-1, 1] is the reward; `success` and `executed` are 0 or 1, `progress` in [0, 1]."""

    total: float
    success: float
    executed: float
    progress: float


def progress_of(verdict: Verdict) -> float:
    """Goals gained over the start in the best state, as a share of those that were missing; in [0, 1]."""
    missing = verdict.goals_total - verdict.initial_goals_met
    if missing <= 0:
        return 0.0
    return max(0, verdict.best_goals_met - verdict.initial_goals_met) / missing


def violated_share(verdict: Verdict) -> float:
    """How many of the problem's preferences, counted by name, the plan violates; in [0, 1]."""
    return len(verdict.violated_preferences) / verdict.preferences_total if verdict.preferences_total else 0.0


def succeeded(verdict: Verdict) -> bool:
    """Whether a plan counts as a success. An empty one does not, also where the goal holds from the start."""
    return verdict.success and verdict.steps_executed > 0


def score(verdict: Verdict, config: RewardConfig) -> RewardParts:
    """The parts of one verdict's reward. An empty plan scores the lowest, also where the goal holds from the start."""
    executed = 1.0 if verdict.steps_executed > 0 else 0.0
    progress = progress_of(verdict)
    kept = 1.0 - config.preference_weight * violated_share(verdict) if config.preference_weight else 1.0
    if config.mode == "banded" and executed:
        low, high = config.bands[verdict.verdict_class]
        share = kept if verdict.success else progress
        return RewardParts(low + (high - low) * share, float(verdict.success), executed, share)
    if verdict.success and executed:
        return RewardParts(config.success * kept, 1.0, executed, 1.0)
    if config.mode == "sparse" or not executed:
        return RewardParts(LOWEST, 0.0, executed, progress)
    span = config.failure_ceiling - LOWEST - config.executed_bonus
    return RewardParts(LOWEST + config.executed_bonus + span * progress, 0.0, executed, progress)
