"""What gives the verdicts: --validator builtin, val or both, on what --plan_reading reads."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

from grpo_project.errors import ValFailed
from grpo_project.pddl import Task, Verdict, validate_text
from grpo_project.pddl.lenient import STRICT, read_answer
from grpo_project.pddl.val import ValValidator, cross_check, validate_by_val, write_files

Verifier = Callable[[Task, str], Verdict]


def make_verifier(validator: str, run_folder: Path, say: Callable[[str], None], plan_reading: str = STRICT) -> Verifier:
    """(task, text) to verdict. `both`: the builtin one's; where VAL differs, a line to `say` and what it takes to repeat it in
    `run_folder`/disagreements. Raises BackendMissing where VAL is asked for and not there.

    Where VAL gives no verdict, the builtin one decides. That is counted and said the 1st, 10th, 100th... time, each with what it
    takes to repeat it in `run_folder`/val_failures. plan_reading: how an answer is read before, one of PLAN_READINGS.
    """
    if plan_reading != STRICT:
        strict = make_verifier(validator, run_folder, say)
        return lambda task, text: strict(task, read_answer(task, text, plan_reading))
    if validator == "builtin":
        return validate_text
    val = ValValidator()
    failures = count(1)

    def verify(task: Task, text: str) -> Verdict:
        try:
            if validator == "val":
                return validate_by_val(task, text, val)
            verdict = validate_text(task, text)
            disagreement = cross_check(task, text, verdict, val)
        except ValFailed as failure:
            number = next(failures)
            if str(number).strip("0") == "1":
                folder = write_files(run_folder / "val_failures", f"{number}_", failure.files)
                say(f"warning: {failure}; the builtin validator decides ({number} plans so far); see {folder}")
            return validate_text(task, text)
        if disagreement is not None:
            say(f"warning: {disagreement.describe()}; see {disagreement.write(run_folder / 'disagreements')}")
        return verdict

    return verify
