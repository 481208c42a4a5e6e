"""Runs a plan on a PDDL problem and says what happened. Exit status 0: the plan succeeds; 1: it fails; 2: bad input.

python script/validate_plan.py domain.pddl problem.pddl plan.txt
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.errors import DataError, GrpoProjectError  # noqa: E402


def read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("domain", help="PDDL domain file")
    parser.add_argument("problem", help="PDDL problem file")
    parser.add_argument("plan", help="plan file, one (action argument ...) per line")
    arguments = parser.parse_args(argv)
    try:
        from grpo_project.configs.reward import RewardConfig
        from grpo_project.pddl import compile_task, parse_domain, parse_problem, validate_text
        from grpo_project.rewards import score

        domain = parse_domain(read(arguments.domain), arguments.domain)
        task = compile_task(domain, parse_problem(read(arguments.problem), domain, arguments.problem))
        verdict = validate_text(task, read(arguments.plan))
    except GrpoProjectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{verdict.verdict_class}: {verdict.detail}")
    print(f"steps run {verdict.steps_executed} of {verdict.steps_total}, cost {verdict.plan_cost:g}, ", end="")
    print(f"goals met {verdict.goals_met} of {verdict.goals_total}, reward {score(verdict, RewardConfig()).total:+.3f}")
    return 0 if verdict.success else 1


if __name__ == "__main__":
    sys.exit(main())
