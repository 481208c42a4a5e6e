"""Runs whose rewards vary although the model is random, in this process or, as a script, in several under torchrun.

    torchrun --nproc-per-node 2 tests/varied_verdicts.py settings.json rows-

A random planner's answers are all format errors: no group would have variance and no curriculum anything to go by. Here about a
third of all texts, chosen by their checksum, count as success, in training as well as in evaluations.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grpo_project.pddl import Task, Verdict, validate_text

Observer = Callable[[list[int], list[str], list[float]], None]  # row indices, texts and rewards of one call


def verify(task: Task, text: str) -> Verdict:
    """The real verdict, or a success for a third of the texts."""
    verdict = validate_text(task, text)
    if zlib.crc32(text.encode()) % 3:
        return verdict
    return verdict._replace(verdict_class="success_plans", steps_executed=1)


def vary_verdicts(replace: Callable[[Any, str, Any], None], observe: Observer) -> None:
    """Puts `verify` into training and evaluation by `replace(module, name, value)`; `observe` is told every call."""
    import grpo_project.evaluation  # noqa: F401 - so that the module below is loaded
    from grpo_project import rewards as module

    make = module.make_reward_function

    def recording(table: Any, config: Any, observer: Any = None, _: Any = None, *more: Any) -> Any:
        inner = make(table, config, observer, verify, *more)

        def planning_reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
            rewards = list(inner(prompts, completions, **columns))
            rows = [int(row) for row in columns["row_index"]]
            observe(rows, [completion[0]["content"] for completion in completions], rewards)
            return rewards

        return planning_reward

    replace(module, "make_reward_function", recording)
    replace(sys.modules["grpo_project.evaluation.evaluate"], "validate_text", verify)


def schedule(step: int, max_steps: int) -> dict[str, float]:
    return {"easy": 1.0, "medium": 0.0, "hard": 0.0} if step < 2 else {"easy": 0.2, "medium": 0.4, "hard": 0.4}


def main(settings_file: str, rows_prefix: str) -> int:
    """One process of a run; its rows go to <rows_prefix><rank>.json."""
    from grpo_project.configs.training import TrainingConfig
    from grpo_project.training.launch import resolve_settings
    from grpo_project.training.run import train

    settings = json.loads(Path(settings_file).read_text())
    rows_seen: list[list[int]] = []
    vary_verdicts(setattr, lambda rows, texts, rewards: rows_seen.append(rows))
    resumed = "resume_from_checkpoint" in settings
    status = train(resolve_settings(settings) if resumed else TrainingConfig(**settings), schedule)
    Path(f"{rows_prefix}{os.environ['RANK']}.json").write_text(json.dumps(rows_seen))
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
