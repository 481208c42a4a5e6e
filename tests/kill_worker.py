"""Trainings that are there to be killed: imports once, then forks one process per rank for every line it is sent.

A line on stdin: {"settings", "world_size", "log", "self_kill": null | {"where", "count"}}. Answers: {"pids"}, and when all have
ended {"statuses"} (negative: the signal). Verdicts depend on the text alone and vary, so that a random model has a gradient and
every curriculum something to go by.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
PORT = 29560


def schedule(step: int, max_steps: int) -> dict[str, float]:
    return {"easy": 1.0, "medium": 0.0, "hard": 0.0} if step < 2 else {"easy": 0.2, "medium": 0.4, "hard": 0.4}


def varied_verdict(task: Any, text: str) -> Any:
    """The real verdict with a class and a progress that a hash of the text decides."""
    from grpo_project.pddl import validate_text

    verdict = validate_text(task, text)._replace(steps_executed=1)
    number = zlib.crc32(text.encode())
    if number % 3 == 0:
        return verdict._replace(verdict_class="success_plans", detail="")
    total = max(verdict.goals_total, 4)
    return verdict._replace(
        verdict_class="goal_not_satisfied",
        goals_met=number % 4,
        best_goals_met=number % 4,
        goals_total=total,
        initial_goals_met=0,
    )


def record_rewards(log: Path, rank: int) -> None:
    """Every call of the reward function becomes a line: the rank, its rows, its texts and their rewards."""
    from grpo_project import rewards

    make = rewards.make_reward_function

    def recording(*arguments: Any) -> Any:
        inner = make(*arguments)

        def planning_reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
            values: list[float] = inner(prompts, completions, **columns)
            texts = [completion[0]["content"] for completion in completions]
            line = {"rank": rank, "rows": [int(row) for row in columns["row_index"]], "texts": texts, "rewards": values}
            with open(log, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")
            return values

        return planning_reward

    rewards.make_reward_function = recording


def kill_at(where: str, count: int) -> None:
    """This process dies when the function that `where` stands for is called for the `count`-th time."""
    import torch

    from grpo_project.core import checkpoint
    from grpo_project.training import grpo

    places: dict[str, tuple[Any, str]] = {
        "update": (grpo, "trim_padding"),  # completions are there, the step is not taken
        "write": (torch, "save"),  # in the middle of a checkpoint's files
        "manifest": (checkpoint, "_through_to_disk"),  # between its last file and its name
        "rename": (checkpoint, "replace_folder"),
        "rotation": (checkpoint, "rotate"),
    }
    module, name = places[where]
    inner: Callable[..., Any] = getattr(module, name)
    calls = 0

    def counting(*arguments: Any, **how: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*arguments, **how)

    setattr(module, name, counting)


def run(request: dict[str, Any], rank: int) -> int:
    from grpo_project.evaluation import evaluate as evaluate_function  # noqa: F401 - the module of that name is meant below
    from grpo_project.training import preparation, trainer

    world_size = request["world_size"]
    if world_size > 1:  # what torchrun sets
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
        os.environ |= {name: str(value) for name, value in names.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(request["port"])}
    sys.modules["grpo_project.evaluation.evaluate"].validate_text = varied_verdict  # type: ignore[attr-defined]
    trainer.Run._judge = lambda self, folder: varied_verdict  # type: ignore[method-assign]
    record_rewards(Path(request["log"]), rank)
    if request["self_kill"]:
        kill_at(**request["self_kill"])
    config = preparation.resolve_settings(request["settings"])
    return trainer.train(config, schedule)


def child(request: dict[str, Any], rank: int) -> None:
    output = os.open(request["log"] + f".{rank}.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        status = run(request, rank)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print what they like

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    import torch
    import transformers  # noqa: F401
    from trl import GRPOConfig, GRPOTrainer  # noqa: F401

    import grpo_project.training.trainer

    assert grpo_project.training.trainer.train and torch.get_num_threads() >= 1
    answer({"ready": True})
    for number, line in enumerate(sys.stdin):
        request = json.loads(line) | {"port": PORT + (os.getpid() + number) % 900}
        pids = []
        for rank in range(request["world_size"]):
            pid = os.fork()
            if pid == 0:
                child(request, rank)
            pids.append(pid)
        answer({"pids": pids})
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        answer({"statuses": statuses})


if __name__ == "__main__":
    main()
