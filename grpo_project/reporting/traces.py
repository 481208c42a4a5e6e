"""A plan replayed: every state up to the failing step, as what each step added and took away. Verdicts are the validator's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grpo_project.common.paths import locate
from grpo_project.data.origin import Origin
from grpo_project.data.row_files import domain_names
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.errors import DataError, GrpoProjectError
from grpo_project.evaluation.rescoring import sample_task
from grpo_project.evaluation.results import ProblemResult
from grpo_project.pddl import Atom, GroundAction, Step, Task, extract_plan, validate_text
from grpo_project.pddl.lenient import read_answer
from grpo_project.pddl.render import render_constraint
from grpo_project.reporting.run import RecordedRun, StoredEvaluation

LONGEST_TRACE = 300  # steps; a plan of ours takes some 30, and a page must not drown in a degenerate one
TRACES_PER_DOMAIN = 24  # of training samples
LONGEST_TEXT = 8_000  # characters of a completion on the page


def atom_text(atom: Atom) -> str:
    return f"({' '.join(atom)})"


def trace(task: Task, text: str) -> dict[str, Any]:
    """The verdict on `text` and the states on the way to it, as plain data.

    `static` and `initial` are the atoms of S0 that no action changes and those that some action may. Of the steps that ran,
    `changes` gives (added, deleted) of each, and `goals_met` the goals that hold in S0, S1, ... as strings of 0 and 1.
    """
    verdict = validate_text(task, text)
    steps = extract_plan(text).steps or ()
    ran = min(verdict.steps_executed, LONGEST_TRACE)
    changing = task.domain.fluents
    # Every step is read before the first runs, as the validator does it: reading can intern comparisons of numbers.
    actions = [_action(task, step) for step in steps[:ran]]
    state, numbers = task.start()
    start = task.atoms_of(state)
    changes = []
    goals = [_goals_met(task, state)]
    for action in actions:
        after, numbers = task.advance(action, state, numbers)
        changes.append(
            [[atom_text(a) for a in task.atoms_of(after & ~state)], [atom_text(a) for a in task.atoms_of(state & ~after)]]
        )
        state = after
        goals.append(_goals_met(task, state))
    return {
        "objects": {**task.domain.constants, **task.problem.objects},
        "static": [list(atom) for atom in start if atom[0] not in changing],
        "initial": [atom_text(atom) for atom in start if atom[0] in changing],
        "goal": [part for part, _ in task.goal_parts],
        "constraints": [render_constraint(found) for found in (task.domain.constraints, task.problem.constraints) if found],
        "steps": [atom_text(step) for step in steps[: LONGEST_TRACE + 20]],
        "changes": changes,
        "goals_met": goals,
        "verdict": {
            "class": verdict.verdict_class,
            "detail": verdict.detail,
            "failing_step": verdict.failing_step,
            "unmet": list(verdict.unmet),
            "violated_constraint": verdict.violated_constraint,
            "state_index": verdict.state_index,
            "steps_executed": verdict.steps_executed,
            "steps_total": verdict.steps_total,
        },
    }


def _action(task: Task, step: Step) -> GroundAction:
    action = task.ground(step)
    if not isinstance(action, GroundAction):
        raise ValueError(f"the validator ran {step}, which cannot be read")
    return action


def _goals_met(task: Task, state: int) -> str:
    return "".join("1" if condition.holds(state) else "0" for _, condition in task.goal_parts)


def run_traces(run: RecordedRun) -> tuple[list[dict[str, Any]], list[str]]:
    """(traces for the page, why some are missing): training samples from all over the run, and one held-out answer of each
    verdict class per domain and evaluation."""
    notes: list[str] = []
    made = [_sample_trace(sample, notes, run.plan_reading) for sample in _evenly_chosen(run.samples)]
    traces = [*filter(None, made), *_held_out_traces(run, notes)]
    if not run.samples:
        notes.append("This run recorded no training samples (no completions.jsonl).")
    return traces, list(dict.fromkeys(notes))


def _evenly_chosen(samples: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """At most TRACES_PER_DOMAIN of each domain, evenly over the run, the first and the last among them."""
    by_domain: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        by_domain.setdefault(sample["domain"], []).append(sample)
    for _, own in sorted(by_domain.items()):
        count = min(len(own), TRACES_PER_DOMAIN)
        places = {round(i * (len(own) - 1) / max(count - 1, 1)) for i in range(count)}
        yield from (own[place] for place in sorted(places))


def _sample_trace(sample: Mapping[str, Any], notes: list[str], plan_reading: str) -> dict[str, Any] | None:
    try:
        task = sample_task(sample)
    except (GrpoProjectError, RecursionError) as error:
        notes.append(f"A sample of step {sample['step']} could not be replayed: {error}")
        return None
    return _replayed(
        task,
        sample["domain"],
        sample["problem_file"],
        str(sample.get("bucket") or ""),
        sample["completion"],
        plan_reading,
        source="training",
        step=sample["step"],
        reward=sample.get("reward"),
        recorded_verdict=sample.get("verdict_class"),
        cut=bool(sample.get("cut")),
    )


def _replayed(
    task: Task, domain: str, problem_file: str, bucket: str, completion: str, plan_reading: str, **about: Any
) -> dict[str, Any]:
    name = problem_file.replace("\\", "/").rpartition("/")[2]
    shown = {"domain": domain, "problem_file": name, "bucket": bucket, "text": completion[:LONGEST_TEXT]}
    return {**shown, **about, **trace(task, read_answer(task, completion, plan_reading))}


def _held_out_traces(run: RecordedRun, notes: list[str]) -> Iterator[dict[str, Any]]:
    """One answer of each verdict class, the first in the order of the problems, per domain and evaluation."""
    first: dict[tuple[int, str, str], tuple[StoredEvaluation, ProblemResult]] = {}
    for place, stored in enumerate(run.evaluations):
        for problem in stored.result.problems:
            first.setdefault((place, problem.domain, problem.verdict_class), (stored, problem))
    chosen = list(first.values())
    if not chosen:
        return
    try:
        table, index = _held_out_rows(run, {problem.domain for _, problem in chosen})
    except GrpoProjectError as error:
        notes.append(f"Held-out answers cannot be replayed: {error}")
        return
    missing = 0
    for stored, problem in chosen:
        row = index.get((problem.domain, problem.problem_file))
        if row is None:
            missing += 1
            continue
        about = {"source": f"held-out, {stored.label}", "step": stored.step, "reward": None, "cut": False}
        yield _replayed(
            table.task(row),
            problem.domain,
            problem.problem_file,
            problem.bucket,
            problem.completion,
            run.plan_reading,
            recorded_verdict=problem.verdict_class,
            **about,
        )
    if missing:
        notes.append(f"{missing} held-out answers cannot be replayed: their problems are no longer in the test folder.")


def _held_out_rows(run: RecordedRun, domains: set[str]) -> tuple[RowTable, dict[tuple[str, str], int]]:
    """(rows, (domain, problem file) -> index). Raises DataError where the problems of the run are not here."""
    name = run.described.get("held_out")
    root = locate(name) if isinstance(name, str) and name else None
    if root is None:
        raise DataError(f"their problems ({name or 'source unknown'}) are no folder here")
    origin = Origin.of(root, run.settings.get("problem_root") or ())
    table = read_rows(origin, [domain for domain in domain_names(root) if domain in domains], validate_pddl=False)
    return table, {(row.scenario, row.problem_file): index for index, row in enumerate(table.rows)}
