"""A verified plan from a model: answers are checked, failed ones go back with the verifier's words, until a plan holds.

    python script/solve.py domain.pddl problem.pddl --model data/models/strong-planner
    python script/solve.py domain.pddl problems/*.pddl --model data/models/tiny-planner --best_of 16 --search
    python script/solve.py domain.pddl problem.pddl --base_url http://localhost:8000/v1 --model NAME --best_of 8 --repair_turns 2
    python script/solve.py domain.pddl problem.pddl --model NAME | python script/validate_plan.py domain.pddl problem.pddl -

Standard output is a plan; everything else on it is a comment (a line that begins with ;): the file's name where there are
several, and for a problem without a plan the answer that came nearest and why it fails. docs/solving.md is the guide.

Exit status 0: every problem is solved; 1: one is not; 2: bad input, or nobody answers.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.configs.asking import (  # noqa: E402
    add_chat_flags,
    add_drawing_flags,
    add_loading_flags,
    add_model_flags,
    add_prompt_flags,
    add_repair_flags,
    at_least,
    check_asking,
    style_of,
)
from grpo_project.errors import ConfigError, GrpoProjectError  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("domain", help="PDDL domain file")
    parser.add_argument("problem", nargs="+", help="PDDL problem files of it")
    add_model_flags(parser.add_argument_group("who is asked"))
    effort = parser.add_argument_group("how hard it tries")
    add = effort.add_argument
    add(
        "--best_of",
        type=int,
        default=1,
        metavar="N",
        help="answers to a problem at most: the greedy one, then drawn ones, 1, 2, 4, ... at a time, until a plan is verified "
        "(default 1)",
    )
    add_repair_flags(effort, "an answer")
    add("--seconds", type=float, default=math.inf, metavar="S", help="for all problems; what is under way is waited for")
    add_drawing_flags(effort)
    add_prompt_flags(parser.add_argument_group("prompts"))
    add_chat_flags(parser)
    add_loading_flags(parser)
    output = parser.add_argument_group("what is printed")
    add = output.add_argument
    add("--json", action="store_true", help="one JSON object a problem, one line each, in the order given")
    add("--search", action="store_true", help="also what A* finds, with its cost and seconds")
    add("--node_budget", type=int, default=200_000, help="of --search, nodes a problem (default 200,000)")
    add("--journal", metavar="FILE", help="keep answers as they come; the same command again asks only for the rest")
    return parser


@entry_point()
def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    check(arguments)
    return run(arguments)


def check(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for what cannot work, before anything is loaded."""
    if not arguments.model:
        raise ConfigError("name a --model (with --base_url for an endpoint)")
    check_asking(arguments, arguments.best_of - 1)
    at_least(arguments, best_of=1, node_budget=1)
    if not arguments.seconds > 0:
        raise ConfigError(f"--seconds must be above 0, got {arguments.seconds:g}")


def run(arguments: argparse.Namespace) -> int:
    """Asks, prints a plan or what came nearest for every problem, and returns the exit status."""
    from grpo_project.common.progress import ProgressLine
    from grpo_project.data.asked_words import table_in_asked_words
    from grpo_project.data.pddl_files import table_of_files
    from grpo_project.data.prompts import row_prompt
    from grpo_project.evaluation.answers import Answers, Journal
    from grpo_project.evaluation.conversation import Repair
    from grpo_project.evaluation.solving import OutOfTime, attempts_of, solve
    from grpo_project.models.asking import asked_model

    table = table_of_files(arguments.domain, arguments.problem)
    tasks = [table.task(index) for index in range(len(table))]  # bad input ends in one line before a model is loaded
    line = ProgressLine()
    answerer, own_style, chat = asked_model(arguments, patience_seconds=arguments.seconds, wrote=line.wrote)
    style = style_of(arguments, own_style)
    # In the words that a small planner was taught, and its plans back in the problem's own.
    asked = table_in_asked_words(table, style, match_domains=True)
    refuse_namesakes(asked, style)
    prompts = [row_prompt(row, style, arguments.prompt_format) for row in asked.rows]
    failure: GrpoProjectError | None = None
    with ExitStack() as stack:
        known = Answers()
        if arguments.journal:
            known = stack.enter_context(Journal(Path(arguments.journal), describe_settings(arguments, prompts) | chat))
        stack.enter_context(line.about(f"asking {arguments.model}", len(prompts), longest=arguments.max_completion_length))

        def on_wave(unsolved: int, questions: int) -> None:
            line.expect(questions, f"{len(prompts) - unsolved} of {len(prompts)} solved, asking {arguments.model}")

        repair = Repair(asked.task, arguments.repair_turns, arguments.repair_detail, prompt_style=style)
        began = time.monotonic()
        try:
            solve(prompts, answerer, repair, arguments.best_of, known, arguments.seconds, on_wave, line.advance)
        except GrpoProjectError as error:
            if not known.answers:
                raise
            failure = error  # what was answered by then may hold plans
        seconds = time.monotonic() - began
    answers = {key: replace(answer, text=asked.own_answer(key.row_index, answer.text)) for key, answer in known.answers.items()}
    records = [record_of(arguments, table, index, attempts_of(index, task, answers)) for index, task in enumerate(tasks)]
    for record in records:
        print(json.dumps(record) if arguments.json else as_text(record, named=len(records) > 1))
    solved = sum(record["solved"] for record in records)
    print(f"{solved} of {len(records)} solved with {len(known.answers)} answers in {seconds:.1f} s", file=sys.stderr)
    if failure is not None:
        print(f"error: {failure}", file=sys.stderr)
        return 2 if not isinstance(failure, OutOfTime) else int(solved < len(records))
    return int(solved < len(records))


