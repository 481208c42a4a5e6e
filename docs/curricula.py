"""Schedules for problems from small to large, to compare curricula with (docs/curriculum.md).

python script/train_grpo_unsloth_stl_v2.py --curriculum docs/curricula.py:ladder --difficulty_bands scores
"""

from __future__ import annotations

Weights = dict[str, float]


def ladder(step: int, max_steps: int) -> Weights:
    """One third of the run on each band, from small to large, with a tenth of the prompts from each of the others."""
    band = min(3 * step // max(max_steps, 1), 2)
    return {name: 0.8 if place == band else 0.1 for place, name in enumerate(("easy", "medium", "hard"))}


def reversed_ladder(step: int, max_steps: int) -> Weights:
    """The same from large to small."""
    weights = ladder(step, max_steps)
    return {"easy": weights["hard"], "medium": weights["medium"], "hard": weights["easy"]}


def small_alone(step: int, max_steps: int) -> Weights:
    """The smallest band throughout."""
    return {"easy": 1.0, "medium": 0.0, "hard": 0.0}
