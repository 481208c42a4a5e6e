"""Why is my reward 0? Verifies saved completions again: why they fail, with examples, and what would change it.

    python script/rescore.py outputs/my_run                        # the run's completions.jsonl
    python script/rescore.py outputs/evaluation/tiny.json          # a result of script/evaluate.py, every answer in it
    python script/rescore.py outputs/my_run --reward sparse        # what they would earn under another reward
    python script/rescore.py outputs/my_run --reading loosest --validator val

A file of your own has one JSON object a line: completion, problem_pddl, and domain (a name) or domain_pddl (its text). Nothing is
changed on disk. Looser readings tell what the strict one costs; a reward under them would pay for what stands around a plan, but
for `lenient`, which training may use (--plan_reading).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.configs.asking import at_least  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("saved", metavar="RUN|FILE", help="a run folder, a file like its completions.jsonl, or a result of script/evaluate.py")
    add("--reward", nargs="+", default=["dense"], metavar="NAME[=WEIGHT]", help="rewards as in training (default dense)")
    add("--reward_bands", default="", metavar="BANDS", help="of --reward banded, as in training")
    add("--reading", default="strict", metavar="NAME", help="the answer is read so before it is verified (default strict)")
    add("--validator", choices=("builtin", "val", "both"), default="builtin", help="whose verdicts (default builtin)")
    add("--problem_root", nargs="+", default=[], metavar="DIR", help="the folders of its PDDL files, likewise")
    add("--data_root", metavar="DIR", help="the problems of an evaluation's result, where they are no longer where they were")
    add("--examples", type=int, default=10, metavar="N", help="answers shown of each reason (default 10)")
    add("--json", action="store_true", help="one JSON object: counts by reason and reading, mean reward, every verdict")
    return parser


@entry_point()
def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    return run(arguments)


def run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from grpo_project.evaluation.readings import READINGS
    from grpo_project.evaluation.rescoring import (
        examples,
        read_saved,
        reading_counts,
        reading_table,
        reason_counts,
        reason_table,
        rescore,
    )
    from grpo_project.rewards import parse_rewards
    from grpo_project.rewards.verifier import make_verifier

    at_least(arguments, examples=0)
    if arguments.reading not in READINGS:
        raise ConfigError(f"--reading must be one of {', '.join(READINGS)}, got {arguments.reading!r}")
    rewards = parse_rewards(arguments.reward, arguments.reward_bands)
    verify = make_verifier(arguments.validator, Path(), lambda line: print(line, file=sys.stderr))
    answers = read_saved(arguments.saved, arguments.data_root, arguments.problem_root)
    if arguments.reading != "strict":
        read = READINGS[arguments.reading].read
        answers = [replace(answer, text=read(answer.task, answer.text)) for answer in answers]
    found = rescore(answers, verify)
    totals = total_rewards(rewards, found)
    recorded = [answer.recorded_reward for answer in answers if answer.recorded_reward is not None]
    changed = sum(one.answer.recorded_class not in (None, one.verdict.verdict_class) for one in found)
    mean = sum(totals) / len(totals)
    if arguments.json:
        record = {
            "answers": len(found),
            "reasons": reason_counts([one.reason for one in found]),
            "readings": reading_counts([(one.answer.task, one.answer.text) for one in found]),
            "mean_reward": mean,
            "recorded_mean_reward": sum(recorded) / len(recorded) if recorded else None,
            "other_verdicts_than_recorded": changed,
            "verdicts": [
                {"source": one.answer.source, "verdict": one.verdict.verdict_class, "reason": one.reason, "reward": total}
                for one, total in zip(found, totals, strict=True)
            ],
        }
        print(json.dumps(record))
        return 0
    print(f"{arguments.saved}: {len(found)} answers\n")
    print(reason_table(found))
    was = f"; recorded were {sum(recorded) / len(recorded):+.3f}" if recorded else ""
    print(f"\nMean reward {mean:+.3f} ({' '.join(arguments.reward)}), {len(set(totals))} different values{was}")
    print(f"{changed} verdicts differ from those recorded\n")
    print(reading_table(found))
    if arguments.examples:
        print(examples(found, arguments.examples))
    return 0


def total_rewards(rewards: Sequence[Any], found: Sequence[Any]) -> list[float]:
    """The weighted sum of the rewards for each answer, asked for as in training; rows are numbered as they come."""
    columns = {
        "row_index": list(range(len(found))),
        "verdict": [one.verdict for one in found],
        "scenario": [one.answer.domain for one in found],
        "problem_file": [one.answer.problem_file for one in found],
    }
    texts = [one.answer.text for one in found]
    values = [reward.values([""] * len(found), texts, **columns) for reward in rewards]
    return [sum(reward.weight * own[place] for reward, own in zip(rewards, values, strict=True)) for place in range(len(found))]


if __name__ == "__main__":
    sys.exit(main())
