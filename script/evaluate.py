"""Success of a model on held-out problems, with counts and intervals; of an endpoint; or of exact search, as the ceiling.

    python script/evaluate.py --model data/models/tiny-planner --data_root data/test
    python script/evaluate.py --planner --data_root data/test --domains ferry
    python script/evaluate.py --base_url https://api.example.com/v1 --model some-model --output outputs/some-model.json
    python script/evaluate.py --model data/models/tiny-planner --samples 10 --num_samples 3 --repair_turns 2
    python script/evaluate.py --model data/models/tiny-planner --probe names order unseen_names
    python script/evaluate.py --compare outputs/before.json outputs/after.json

With --output an evaluation can be killed at any time; the same command goes on where it was. docs/evaluation.md is the guide.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.common.files import require_writable  # noqa: E402
from grpo_project.configs.asking import (  # noqa: E402
    add_chat_flags,
    add_drawing_flags,
    add_loading_flags,
    add_model_flags,
    add_prompt_flags,
    add_repair_flags,
    at_least,
    chat_of,
    check_asking,
    style_of,
)
from grpo_project.errors import ConfigError  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    what = parser.add_argument_group("what is evaluated")
    add_model_flags(what)
    add = what.add_argument
    add("--planner", action="store_true", help="A* with the domains' heuristics instead of a model")
    add("--compare", nargs=2, metavar=("A", "B"), help="two results on the same problems: a paired test; evaluates nothing")
    problems = parser.add_argument_group("problems")
    add = problems.add_argument
    add("--data_root", default="data/test", metavar="DIR", help="folder of *.jsonl rows (default data/test)")
    add("--domains", nargs="+", metavar="NAME", help="default: every file of the data root")
    add("--samples", type=int, metavar="N", help="problems per domain, the first N; default all")
    add("--problem_root", nargs="+", default=[], metavar="DIR", help="where the rows' PDDL files are looked for too")
    add("--difficulty_pattern", metavar="TEXT", help="as in training: scores file names that follow no grammar of this suite")
    add_prompt_flags(problems)
    add(
        "--match_domains",
        action="store_true",
        help="ask about a known domain under other names in the words that a small planner was taught: its action schemas are "
        "recognised by the suite, not by the model",
    )
    add(
        "--probe",
        nargs="+",
        default=[],
        metavar="WAY",
        help="ask the same problems again, changed in one way: order (objects listed otherwise), names (others of their kind), "
        "unseen_names (invented); prints what it cost, paired; results stand beside --output as NAME.WAY.json",
    )
    add_chat_flags(parser)
    answers = parser.add_argument_group("answers")
    add_drawing_flags(answers)
    add = answers.add_argument
    add("--num_samples", type=int, default=0, metavar="N", help="drawn answers a problem, beside the greedy one (default 0)")
    add("--k", type=int, nargs="+", metavar="K", help="report pass@K from the drawn answers (default 1 and --num_samples)")
    add_repair_flags(answers, "a greedy answer")
    add(
        "--plan_reading",
        choices=("strict", "lenient"),
        default="strict",
        help="whose verdicts count. strict: an answer is a plan and nothing else; lenient: its last whole plan, whatever stands "
        "around it. Both rates are reported either way (default strict)",
    )
    add(
        "--step_by_step",
        type=int,
        nargs="?",
        const=100,
        metavar="MOST",
        help="closed loop: of each answer the first action alone is taken, and the same problem is asked again from the state "
        "that it leads to, until it is solved, an action fails, a question comes again, or MOST actions ran (default 100)",
    )
    add_loading_flags(parser)
    add = parser.add_argument_group("costs").add_argument
    add("--price_per_million", type=float, nargs=2, metavar=("IN", "OUT"), help="price of a million prompt, completion tokens")
    planner = parser.add_argument_group("the planner")
    planner.add_argument("--node_budget", type=int, default=200_000, help="search nodes per problem (default 200,000)")
    parser.add_argument("--output", metavar="FILE", help="write the result as JSON, every completion included")
    return parser


@entry_point()
def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        check(arguments)
        return compare_results(*arguments.compare) if arguments.compare else evaluate_model(arguments)
    except KeyboardInterrupt:
        again = "Run the same command again to go on." if arguments.output else "Nothing was written."
        print(f"stopped. {again}", file=sys.stderr)
        return 130


def check(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for what cannot work, before anything is loaded."""
    chosen = [bool(arguments.compare), arguments.planner, bool(arguments.model)]
    if sum(chosen) != 1:
        raise ConfigError("name one of --model (with --base_url for an endpoint), --planner and --compare")
    check_asking(arguments, arguments.num_samples)
    if arguments.planner and chat_of(arguments):
        raise ConfigError(f"--{next(iter(chat_of(arguments)))} is for a model: --planner is asked for nothing")
    if arguments.base_url and not arguments.output:
        raise ConfigError("--base_url needs --output: answers that were paid for must not be lost")
    if arguments.planner and arguments.match_domains:
        raise ConfigError("--match_domains is for a model: --planner reads any domain")
    if arguments.planner and arguments.probe:
        raise ConfigError("--probe changes names and their order, which --planner does not see: leave one out")
    arguments.probe = list(dict.fromkeys(way for text in arguments.probe for way in text.split(",")))
    if arguments.planner and arguments.repair_turns:
        raise ConfigError("--repair_turns is for a model: the plans of --planner do not fail")
    if arguments.step_by_step is not None and (arguments.planner or arguments.repair_turns or arguments.num_samples):
        raise ConfigError("--step_by_step is for the greedy answers of a model, without --repair_turns and --num_samples")
    at_least(arguments, step_by_step=1, samples=1, node_budget=1, num_samples=0)
    if any(not 1 <= k <= arguments.num_samples for k in arguments.k or ()):
        raise ConfigError(f"--k must lie in 1..{arguments.num_samples} (--num_samples), got {arguments.k}")
    if arguments.output and Path(arguments.output).is_dir():
        raise ConfigError(f"--output {arguments.output} is a folder; name a file in it")
    if arguments.output:
        require_writable(Path(arguments.output).parent, "the folder of --output,")


