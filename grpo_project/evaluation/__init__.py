"""Verdicts on many problems, with counts and intervals."""

from grpo_project.evaluation.evaluate import evaluate, planner_completions
from grpo_project.evaluation.results import EvaluationResult, ProblemResult, comparison_table, render_table, table

__all__ = [
    "EvaluationResult",
    "ProblemResult",
    "comparison_table",
    "evaluate",
    "planner_completions",
    "render_table",
    "table",
]
