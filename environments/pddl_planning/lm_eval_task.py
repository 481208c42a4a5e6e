"""The functions of lm-evaluation-harness's task `pddl_planning` (lm_eval/pddl_planning.yaml).

lm-eval run --include_path "$(python -m pddl_planning.lm_eval_task)" --tasks pddl_planning --apply_chat_template ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grpo_project.pddl import VERDICT_CLASSES
from pddl_planning.core import DATA_ROOT, PlanningProblem, load_problems

FOLDER = Path(__file__).with_name("lm_eval")


def load(
    data_root: str = DATA_ROOT,
    domains: Sequence[str] | str | None = None,
    problem_root: Sequence[str] | str = (),
    prompt_style: str = "full",
    **others: Any,
) -> dict[str, Any]:
    """The data set of the task; --metadata has the arguments of `load_problems` as JSON. `others`: what lm-eval adds."""
    from datasets import Dataset

    problems = load_problems(data_root, domains, problem_root, prompt_style)
    return {"test": Dataset.from_list([asdict(problem) for problem in problems])}


def prompt(doc: Mapping[str, Any]) -> str:
    return str(doc["prompt"])


def target(doc: Mapping[str, Any]) -> str:
    """The reference plan, for the log alone."""
    return doc["reference_plan"] or ""


def verify(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1.0 for the answer's verdict class, which lm-eval averages to the share of each, and the reward in [-1, 1]."""
    problem = PlanningProblem(**doc)
    found = problem.verdict(results[0]).verdict_class
    return {name: float(name == found) for name in VERDICT_CLASSES} | {"reward": problem.reward(results[0])}


if __name__ == "__main__":
    print(FOLDER)