def describe_settings(arguments: argparse.Namespace, prompts: list[str]) -> dict[str, Any]:
    """What decides the answers that a journal keeps. More answers or turns of the same go on in it."""
    from grpo_project.evaluation.fingerprint import model_fingerprint

    names = "model adapter base_url max_completion_length temperature seed repair_detail request_fields".split()
    settings = {name: getattr(arguments, name) for name in names}
    if not arguments.base_url:
        settings["model_fingerprint"] = model_fingerprint(arguments.model, arguments.adapter)
    return {**settings, "prompts": prompts}


def record_of(arguments: argparse.Namespace, table: Any, index: int, attempts: list[Any]) -> dict[str, Any]:
    """Plain data on one problem. `answer` and `repairs` tell which attempt `plan` is: answer 1 is the greedy one."""
    from grpo_project.evaluation.solving import nearest
    from grpo_project.pddl import extract_plan
    from grpo_project.pddl.explanation import explain

    row, task = table.rows[index], table.task(index)
    record: dict[str, Any] = {"problem": row.problem_file, "solved": False, "answers": len(attempts)}
    best = nearest(attempts)
    if best is not None:
        steps = extract_plan(best.answer.text).steps
        record |= {
            "solved": best.verdict.success,
            "verdict": best.verdict.verdict_class,
            "answer": best.key.sample + 1,
            "repairs": best.key.turn,
            "plan": [f"({' '.join(step)})" for step in steps] if steps is not None else None,
            "cost": best.verdict.plan_cost,
            "goals_met": best.verdict.goals_met,
            "goals_total": best.verdict.goals_total,
            "explanation": explain(task, best.answer.text, best.verdict),
        }
        if best.answer.refused is not None:
            record["explanation"] = [f"The question was refused: {best.answer.refused}"]
    for name in ("prompt_tokens", "completion_tokens", "seconds"):
        values = [value for attempt in attempts if (value := getattr(attempt.answer, name)) is not None]
        record[name] = sum(values) if values else None
    if arguments.search:
        record["search"] = searched(table, index, arguments.node_budget)
    return record


def refuse_namesakes(asked: Any, style: str) -> None:
    """Raises ConfigError where a compact prompt would take a domain for the suite's of the same name."""
    from grpo_project.domains import all_domains
    from grpo_project.prompting import COMPACT, COMPACT_BY_NAME

    for row in asked.rows:
        known = all_domains().get(row.scenario)
        if style in (COMPACT, COMPACT_BY_NAME) and known and row.domain.predicates.keys() != known.domain.predicates.keys():
            raise ConfigError(
                f"{row.source}: its domain is called {row.scenario} and has other predicates than the suite's, which this "
                "planner was taught. Ask a model that reads the domain: schemas-planner, or a language model"
            )


def searched(table: Any, index: int, node_budget: int) -> dict[str, Any]:
    """What A* finds: plan (None where there is none within the budget), cost, seconds; or why it cannot search."""
    from grpo_project.errors import UnsupportedFeature
    from grpo_project.evaluation.evaluate import searched_answer
    from grpo_project.pddl import validate_text
    from grpo_project.pddl.grounding import TooLarge

    try:
        answer = searched_answer(table, index, node_budget)
    except (UnsupportedFeature, TooLarge) as error:
        return {"plan": None, "cost": None, "seconds": None, "reason": str(error)}
    verdict = validate_text(table.task(index), answer.text)
    found = {"plan": answer.text.splitlines(), "cost": verdict.plan_cost} if verdict.success else {"plan": None, "cost": None}
    return {**found, "seconds": answer.seconds}


def as_text(record: dict[str, Any], named: bool) -> str:
    """A plan, with comments; comments alone where there is none."""
    lines: list[str] = []
    name = f"{record['problem']}: " if named else ""
    if record["solved"]:
        if named:
            lines.append(f"; {name}solved, cost {record['cost']:g}")
        lines += record["plan"]
    elif "verdict" not in record:
        lines.append(f"; {name}not solved: nobody was asked in time")
    else:
        which = f"answer {record['answer']}" + (f" after {record['repairs']} repairs" if record["repairs"] else "")
        goals = f"{record['goals_met']} of {record['goals_total']} goals hold"
        lines.append(f"; {name}not solved by {record['answers']} answers. Nearest is {which}, {record['verdict']}, {goals}:")
        lines += [f";   {step}" for step in record["plan"] or ()]
        lines += [f"; {line}" for line in record["explanation"]]
    if "search" in record:
        lines += search_lines(record["search"])
    return "\n".join(lines)


def search_lines(found: dict[str, Any]) -> list[str]:
    if found["plan"] is None:
        return [f"; search finds no plan: {found.get('reason', 'the nodes of --node_budget did not suffice')}"]
    return [f"; search finds, at cost {found['cost']:g} in {found['seconds']:.2f} s:", *(f";   {step}" for step in found["plan"])]


if __name__ == "__main__":
    sys.exit(main())
