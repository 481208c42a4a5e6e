"""A clean environment for every test, and the shared builders: a tiny tokenizer and a tiny random model."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
CLEARED = ("WANDB_", "HF_", "CUDA_", "TRANSFORMERS_", "GRPO_")
FIXED = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRACKIO_DIR": str(Path(tempfile.gettempdir()) / f"trackio-tests-{os.getuid()}"),
}


def _clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
    return kept | FIXED


# Before any test module is imported: Hugging Face reads its variables once, at import.
_GPU_NAMES = {name: value for name, value in os.environ.items() if name.startswith("CUDA_")}
for _name in set(os.environ) - set(_clean_environment()):
    del os.environ[_name]
os.environ.update(FIXED)
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))
# Random PDDL cases are fresh in every run; a failure is repeated with the seed that was printed. Not a fixture, since the workers
# of pytest-xdist must inherit it.
os.environ.setdefault("PDDL_CASE_SEED", str(secrets.randbelow(10**6)))


def pytest_report_header() -> str:
    return f"random PDDL cases: PDDL_CASE_SEED={os.environ['PDDL_CASE_SEED']}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """pytest-xdist sends reports as UTF-8, and what tests of hostile input log may hold half of a surrogate pair."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode("utf-8")) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracker, no hub, no device chosen from outside. A test marked `gpu` gets its device variables back."""
    clean = _clean_environment()
    for name in set(os.environ) - set(clean):
        monkeypatch.delenv(name)
    for name, value in FIXED.items():
        monkeypatch.setenv(name, value)
    if request.node.get_closest_marker("gpu"):
        for name, value in _GPU_NAMES.items():
            monkeypatch.setenv(name, value)
    if "torch" in sys.modules:
        # As many threads as this process may use: one per worker under pytest-xdist, where more would only wait.
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        sys.modules["torch"].set_num_threads(max(1, len(os.sched_getaffinity(0)) // workers))


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


TINY_WORDS = [f"w{number}" for number in range(40)]


def build_tiny_tokenizer() -> Any:
    """A word-level tokenizer over TINY_WORDS with a chat template of two turns; `<pad>` 0, `<eos>` 1, `<unk>` 2."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", "<user>", "<plan>", *TINY_WORDS]
    backend = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<plan>"],
        padding_side="left",
    )
    tokenizer.chat_template = (
        "{% for message in messages %}{{ '<user> ' if message['role'] == 'user' else '<plan> ' }}{{ message['content'] }} "
        "{% endfor %}{% if add_generation_prompt %}<plan>{% endif %}"
    )
    return tokenizer


def build_tiny_model(vocabulary_size: int, seed: int = 0) -> Any:
    """A random Llama of two layers on the CPU in evaluation mode; the same weights for the same seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        initializer_range=0.5,  # wide enough that the next token depends on what was read
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    return build_tiny_tokenizer()


@pytest.fixture
def tiny_model(tiny_tokenizer: Any) -> Any:
    return build_tiny_model(len(tiny_tokenizer))
