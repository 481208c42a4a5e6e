"""RLOO: REINFORCE with the mean of the other completions as baseline. Ahmadian et al. 2024, "Back to Basics", arXiv 2402.14740.

TRL's loss is over whole completions (the sum of their log-probabilities), and the KL term (--beta) is taken from the reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpo_project.configs.settings import Settings
from grpo_project.training.algorithms.base import Algorithm

if TYPE_CHECKING:
    from grpo_project.models.cpu_planner import Regrouping


def _arguments(config: Settings) -> Mapping[str, Any]:
    return {"normalize_advantages": False, "reward_clip_range": None}


def _regrouping(config: Settings) -> Regrouping | None:
    """The KL term is part of the advantage, so where that is 0 there is no gradient."""
    from grpo_project.models.cpu_planner import Regrouping

    return Regrouping(drop_idle=True, per_completion=True)


RLOO = Algorithm(
    "rloo",
    "RLOOConfig",
    "RLOOTrainer",
    _arguments,
    _regrouping,
    without=(
        "loss_type",
        "scale_rewards",
        "importance_sampling_level",
        "top_entropy_quantile",
        "entropy_coef",
        "off_policy_mask_threshold",
        "repair_turns",
        "repair_detail",
        "repair_price",
    ),
    with_log_probabilities=False,
)
