"""Verdict to reward."""

from grpo_project.rewards.score import RewardParts, progress_of, score
from grpo_project.rewards.trl import ScoredCompletion, make_reward_function

__all__ = ["RewardParts", "ScoredCompletion", "make_reward_function", "progress_of", "score"]
