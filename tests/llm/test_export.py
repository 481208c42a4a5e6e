"""A pretrained model that learned plans, as GGUF: converted for real, read back by transformers, run and served by llama.cpp."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served import compare, run_script, served_and_local

pytestmark = pytest.mark.llm

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    "What is the capital of France?",
    "Name three fruits that are red.",
    "A ferry carries a car from l0 to l1. What does it do first?",
    "Block a is on block b. How is b made clear?",
    "Write one sentence about robots.",
    "Is seven a prime number? Answer with a reason.",
]
COMPACT, FULL = 8, 2  # planning prompts of each style; a full one has 600 tokens and more
TOKENS = 32


@pytest.fixture(scope="module")
def base(made: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pretrained model, asked in compact prompts."""
    folder = tmp_path_factory.mktemp("base") / "smollm2"
    shutil.copytree(made[0], folder, copy_function=lambda source, target: Path(target).symlink_to(source))
    (folder / "planner.json").write_text('{"prompt_style": "compact"}')
    return folder


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root of small ferry problems with plans."""
    folder = tmp_path_factory.mktemp("problems") / "ferry"
    how = ("--domains", "ferry", "--sizes", "l=3-4,c=1", "--plans", "policy", "--allow_duplicates", "--constraints_share", 0)
    run_script("generate_data.py", *how, "--count", 64, "--seed", 5, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def exported(base: Path, problems: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(merged folder, f32 GGUF) of the base with an adapter that learned plans, by the scripts."""
    folder = tmp_path_factory.mktemp("exported")
    how = ("--lora_rank", 8, "--optimizer", "adamw", "--learning_rate", 2e-3, "--warmup_steps", 0, "--backend", "transformers")
    learned = ("--base_model", base, "--data_root", problems, "--output_dir", folder / "sft")
    run_script("train_sft.py", *learned, *how, "--batch_size", 4, "--max_steps", 12)
    paths = ("--model", folder / "sft" / "model", "--merged", folder / "merged", "--gguf", folder / "model.gguf")
    run_script("export_model.py", *paths, "--gguf_type", "f32", "--backend", "transformers")
    return folder / "merged", folder / "model.gguf"


@pytest.fixture(scope="module")
def llama_cpp(exported: tuple[Path, Path]) -> Iterator[str]:
    """The address of llama.cpp's own server, which has loaded the exported file in this process."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(exported[1])
    settings.n_ctx, settings.n_parallel, settings.verbosity = 2048, 1, 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)  # it stops when nothing holds it any more
    yield server.listening_address


def ask(address: str, path: str, **body: Any) -> list[int]:
    """The tokens in the server's answer."""
    request = urllib.request.Request(address + path, data=json.dumps(body).encode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as response:
        return list(json.load(response)["tokens"])


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
    assert [ours.encode(text) for text in TEXTS] == [theirs.encode(text) for text in TEXTS]


def planning_prompts(problems: Path) -> list[str]:
    from grpo_project.data.prompts import row_prompt
    from grpo_project.data.rows import read_rows

    rows = read_rows(problems).rows
    compact = [row_prompt(row, "compact") for row in rows[:COMPACT]]
    return compact + [row_prompt(row, "full") for row in rows[:FULL]]


def test_llama_cpp_answers_as_transformers_does(
    exported: tuple[Path, Path], problems: Path, llama_cpp: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Greedy tokens of both, from the same prompt tokens. Sums are added in another order, so one answer may part ways."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from grpo_project.prompting import render_chat

    merged, _ = exported
    tokenizer = AutoTokenizer.from_pretrained(merged)
    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    prompts = TEXTS + planning_prompts(problems)
    greedy = {"n_predict": TOKENS, "temperature": 0, "top_k": 1, "repeat_penalty": 1.0, "return_tokens": True}
    equal = 0
    for prompt in prompts:
        text = render_chat(tokenizer, prompt)
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ask(llama_cpp, "/tokenize", content=text, add_special=False, parse_special=True) == ids
        with torch.inference_mode():
            written = model.generate(torch.tensor([ids]), max_new_tokens=TOKENS, do_sample=False)[0, len(ids) :].tolist()
        found = ask(llama_cpp, "/completion", prompt=ids, **greedy)
        equal += found == written
    with capsys.disabled():
        print(f"\nllama.cpp and transformers: {equal} of {len(prompts)} greedy answers of up to {TOKENS} tokens are equal")
    assert equal >= len(prompts) - 1


def test_a_served_export_gets_the_verdicts_of_the_merged_model(
    exported: tuple[Path, Path], problems: Path, llama_cpp: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """script/evaluate.py asks llama.cpp's server, which applies the chat template by itself, and loads the merged model."""
    which = ("--data_root", problems, "--samples", 12, "--prompt_style", "compact", "--max_completion_length", 48)
    pairs = served_and_local(f"{llama_cpp}/v1", exported[0], tmp_path, *which)
    texts, verdicts, solved = compare(pairs)
    with capsys.disabled():
        print(f"\nllama.cpp's server: {verdicts} of {len(pairs)} verdicts and {texts} texts equal; {solved} solved")
    assert min(verdicts, texts) >= len(pairs) - 1 and solved > 0
