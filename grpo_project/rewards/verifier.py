"""Who decides rewards: --validator builtin, val or both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grpo_project.pddl import Task, Verdict, validate_text
from grpo_project.pddl.val import ValValidator, cross_check, validate_by_val
from grpo_project.training.console import say

Judge = Callable[[Task, str], Verdict]


def make_judge(validator: str, run_folder: Path) -> Judge:
    """(task, text) to verdict. `both`: the builtin one's; where VAL differs, a line and what it takes to repeat it in
    `run_folder`/disagreements. Raises BackendMissing where VAL is asked for and not there.
    """
    if validator == "builtin":
        return validate_text
    val = ValValidator()
    if validator == "val":
        return lambda task, text: validate_by_val(task, text, val)

    def judge(task: Task, text: str) -> Verdict:
        verdict = validate_text(task, text)
        disagreement = cross_check(task, text, verdict, val)
        if disagreement is not None:
            say(f"warning: {disagreement.describe()}; see {disagreement.write(run_folder / 'disagreements')}")
        return verdict

    return judge
