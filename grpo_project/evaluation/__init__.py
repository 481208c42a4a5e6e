"""Verdicts on many problems, with counts and intervals."""

from grpo_project.evaluation.evaluate import evaluate, planner_completions
from grpo_project.evaluation.report import comparison_table
from grpo_project.evaluation.results import EvaluationResult, ProblemResult

__all__ = ["EvaluationResult", "ProblemResult", "comparison_table", "evaluate", "planner_completions"]