def evaluate_model(arguments: argparse.Namespace) -> int:
    """Evaluates, then once more for every probe, with what it cost. Returns the exit status."""
    from grpo_project.common.progress import ProgressLine
    from grpo_project.data.origin import Origin
    from grpo_project.data.probes import PROBES, probed_table
    from grpo_project.data.rows import read_rows
    from grpo_project.evaluation.comparison import compare
    from grpo_project.evaluation.report import paired_table
    from grpo_project.prompting import COMPACT

    for way in arguments.probe:
        if way not in PROBES:
            raise ConfigError(f"--probe must be among {', '.join(PROBES)}, got {way!r}")
    table = read_rows(Origin.of(arguments.data_root, arguments.problem_root, arguments.difficulty_pattern), arguments.domains)
    for message in table.bad_rows:
        print(f"skipped {message}", file=sys.stderr)
    line = ProgressLine()
    answerer, own_style, chat = load_answerer(arguments, table, line)
    style = style_of(arguments, own_style)
    if arguments.match_domains and style != COMPACT:
        raise ConfigError(f"--match_domains is for the style {COMPACT}, which tells domains by their words; this is {style}")
    output = Path(arguments.output) if arguments.output else None
    # Probes and later states are asked in words of ours, so the problems as they are must be, too: the rows' own may say more.
    told_anew = (arguments.probe or arguments.step_by_step) and style == "full"
    prompt_format = arguments.prompt_format or ("pddl" if told_anew else None)
    settings = describe_settings(arguments, table.fingerprint, style, prompt_format) | chat
    result = known_result(output, settings) if arguments.probe else None
    result = result or evaluate_table(arguments, table, answerer, settings, output, line)
    for way in arguments.probe:
        other = output.with_name(f"{output.stem}.{way}.json") if output else None
        changed = {**settings, "probe": way, "probe_seed": arguments.seed}
        probed = known_result(other, changed)
        other_table = probed_table(table, way, arguments.seed)
        probed = probed or evaluate_table(arguments, other_table, answerer, changed, other, line)
        print(paired_table(compare(result, probed), "as they are", f"--probe {way}"))
    return 0


def known_result(output: Path | None, settings: dict[str, Any]) -> Any:
    """The finished result of the same evaluation: after a stop, only what is missing is asked for. None where there is none."""
    from grpo_project.evaluation.results import read_result

    found = read_result(output) if output and output.exists() else None
    if found is None or found.settings != json.loads(json.dumps(settings)):
        return None
    print(f"{found.name}: {output} is there, from before")
    return found


