"""A real vLLM server on a CPU, asked by script/evaluate.py: what it answers gets the verdicts of the same model loaded here.

The folder is not called vllm: `tests` is on the path, and TRL would take it for the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import ROOT, compare, served_and_local, serving

pytestmark = pytest.mark.vllm

PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
MODEL = Path("data") / "models" / "tiny-planner"
PROBLEMS = 20  # of each domain


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server with the shipped planner in float32."""
    if not PYTHON.exists():
        pytest.skip("needs .venv-vllm: make test-vllm")
    how = ("--dtype", "float32", "--enforce-eager")  # compiling takes longer than all the answers
    command = (PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", MODEL, *how)
    gib_of_cache = {"VLLM_CPU_KVCACHE_SPACE": "1"}
    with serving(command, tmp_path_factory.mktemp("vllm") / "server.log", gib_of_cache) as base_url:
        yield base_url


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
