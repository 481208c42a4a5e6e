"""Planning problems as an environment of TRL's GRPOTrainer: a model with tools hands in plans and hears what is wrong.

problems = load_problems("data/four_domain")
GRPOTrainer(model, args=args, train_dataset=Dataset.from_list(rows(problems)), environment_factory=factory(problems, settings))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pddl_planning.core import PlanningProblem, Rollout, RolloutSettings, problem_at

TASK = "Hand your plan to submit_plan. Where it fails, you hear why, and may hand in another.\n\n"


class PlanningTool:
    """One rollout at a time. TRL makes a tool of every public method but `reset` and `get_reward`."""

    def __init__(self, problems: Sequence[PlanningProblem], settings: RolloutSettings) -> None:
        self._problems = problems
        self._settings = settings

    def reset(self, problem_index: int, **row: Any) -> None:
        """Begins a rollout. Raises DataError for an index that there is not, PddlError for PDDL that does not parse: here, since
        TRL tells the model what a tool raises."""
        self._rollout = Rollout(problem_at(self._problems, problem_index), self._settings)

    def submit_plan(self, plan: str) -> str:
        """Runs a plan and says whether it solves the problem.

        Args:
            plan: The whole plan: one step per line, each as (action argument ...).

        Returns:
            What the verifier says.
        """
        return self._rollout.submit(str(plan))

    def get_reward(self) -> float:
        """Of the last plan that was handed in, in [-1, 1]; without any, the lowest."""
        return self._rollout.reward


def rows(problems: Sequence[PlanningProblem]) -> list[dict[str, Any]]:
    """The rows of a train_dataset."""
    return [
        {"prompt": [{"role": "user", "content": TASK + problem.prompt}], "problem_index": index}
        for index, problem in enumerate(problems)
    ]


def factory(problems: Sequence[PlanningProblem], settings: RolloutSettings | None = None) -> Callable[[], PlanningTool]:
    """TRL's `environment_factory`."""
    return lambda: PlanningTool(problems, settings or RolloutSettings(repair_turns=2))
