"""Saved completions, verified again: why they fail, and what they would earn under another reading or reward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_project.common.files import json_value, read_lines
from grpo_project.common.text import percent, rate_text, text_table
from grpo_project.data.origin import Origin
from grpo_project.data.rows import read_rows
from grpo_project.domains import get_domain
from grpo_project.errors import DataError, PddlError
from grpo_project.evaluation.readings import READINGS
from grpo_project.evaluation.reasons import REASONS, SUCCEEDED, reason_of
from grpo_project.evaluation.results import ProblemResult, SampleResult, read_result
from grpo_project.pddl import Task, Verdict, compile_task, parse_domain, parse_problem, validate_text

SAVED = "completions.jsonl"  # of a run folder


@dataclass(frozen=True)
class SavedAnswer:
    """A completion and its problem. `source`: where it stands, for people. Recorded figures are None where none were."""

    source: str
    domain: str
    problem_file: str
    task: Task
    text: str
    recorded_class: str | None = None
    recorded_reward: float | None = None


@dataclass(frozen=True)
class Rescored:
    """An answer with its verdict now and the name of its reason (reasons.REASONS)."""

    answer: SavedAnswer
    verdict: Verdict
    reason: str


def read_saved(path: str, data_root: str | None = None, problem_roots: Sequence[str] = ()) -> list[SavedAnswer]:
    """The answers of a run folder, of a file like its completions.jsonl, or of a result of script/evaluate.py.

    data_root, problem_roots: where a result's problems are, unless where they were. Raises DataError where there is none.
    """
    found = Path(path) / SAVED if Path(path).is_dir() else Path(path)
    answers = list(_of_result(found, data_root, problem_roots) if found.suffix == ".json" else _of_lines(found))
    if not answers:
        raise DataError(f"{found} holds no completion")
    return answers


def sample_task(sample: Mapping[str, Any]) -> Task:
    """The task of a line of completions.jsonl, which brings its problem. Raises GrpoProjectError where it is none."""
    text = sample.get("domain_pddl")
    domain = parse_domain(text, f"domain {sample['domain']}") if isinstance(text, str) else get_domain(sample["domain"]).domain
    return compile_task(domain, parse_problem(sample["problem_pddl"], domain, str(sample.get("problem_file", "problem_pddl"))))


def _of_lines(path: Path) -> Iterator[SavedAnswer]:
    try:
        lines = read_lines(path)
    except OSError as error:
        wanted = "a run folder, a file of completions, or a result of script/evaluate.py"
        raise DataError(f"{path} cannot be read: {error.strerror}. Name {wanted}") from None
    for number, line in enumerate(lines, 1):
        source = f"{path.name}:{number}"
        try:
            sample = json_value(line)
            text, task = sample["completion"], sample_task(sample)
            domain, problem = str(sample.get("domain", task.domain.name)), str(sample.get("problem_file", ""))
            if not isinstance(text, str):
                raise TypeError("completion is no text")
        except (ValueError, KeyError, TypeError, AttributeError, PddlError, RecursionError) as error:
            raise DataError(
                f"{path}:{number}: no completion with its problem ({type(error).__name__}: {error}). A line needs completion, "
                "problem_pddl, and domain or domain_pddl"
            ) from None
        yield SavedAnswer(source, domain, problem, task, text, sample.get("verdict_class"), sample.get("reward"))


def _of_result(path: Path, data_root: str | None, problem_roots: Sequence[str]) -> Iterator[SavedAnswer]:
    result = read_result(path)
    root = data_root or result.settings.get("data_root")
    if not isinstance(root, str) or "probe" in result.settings:
        raise DataError(f"{path}: its problems are nowhere on disk; name their folder with --data_root")
    table = read_rows(Origin.of(root, problem_roots or result.settings.get("problem_root") or ()), list(result.domains))
    place = {(row.scenario, row.problem_file): index for index, row in enumerate(table.rows)}
    for problem in result.problems:
        index = place.get((problem.domain, problem.problem_file))
        if index is None:
            raise DataError(f"{path}: {problem.problem_file} is not in {root}; name the folder that has it with --data_root")
        domain, name, task = problem.domain, problem.problem_file, table.task(index)
        made: dict[str, ProblemResult | SampleResult] = {"greedy": problem}
        made |= {f"sample {number}": attempt for number, attempt in enumerate(problem.samples, 1)}
        made |= {f"repair {number}": attempt for number, attempt in enumerate(problem.repairs, 1)}
        for kind, attempt in made.items():
            if attempt.refused is None:
                yield SavedAnswer(f"{name}, {kind}", domain, name, task, attempt.completion, attempt.verdict_class)


def rescore(answers: Sequence[SavedAnswer], verify: Callable[[Task, str], Verdict] = validate_text) -> list[Rescored]:
    """The verdict on each answer as it stands, and its reason."""
    found = []
    for answer in answers:
        verdict = verify(answer.task, answer.text)
        found.append(Rescored(answer, verdict, reason_of(answer.text, verdict)))
    return found


def reason_counts(reasons: Sequence[str]) -> dict[str, int]:
    """How many answers have each reason, the most frequent first."""
    return dict(Counter(reasons).most_common())


def reading_counts(answers: Sequence[tuple[Task, str]]) -> dict[str, int]:
    """How many of the answers would succeed under each of READINGS, by name."""
    return {
        name: sum(validate_text(task, reading.read(task, text)).success for task, text in answers)
        for name, reading in READINGS.items()
    }


# -- as text ----------------------------------------------------------------------------------------------------------------


def reason_table(found: Sequence[Rescored]) -> str:
    rows = []
    for name, count in reason_counts([one.reason for one in found]).items():
        verdict_class = next(one.verdict.verdict_class for one in found if one.reason == name)
        rows.append([REASONS[name].label, verdict_class, str(count), percent(count / len(found)), REASONS[name].advice])
    return text_table(["reason", "verdict", "answers", "share", "what helps"], rows, ["verdict", "what helps"])


def reading_table(found: Sequence[Rescored]) -> str:
    counts = reading_counts([(one.answer.task, one.answer.text) for one in found])
    rows = [
        [name, READINGS[name].what, f"{count}/{len(found)}", rate_text(count, len(found)), f"{count - counts['strict']:+d}"]
        for name, count in counts.items()
    ]
    return text_table(["reading", "what it forgives", "would succeed", "share", "gained"], rows, ["what it forgives"])


def examples(found: Sequence[Rescored], count: int, longest: int = 300) -> str:
    """Up to `count` answers of each reason, successes left out: where each stands, what the verifier says, how it begins."""
    lines = []
    for name in reason_counts([one.reason for one in found]):
        if name == SUCCEEDED:
            continue
        own = [one for one in found if one.reason == name]
        lines.append(f"\n{REASONS[name].label}: {min(count, len(own))} of {len(own)}")
        for one in own[:count]:
            text = one.answer.text
            more = f" ... ({len(text)} characters)" if len(text) > longest else ""
            lines += [f"  {one.answer.domain}, {one.answer.source}: {one.verdict.detail}", f"    {text[:longest]!r}{more}"]
    return "\n".join(lines)
