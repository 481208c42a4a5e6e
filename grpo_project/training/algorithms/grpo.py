"""GRPO: completions of one prompt are compared with each other. Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpo_project.configs.rules import named_fields
from grpo_project.configs.settings import Settings
from grpo_project.training.algorithms.base import Algorithm

if TYPE_CHECKING:
    from grpo_project.models.cpu_planner import Regrouping

# TRL averages the loss of a micro-batch over its completions for the first, and over all tokens of the step for the second. bnpo
# averages over a micro-batch's own tokens, so its micro-batches must stay as they are.
PER_COMPLETION_LOSSES = ("grpo", "dr_grpo", "sapo", "luspo")
PER_TOKEN_LOSSES = ("dapo", "cispo", "vespo")


def _arguments(config: Settings) -> Mapping[str, Any]:
    return {
        "delta": None,
        "multi_objective_aggregation": "sum_then_normalize",
        "sapo_temperature_neg": 1.05,
        "sapo_temperature_pos": 1.0,
        "vespo_k_pos": 2.0,
        "vespo_lambda_pos": 3.0,
        "vespo_k_neg": 3.0,
        "vespo_lambda_neg": 2.0,
        "use_adaptive_entropy": False,
        "entropy_coef_min": 0.0,
        "entropy_coef_max": 1.0,
        "entropy_coef_delta": 0.005,
        "entropy_target": 0.2,
        "use_bias_correction_kl": True,
        "cast_lm_head_to_fp32": False,
    }


def _regrouping(config: Settings) -> Regrouping | None:
    """Without a KL term a completion whose advantage is 0 (its whole group earned the same) has no gradient; with one it has.

    What looks at the entropies of a micro-batch's tokens needs the micro-batch as it is.
    """
    from grpo_project.models.cpu_planner import Regrouping

    by_entropy = config.top_entropy_quantile < 1 or config.entropy_coef or "use_adaptive_entropy" in named_fields(config)
    if by_entropy or config.loss_type not in (*PER_COMPLETION_LOSSES, *PER_TOKEN_LOSSES):
        return None
    return Regrouping(drop_idle=config.beta == 0.0, per_completion=config.loss_type in PER_COMPLETION_LOSSES)


GRPO = Algorithm("grpo", "GRPOConfig", "GRPOTrainer", _arguments, _regrouping)
