"""Trainings that are there to be killed: imports once, then forks one process per rank for every line it is sent.

A line on stdin: {"settings", "world_size", "log", "self_kill": null | {"where", "count"}}. Answers: {"pids"}, and when all have
ended {"statuses"} (negative: the signal). Verdicts are those of varied_verdicts.py.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from varied_verdicts import Observer, schedule, vary_verdicts  # noqa: E402

from grpo_project.common.files import append_json_line  # noqa: E402

PORT = 29560


def writes_to(log: Path, rank: int) -> Observer:
    """Every call of the reward function becomes a line: the rank, its rows, its texts and their rewards."""

    def observe(rows: list[int], texts: list[str], rewards: list[float]) -> None:
        append_json_line(log, {"rank": rank, "rows": rows, "texts": texts, "rewards": rewards})

    return observe


def kill_at(where: str, count: int) -> None:
    """This process dies when the function that `where` stands for is called for the `count`-th time."""
    import torch

    from grpo_project.models import cpu_planner
    from grpo_project.runs import checkpoint

    places: dict[str, tuple[Any, str]] = {
        "update": (cpu_planner, "trim_padding"),  # completions are there, the step is not taken
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


def train(request: dict[str, Any], rank: int) -> int:
    from grpo_project.training import launch, run

    world_size = request["world_size"]
    if world_size > 1:  # what torchrun sets
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
        os.environ |= {name: str(value) for name, value in names.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(request["port"])}
    vary_verdicts(setattr, writes_to(Path(request["log"]), rank))
    if request["self_kill"]:
        kill_at(**request["self_kill"])
    config = launch.resolve_settings(request["settings"])
    return run.train(config, schedule)


def child(request: dict[str, Any], rank: int) -> None:
    output = os.open(request["log"] + f".{rank}.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        status = train(request, rank)
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

    import grpo_project.training.run

    assert grpo_project.training.run.train and torch.get_num_threads() >= 1
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
