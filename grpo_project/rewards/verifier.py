"""What gives the verdicts: --validator builtin, val or both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grpo_project.pddl import Task, Verdict, validate_text
from grpo_project.pddl.val import ValValidator, cross_check, validate_by_val

Verifier = Callable[[Task, str], Verdict]


def make_verifier(validator: str, run_folder: Path, say: Callable[[str], None]) -> Verifier:
    """(task, text) to verdict. `both`: the builtin one's; where VAL differs, a line to `say` and what it takes to repeat it in
    `run_folder`/disagreements. Raises BackendMissing where VAL is asked for and not there.
    """
    if validator == "builtin":
        return validate_text
    val = ValValidator()
    if validator == "val":
        return lambda task, text: validate_by_val(task, text, val)

    def verify(task: Task, text: str) -> Verdict:
        verdict = validate_text(task, text)
        disagreement = cross_check(task, text, verdict, val)
        if disagreement is not None:
            say(f"warning: {disagreement.describe()}; see {disagreement.write(run_folder / 'disagreements')}")
        return verdict

    return verify
