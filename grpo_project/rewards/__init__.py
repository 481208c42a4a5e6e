"""Verdict to reward."""

from grpo_project.rewards.registry import REWARDS, NamedReward, parse_rewards
from grpo_project.rewards.score import RewardParts, progress_of, score
from grpo_project.rewards.trl import ScoredCompletion, completion_text, make_reward_function

__all__ = [
    "REWARDS",
    "NamedReward",
    "RewardParts",
    "ScoredCompletion",
    "completion_text",
    "make_reward_function",
    "parse_rewards",
    "progress_of",
    "score",
]
