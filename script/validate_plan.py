"""Runs plans on a PDDL problem and says what happened: the verdict that training rewards and evaluation count.

python script/validate_plan.py domain.pddl problem.pddl plan.txt [plan2.txt ...]
cat plan.txt | python script/validate_plan.py domain.pddl problem.pddl -

Exit status 0: every plan succeeds; 1: one fails; 2: bad input.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.errors import DataError, GrpoProjectError, ValFailed  # noqa: E402

STATE_ATOMS_SHOWN = 40


def read(path: str) -> str:
    """A file's text, standard input for "-". Raises DataError in one line."""
    from grpo_project.common.files import text_of

    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return text_of(raw, "standard input" if path == "-" else path)


def as_json(name: str, verdict: Any) -> dict[str, Any]:
    """`step`: number of the step whose precondition fails, from 1; the state's index for a constraint; null else, as for VAL."""
    from grpo_project.configs.reward import RewardConfig
    from grpo_project.pddl.val import step_of
    from grpo_project.rewards import score

    return {
        "plan": name,
        "verdict": verdict.verdict_class,
        "valid": verdict.success,
        "step": step_of(verdict),
        "unmet": list(verdict.unmet),
        "violated_constraint": verdict.violated_constraint,
        "steps_executed": verdict.steps_executed,
        "steps_total": verdict.steps_total,
        "goals_met": verdict.goals_met,
        "goals_total": verdict.goals_total,
        "cost": verdict.plan_cost,
        "violated_preferences": dict(verdict.violated_preferences),
        "reward": score(verdict, RewardConfig()).total,
        "detail": verdict.detail,
    }


def explain(task: Any, text: str, verdict: Any) -> list[str]:
    """What went wrong in a planner's words, and the states around it."""
    from grpo_project.pddl import extract_plan, render_atom

    extraction = extract_plan(text)
    if verdict.verdict_class == "plan_format_error" or extraction.steps is None:
        lines = [f"  The text is no plan: {verdict.detail}."]
        if extraction.cut_off:
            lines.append("  It ends in the middle, as an answer does that ran into its token limit.")
        return lines
    steps = extraction.steps
    actions = [task.ground(step) for step in steps]
    state, numbers = task.start()
    states = [state]
    for action in actions[: verdict.steps_executed]:
        state, numbers = task.advance(action, state, numbers)
        states.append(state)

    def shown(state: int) -> str:
        atoms = [render_atom(atom) for atom in task.atoms_of(state)]
        more = f" ... and {len(atoms) - STATE_ATOMS_SHOWN} more" if len(atoms) > STATE_ATOMS_SHOWN else ""
        return " ".join(atoms[:STATE_ATOMS_SHOWN]) + more

    def change(index: int) -> str:
        gained = [render_atom(atom) for atom in task.atoms_of(states[index] & ~states[index - 1])]
        lost = [render_atom(atom) for atom in task.atoms_of(states[index - 1] & ~states[index])]
        return ", ".join(filter(None, ["+ " + " ".join(gained) if gained else "", "- " + " ".join(lost) if lost else ""]))

    last = len(states) - 1
    lines = []
    match verdict.verdict_class:
        case "success_plans":
            lines.append(f"  All {last} steps run, every constraint holds, and the goal is reached. Cost {verdict.plan_cost:g}.")
        case "precondition_violation":
            lines.append(
                f"  Step {last + 1} ({' '.join(steps[last])}) cannot run in state {last}. It needs: {' '.join(verdict.unmet)}"
            )
        case "safety_constraints_violation":
            when = "at the end of the plan" if last == len(steps) else f"in state {last}"
            lines.append(f"  The constraint {verdict.violated_constraint} is broken {when}.")
        case "goal_not_satisfied":
            lines.append(f"  All {last} steps run, but the goal still needs: {' '.join(verdict.unmet)}")
    for index in range(max(1, last - 1), last + 1):
        lines.append(f"  step {index} ({' '.join(steps[index - 1])}): {change(index) or 'changes nothing'}")
    lines.append(f"  state {last}: {shown(states[last])}")
    return lines


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("domain", help="PDDL domain file")
    parser.add_argument("problem", help="PDDL problem file")
    parser.add_argument("plan", nargs="+", help="plan files, one (action argument ...) per line; - for standard input")
    parser.add_argument("--json", action="store_true", help="one JSON object a plan, one line each, in the order given")
    parser.add_argument("--explain", action="store_true", help="what went wrong at which step, and the state around it")
    parser.add_argument(
        "--validator",
        choices=("builtin", "val", "both"),
        default="builtin",
        help="builtin (default); val: the VAL program decides; both: builtin decides, every disagreement is reported",
    )
    parser.add_argument("--timeout_seconds", type=float, default=10.0, help="for one call of VAL (default 10)")
    parser.add_argument(
        "--disagreements",
        default="disagreements",
        metavar="DIR",
        help="where --validator both writes what it takes to repeat one",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        return run(arguments)
    except GrpoProjectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
        return 2


def run(arguments: argparse.Namespace) -> int:
    from grpo_project.pddl import compile_task, parse_domain, parse_problem, validate_text
    from grpo_project.pddl.val import ValValidator, cross_check, validate_by_val

    names = list(arguments.plan)
    if names.count("-") > 1:
        raise DataError("standard input (-) can be read only once")
    domain = parse_domain(read(arguments.domain), arguments.domain)
    task = compile_task(domain, parse_problem(read(arguments.problem), domain, arguments.problem))
    texts = [read(name) for name in names]  # all of them before the first verdict: bad input ends in one line
    val = ValValidator(arguments.timeout_seconds) if arguments.validator != "builtin" else None
    all_succeed = True
    for name, text in zip(names, texts, strict=True):
        verdict, disagreement = validate_text(task, text), None
        try:
            if val is not None and arguments.validator == "val":
                verdict = validate_by_val(task, text, val)
            elif val is not None:
                disagreement = cross_check(task, text, verdict, val)
        except ValFailed as failure:  # no fault of the plan, and no verdict of VAL's either
            raise ValFailed(f"{arguments.domain}, {arguments.problem}, {name}: {failure}", failure.files) from failure
        all_succeed = all_succeed and verdict.success
        record = as_json(name, verdict)
        if disagreement is not None:
            record["disagreement"] = str(disagreement.write(Path(arguments.disagreements)))
            print(f"{name}: {disagreement.describe()}; see {record['disagreement']}", file=sys.stderr)
        if arguments.json:
            print(json.dumps(record))
            continue
        prefix = f"{name}: " if len(names) > 1 else ""
        print(f"{prefix}{verdict.verdict_class}: {verdict.detail}")
        if arguments.explain:
            print("\n".join(explain(task, text, verdict)))
        print(
            f"  steps run {verdict.steps_executed} of {verdict.steps_total}, cost {verdict.plan_cost:g}, "
            f"goals met {verdict.goals_met} of {verdict.goals_total}, reward {record['reward']:+.3f}"
        )
        if task.preferences is not None:
            shown = [name if times == 1 else f"{name} ({times} times)" for name, times in verdict.violated_preferences]
            print(f"  preferences violated: {', '.join(shown) or 'none'}")
    return 0 if all_succeed else 1


if __name__ == "__main__":
    sys.exit(main())
