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

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.common.files import read_text  # noqa: E402
from grpo_project.errors import DataError, ValFailed  # noqa: E402


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


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
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


@entry_point()
def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    return run(arguments)


def run(arguments: argparse.Namespace) -> int:
    from grpo_project.pddl import compile_task, parse_domain, parse_problem, validate_text
    from grpo_project.pddl.explanation import explain
    from grpo_project.pddl.val import ValValidator, cross_check, validate_by_val

    names = list(arguments.plan)
    if names.count("-") > 1:
        raise DataError("standard input (-) can be read only once")
    domain = parse_domain(read_text(arguments.domain), arguments.domain)
    task = compile_task(domain, parse_problem(read_text(arguments.problem), domain, arguments.problem))
    texts = [read_text(name) for name in names]  # all of them before the first verdict: bad input ends in one line
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
            print("\n".join(f"  {line}" for line in explain(task, text, verdict)))
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
