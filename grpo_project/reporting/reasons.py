"""Why the sampled answers of a run fail: counts by reason, examples, and what a looser reading would count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grpo_project.common.metrics import key_label
from grpo_project.common.text import counted
from grpo_project.errors import GrpoProjectError
from grpo_project.evaluation.readings import READINGS
from grpo_project.evaluation.reasons import REASONS, SUCCEEDED
from grpo_project.evaluation.rescoring import Rescored, SavedAnswer, reading_counts, reason_counts, rescore, sample_task
from grpo_project.pddl import validate_text
from grpo_project.pddl.lenient import STRICT, read_answer
from grpo_project.reporting.blocks import Block, details_block, left_cell, rate_cell, table_block, text_block, words_block

EXAMPLES = 10  # of each reason
LONGEST_EXAMPLE = 300  # characters
LINE_END = " \u23ce "  # in a cell, which has one line


def reasons_data(samples: Sequence[Mapping[str, Any]], plan_reading: str = STRICT) -> dict[str, Any]:
    """Plain data from the lines of completions.jsonl, read as in training; `count` of them could be verified again."""
    found = rescore(list(_answers(samples)), lambda task, text: validate_text(task, read_answer(task, text, plan_reading)))
    own: dict[str, list[Rescored]] = {name: [] for name in reason_counts([one.reason for one in found])}
    for one in found:
        own[one.reason].append(one)
    return {
        "count": len(found),
        "reasons": [
            {
                "name": name,
                "verdict": members[0].verdict.verdict_class,
                "count": len(members),
                "examples": _examples(name, members),
            }
            for name, members in own.items()
        ],
        "plan_reading": plan_reading,
        "readings": reading_counts([(one.answer.task, one.answer.text) for one in found]),
    }


def _answers(samples: Sequence[Mapping[str, Any]]) -> Iterator[SavedAnswer]:
    for sample in samples:
        if sample.get("cut"):
            continue  # a text that was shortened when it was saved ends where the answer did not
        try:
            task = sample_task(sample)
        except (GrpoProjectError, RecursionError):
            continue  # the replayed plans say why
        yield SavedAnswer(f"step {sample['step']}", sample["domain"], sample["problem_file"], task, sample["completion"])


def _examples(name: str, members: Sequence[Rescored]) -> list[list[str]]:
    """[where, what the verifier says, how the answer begins], evenly over the run."""
    if name == SUCCEEDED:
        return []
    gap = max(1, len(members) // EXAMPLES)
    return [
        [
            f"{one.answer.domain}, {one.answer.source}",
            one.verdict.detail,
            one.answer.text[:LONGEST_EXAMPLE].replace("\n", LINE_END),
        ]
        for one in members[::gap][:EXAMPLES]
    ]


def reason_blocks(found: Mapping[str, Any]) -> Iterator[Block]:
    """The section's blocks; none where no answer was saved."""
    whole = found["count"]
    if not whole:
        return
    rows = [
        [
            REASONS[own["name"]].label,
            key_label(own["verdict"]),
            rate_cell(own["count"], whole),
            REASONS[own["name"]].advice,
        ]
        for own in found["reasons"]
    ]
    yield words_block(["reason", "verdict", "answers", "what helps"], rows)
    strict, rewarded = found["readings"]["strict"], READINGS[found["plan_reading"]].what
    readings = [
        [left_cell(READINGS[name].what), rate_cell(count, whole), f"{count - strict:+d}"]
        for name, count in found["readings"].items()
    ]
    yield table_block(
        [left_cell("if a reading forgave"), "would succeed", "gained"], readings, f"The reward's own is the line '{rewarded}'."
    )
    for own in found["reasons"]:
        if own["examples"]:
            summary = f"{REASONS[own['name']].label}: {counted(len(own['examples']), 'example')} of {own['count']}"
            yield details_block(
                summary, words_block(["where", "what the verifier says", "how the answer begins"], own["examples"])
            )
    yield text_block(
        f"From the {counted(whole, 'answer')} that the run saved; script/rescore.py verifies them again.", small=True
    )
