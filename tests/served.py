"""A model behind a real server, and the same model asked twice by script/evaluate.py: there, and loaded here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from grpo_project.evaluation.results import ProblemResult, read_result

ROOT = Path(__file__).resolve().parents[1]
SECONDS_TO_START = 300


@contextmanager
def serving(command: Sequence[object], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The base URL of the OpenAI-compatible server that `command` becomes with --host and --port; what it prints stands in `log`.

    Raises AssertionError with its last words where it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [*map(str, command), "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as out:
        running = subprocess.Popen(
            words, cwd=ROOT, env=os.environ | dict(environment or {}), stdout=out, stderr=out, start_new_session=True
        )
    try:
        ends = time.monotonic() + SECONDS_TO_START
        while not _healthy(port):
            assert running.poll() is None and time.monotonic() < ends, log.read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        with suppress(ProcessLookupError):  # it may never have started
            os.killpg(running.pid, signal.SIGTERM)  # an engine may be a process of its own
        running.wait(60)


def _healthy(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


def run_script(name: str, *arguments: object) -> str:
    """What a script of this repository prints, computing in one thread. Raises AssertionError with its last words if it fails."""
    command = [sys.executable, str(ROOT / "script" / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def served_and_local(base_url: str, model: Path, folder: Path, *problems: object) -> list[tuple[ProblemResult, ProblemResult]]:
    """(answer of the server, answer of the model loaded here) for each problem that the flags in `problems` choose."""
    served, local = folder / "served.json", folder / "local.json"
    run_script("evaluate.py", "--model", model, "--output", local, *problems)
    run_script("evaluate.py", "--model", model, "--output", served, "--base_url", base_url, *problems)
    pairs = list(zip(read_result(served).problems, read_result(local).problems, strict=True))
    assert all(theirs.problem_file == ours.problem_file for theirs, ours in pairs)
    return pairs


def compare(pairs: list[tuple[ProblemResult, ProblemResult]]) -> tuple[int, int, int]:
    """(problems with equal texts, problems with equal verdicts, problems that the model loaded here solves)."""
    return (
        sum(theirs.completion == ours.completion for theirs, ours in pairs),
        sum(theirs.verdict_class == ours.verdict_class for theirs, ours in pairs),
        sum(ours.success for _, ours in pairs),
    )
