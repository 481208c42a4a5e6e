"""A real vLLM server on a CPU, asked by script/evaluate.py: what it answers gets the verdicts of the same model loaded here.

The folder is not called vllm: `tests` is on the path, and TRL would take it for the package.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import compare, served_and_local

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
MODEL = Path("data") / "models" / "tiny-planner"
SECONDS_TO_START = 300
PROBLEMS = 20  # of each domain


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server with the shipped planner in float32."""
    if not PYTHON.exists():
        pytest.skip("needs .venv-vllm: make test-vllm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = ("--host", "127.0.0.1", "--port", str(port))
    how = ("--dtype", "float32", "--enforce-eager")  # compiling takes longer than all the answers
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL), *address, *how]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with log.open("w") as out:
        gib_of_cache = {"VLLM_CPU_KVCACHE_SPACE": "1"}
        running = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | gib_of_cache, stdout=out, stderr=out, start_new_session=True
        )
    try:
        ends = time.monotonic() + SECONDS_TO_START
        while not healthy(port):
            assert running.poll() is None and time.monotonic() < ends, log.read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(running.pid, signal.SIGTERM)  # its engine is a process of its own
        running.wait(60)


def healthy(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


def test_the_verdicts_are_those_of_the_model_loaded_here(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Greedy in float32. Sums are added in another order, so that a few answers may part ways."""
    which = (
        "--data_root",
        "data/test",
        "--samples",
        PROBLEMS,
        "--prompt_style",
        "compact_by_name",
        "--max_completion_length",
        128,
    )
    pairs = served_and_local(server, MODEL, tmp_path, *which)
    texts, verdicts, solved = compare(pairs)
    with capsys.disabled():
        print(f"\nvLLM and transformers: {verdicts} of {len(pairs)} verdicts and {texts} texts equal; {solved} solved")
    assert len(pairs) == 5 * PROBLEMS and 0 < solved < len(pairs)
    assert verdicts >= len(pairs) - 2 and texts >= len(pairs) - 4
    assert all(theirs.prompt_tokens == ours.prompt_tokens and theirs.cut_off == ours.cut_off for theirs, ours in pairs)
