"""Evaluations of a run: greedy success of the model, as it is when it is asked, on an evaluation set."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from grpo_project.common import ranks
from grpo_project.common.progress import ProgressLine
from grpo_project.data.held_out import EvaluationSet
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import Row
from grpo_project.evaluation import EvaluationResult, evaluate
from grpo_project.evaluation.results import read_result
from grpo_project.models.loading import Policy
from grpo_project.runs.run_folder import RunFolder
from grpo_project.training.console import say

EVALUATED_AT_ONCE = 64  # completions, where the memory has room for them

Complete = Callable[[list[Row]], list[str]]


def greedy_completions(policy: Policy, max_completion_length: int, at_once: int | None, shown: bool = False) -> Complete:
    """Rows to greedy answers. `at_once`: completions that fit while training fits; None where that is unknown. `shown`: rank 0
    tells how far it is."""
    from grpo_project.models.generation import complete

    batch = EVALUATED_AT_ONCE if at_once is None else min(EVALUATED_AT_ONCE, at_once)

    def answers(rows: list[Row]) -> list[str]:
        prompts = [row_prompt(row, policy.prompt_style) for row in rows]
        line = ProgressLine("solving held-out problems", len(rows), longest=max_completion_length)
        telling = shown and ranks.is_main()
        with line if telling else nullcontext():
            found = complete(
                policy.model,
                policy.tokenizer,
                prompts,
                max_completion_length,
                batch,
                chat=policy.chat,
                on_answer=(lambda row, sample, answer: line.advance(answer.completion_tokens or 0)) if telling else None,
                wrote=line.wrote if telling else None,
            )
        return [own[0].text for own in found]

    return answers


def evaluate_held_out(
    problems: EvaluationSet | None, complete: Complete, folder: RunFolder, when: str, continued: bool, plan_reading: str
) -> EvaluationResult | None:
    """Success on the held-out problems, also as evaluation_<when>.json; None without any. `when`: before or after.
    plan_reading: how answers are read, one of PLAN_READINGS.

    A continued run takes what the first attempt found before training. Rank 0 alone gets the result.
    """
    if problems is None:
        return None
    # Generation gathers the parts of a sharded model, so all must take part; before training every process has all of it.
    together = ranks.shards_parameters() and when == "after"
    if not ranks.is_main() and not together:
        return None  # training begins when all are there
    path = folder.path / f"evaluation_{when}.json"
    if when == "before" and continued and path.exists():
        return read_result(path)
    result = evaluate(problems.table, problems.indices, complete, f"{when} training", plan_reading)
    if not ranks.is_main():
        return None
    folder.write_json(path.name, result.to_json())
    rates = ", ".join(f"{domain} {result.rate(domain):.1%}" for domain in result.domains)
    what = "Held-out success" if problems.remark is None else f"Success ({problems.remark})"
    say(f"{what} {when} training, greedy: {rates}; average {result.average():.1%} ({result.seconds:.0f} s)")
    return result


def evaluate_steering(problems: EvaluationSet, complete: Complete, plan_reading: str) -> EvaluationResult:
    """Success on the problems that steer the run, shared out among the processes; every process gets the whole result."""
    if ranks.shards_parameters():  # every forward pass is one of all processes: they must make the same ones
        return evaluate(problems.table, problems.indices, complete, "during training", plan_reading)
    own = list(problems.indices)[ranks.rank() :: ranks.world_size()]
    result = evaluate(problems.table, own, complete, "during training", plan_reading)
    return replace(result, problems=tuple(ranks.gather(list(result.problems))))