def evaluate_table(
    arguments: argparse.Namespace, table: Any, answerer: Any, settings: dict[str, Any], output: Path | None, line: Any
) -> Any:
    """Asks for answers to the rows of a table, verifies them, prints and writes the result, and returns it."""
    from contextlib import ExitStack

    from grpo_project.common.files import write_json_atomically
    from grpo_project.data.asked_words import table_in_asked_words
    from grpo_project.data.prompts import row_prompt
    from grpo_project.evaluation.answers import Answer, Journal, Question, Record, ask
    from grpo_project.evaluation.conversation import Repair
    from grpo_project.evaluation.evaluate import verify_answers
    from grpo_project.evaluation.report import print_result
    from grpo_project.evaluation.stepping import StepByStep
    from grpo_project.runs.run_folder import describe_environment

    table = table_in_asked_words(table, settings["prompt_style"], arguments.match_domains)
    indices = [index for domain in table.domains for index in table.indices_of(domain)[: arguments.samples]]
    name = arguments.model or "A* search"
    if arguments.adapter:
        name = f"{name} + {arguments.adapter}"
    if arguments.step_by_step:
        name = f"{name}, --step_by_step"
    if "probe" in settings:
        name = f"{name}, --probe {settings['probe']}"

    def prompt_of(row: Any) -> str:
        return row_prompt(row, settings["prompt_style"], settings["prompt_format"])

    questions = [
        Question(index, sample, prompt_of(table.rows[index])) for sample in range(arguments.num_samples + 1) for index in indices
    ]
    with ExitStack() as stack:
        journal = None
        if output:
            journal = stack.enter_context(Journal(output.with_name(f"{output.name}.journal.jsonl"), settings))
        known = len(journal.answers) if journal else 0
        stack.enter_context(line.about(f"asking {name}", len(questions), known, arguments.max_completion_length))

        def answer(left: Any, record: Record) -> None:
            def shown(question: Question, found: Answer) -> None:
                record(question, found)
                line.advance(found.completion_tokens or 0)

            line.expect(len(left))  # repairs are questions that turn up later
            answerer(left, shown)

        began = time.perf_counter()
        if arguments.step_by_step:
            stepping = StepByStep(table, prompt_of, arguments.step_by_step, arguments.plan_reading)
            answers = stepping.composed(ask(questions, answer, journal, stepping))
        else:
            reading = arguments.plan_reading
            how = {"plan_reading": reading, "prompt_style": settings["prompt_style"]}
            repair = Repair(table.task, arguments.repair_turns, arguments.repair_detail, drawn=False, **how)
            answers = ask(questions, answer, journal, repair)
        result = verify_answers(
            table,
            indices,
            answers,
            arguments.num_samples,
            seconds=time.perf_counter() - began,
            name=name,
            settings=settings,
            price_per_million=tuple(arguments.price_per_million) if arguments.price_per_million else None,
            plan_reading=None if arguments.step_by_step else arguments.plan_reading,
        )
        if output and journal:
            environment = describe_environment(Path(__file__).resolve().parent.parent)
            write_json_atomically(output, {**result.to_json(), "environment": environment})
            journal.remove()
    went_on = f", {known} answers of them from before" if known else ""
    print(f"{name} on {arguments.data_root}: {len(indices)} problems in {result.seconds:.0f} s{went_on}")
    print_result(result)
    if output:
        print(f"Result: {output}")
    return result


def load_answerer(arguments: argparse.Namespace, table: Any, line: Any) -> tuple[Any, str, dict[str, Any]]:
    """(who answers, the prompt style that it reads unless another is asked for, the settings of its chats that are not left to
    the template)."""
    if arguments.planner:
        from grpo_project.evaluation.evaluate import planner_answerer

        return planner_answerer(table, arguments.node_budget), "full", {}
    from grpo_project.models.asking import asked_model

    return asked_model(arguments, wrote=line.wrote)


def describe_settings(
    arguments: argparse.Namespace, data_fingerprint: str, style: str, prompt_format: str | None
) -> dict[str, Any]:
    """What decides the answers: a journal or result with other settings is another evaluation. No key is among them."""
    from grpo_project.evaluation.fingerprint import model_fingerprint

    settings: dict[str, Any] = {
        "model": arguments.model,
        "adapter": arguments.adapter,
        "data_root": arguments.data_root,
        "data_fingerprint": data_fingerprint,
        "domains": arguments.domains,
        "samples": arguments.samples,
        "prompt_style": style,
        "prompt_format": prompt_format,
        "max_completion_length": arguments.max_completion_length,
        "num_samples": arguments.num_samples,
    }
    if arguments.num_samples:
        settings |= {"temperature": arguments.temperature, "seed": arguments.seed, "k": arguments.k}
    if arguments.repair_turns:
        settings |= {"repair_turns": arguments.repair_turns, "repair_detail": arguments.repair_detail}
    if arguments.step_by_step:
        settings["step_by_step"] = arguments.step_by_step
    for name in ("problem_root", "difficulty_pattern", "match_domains"):
        if getattr(arguments, name):
            settings[name] = getattr(arguments, name)
    if arguments.plan_reading != "strict":
        settings["plan_reading"] = arguments.plan_reading
    if arguments.planner:
        settings["node_budget"] = arguments.node_budget
    elif arguments.base_url:
        settings |= {"base_url": arguments.base_url, "request_fields": json.loads(arguments.request_fields or "{}")}
    else:
        settings["model_fingerprint"] = model_fingerprint(arguments.model, arguments.adapter)
        settings["load_in_4bit"] = arguments.load_in_4bit
    return settings


def compare_results(first_file: str, second_file: str) -> int:
    """Prints the paired comparison of two results. Returns the exit status."""
    from grpo_project.evaluation.comparison import compare
    from grpo_project.evaluation.report import paired_table
    from grpo_project.evaluation.results import read_result

    first, second = read_result(first_file), read_result(second_file)
    comparison = compare(first, second)
    for warning in comparison.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if comparison.unpaired:
        print(f"warning: {comparison.unpaired} problems are in one result only and are left out", file=sys.stderr)
    print(paired_table(comparison, f"{first.name} ({first_file})", f"{second.name} ({second_file})"))
    print("p: how often two equally good models would differ by as much; not corrected for looking at several domains")
    return 0


if __name__ == "__main__":
    sys.exit(main())
