"""GRPO: completions of one prompt are compared with each other. Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpo_project.configs.settings import Settings
from grpo_project.training.algorithms.base import Algorithm

if TYPE_CHECKING:
    from grpo_project.models.cpu_planner import Regrouping

# TRL averages the loss of a micro-batch over its completions for these, and over all tokens of the step for dapo. bnpo averages
# over a micro-batch's own tokens, so its micro-batches must stay as they are.
PER_COMPLETION_LOSSES = ("grpo", "dr_grpo")


def _arguments(config: Settings) -> Mapping[str, Any]:
    return {
        "delta": None,
        "importance_sampling_level": "token",
        "multi_objective_aggregation": "sum_then_normalize",
        "top_entropy_quantile": 1.0,
        "entropy_coef": 0.0,
        "use_adaptive_entropy": False,
        "off_policy_mask_threshold": None,
        "use_bias_correction_kl": True,
        "cast_lm_head_to_fp32": False,
    }


def _regrouping(config: Settings) -> Regrouping | None:
    """Without a KL term a completion whose advantage is 0 (its whole group earned the same) has no gradient; with one it has."""
    from grpo_project.models.cpu_planner import Regrouping

    if config.loss_type not in (*PER_COMPLETION_LOSSES, "dapo"):
        return None
    return Regrouping(drop_idle=config.beta == 0.0, per_completion=config.loss_type in PER_COMPLETION_LOSSES)


GRPO = Algorithm("grpo", "GRPOConfig", "GRPOTrainer", _arguments, _regrouping)
