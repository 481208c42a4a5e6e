"""kill -9 at random moments, then --resume_from_checkpoint auto: the same prompts, completions, rewards and final weights."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.slow

SCHEDULE_FILE = """
def waves(step, max_steps):
    return {"easy": 0.5, "medium": 0.5, "hard": 0.0} if step % 2 else {"easy": 0.2, "medium": 0.3, "hard": 0.5}
"""
# name -> settings beyond the common ones, processes. Every curriculum, LoRA, iterations, accumulation and ranks occur.
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "step, accumulation": (
        {"curriculum": "step", "gradient_accumulation_steps": 2, "micro_batch_size": 2, "beta": 0.1, "sampling_batch_size": 3},
        1,
    ),
    "stage, two iterations": ({"curriculum": "stage", "eval_every_n_steps": 2, "max_eval_samples": 2, "num_iterations": 2}, 1),
    "adaptive, LoRA, pauses": ({"curriculum": "adaptive", "lora_rank": 4, "skip_zero_variance": 2}, 1),
    "uniform, two ranks": ({"curriculum": "uniform", "gradient_accumulation_steps": 2}, 2),
    "own file, rollback": (
        {"curriculum": "FILE:waves", "on_collapse": "rollback", "eval_every_n_steps": 2, "max_eval_samples": 2},
        1,
    ),
}
SELF_KILLS = [("update", 2), ("write", 2), ("manifest", 4), ("rename", 2), ("rotation", 2)]
RANDOM_KILLS = 3  # of each case, beside one self-kill: 5 x 4 = 20 in all


class Worker:
    """The process that forks trainings (tests/kill_worker.py)."""

    def __init__(self, repository: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [sys.executable, str(repository / "tests" / "kill_worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._answer() == {"ready": True}

    def train(
        self,
        settings: dict[str, Any],
        log: Path,
        world_size: int = 1,
        after_seconds: float | None = None,
        self_kill: tuple[str, int] | None = None,
        kill_signal: int = signal.SIGKILL,
    ) -> list[int]:
        """The exit statuses of all ranks; with `after_seconds`, the ones that still ran then got the signal."""
        kill = {"where": self_kill[0], "count": self_kill[1]} if self_kill else None
        request = {"settings": settings, "world_size": world_size, "log": str(log), "self_kill": kill}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        pids = self._answer()["pids"]
        timer = threading.Timer(after_seconds or 0, _kill, (pids, kill_signal))
        if after_seconds is not None:
            timer.start()
        statuses: list[int] = self._answer()["statuses"]
        timer.cancel()
        return statuses

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _kill(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(Path(__file__).resolve().parents[3])
    yield worker
    worker.close()


@pytest.fixture
def settings(data_root: Path, tiny_planner: Path) -> dict[str, Any]:
    return {
        "base_model": str(tiny_planner),
        "data_root": str(data_root),
        "batch_size": 4,
        "num_generations": 4,
        "max_steps": 8,
        "max_completion_length": 8,
        "learning_rate": 1e-3,
        "logging_steps": 2,
        "save_steps": 2,
        "save_total_limit": 2,
        "eval_samples": 0,
        "use_wandb": False,
        "beta": 0.0,
    }


def _weights(run: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (path,) = (run / "model").glob("*model.safetensors")
    return dict(load_file(path))


def _calls(log: Path, rank: int) -> list[dict[str, Any]]:
    """Calls of the reward function; a line that the kill cut off is left out."""
    calls = []
    for line in log.read_text().splitlines() if log.exists() else ():
        with contextlib.suppress(ValueError):
            calls.append(json.loads(line))
    return [call for call in calls if call["rank"] == rank]


def _records(run: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name != "seconds_per_step"} for record in records]


def _text(log: Path) -> str:
    return "".join(path.read_text(errors="replace")[-3000:] for path in sorted(log.parent.glob(f"{log.name}.*.txt")))


def _same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return set(found) == set(wanted) and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_it_is_the_same_run(worker: Worker, settings: dict[str, Any], tmp_path: Path, case: str) -> None:
    from grpo_project.runs.checkpoint import newest_good, step_of, survey

    own, world_size = CASES[case]
    (tmp_path / "waves.py").write_text(SCHEDULE_FILE)
    own = {
        name: str(value).replace("FILE", str(tmp_path / "waves.py")) if name == "curriculum" else value
        for name, value in own.items()
    }
    settings = {**settings, **own}
    began = time.monotonic()
    reference_log = tmp_path / "reference.jsonl"
    assert worker.train({**settings, "output_dir": str(tmp_path / "reference")}, reference_log, world_size) == [0] * world_size, (
        _text(reference_log)
    )
    seconds = time.monotonic() - began
    wanted = _weights(tmp_path / "reference")
    calls = [_calls(reference_log, rank) for rank in range(world_size)]
    assert all(len({tuple(call["rows"]) for call in own_calls}) > 1 for own_calls in calls)
    assert len({value for own_calls in calls for call in own_calls for value in call["rewards"]}) > 1  # or nothing is learned

    rng = random.Random(case)
    number = list(CASES).index(case)
    kills = runs = 0
    while kills < RANDOM_KILLS + 1:
        runs += 1
        run = tmp_path / f"killed-{runs}"
        attempt = {**settings, "output_dir": str(run), "resume_from_checkpoint": "auto"}
        for attempts in range(30):
            good = newest_good(run)
            step = step_of(good) if good else 0
            log = tmp_path / f"killed-{runs}-{attempts}.jsonl"
            if kills > RANDOM_KILLS:
                statuses = worker.train(attempt, log, world_size)
            elif kills == 0 and runs == 1:
                statuses = worker.train(attempt, log, world_size, 60.0 if world_size == 1 else 20.0, SELF_KILLS[number])
                assert -9 in statuses, _text(log)
            else:
                statuses = worker.train(attempt, log, world_size, rng.uniform(0.2, 1.0) * seconds)
            per_generation = settings.get("num_iterations", 1)
            for rank, own_calls in enumerate(calls):
                found = _calls(log, rank)
                assert found == own_calls[step // per_generation :][: len(found)]
            if statuses == [0] * world_size:
                break
            assert -9 in statuses, _text(log)
            kills += 1
            assert all(one.good for one in survey(run)), survey(run)
        assert statuses == [0] * world_size
        assert _same(_weights(run), wanted)
        assert _records(run) == _records(tmp_path / "reference")
