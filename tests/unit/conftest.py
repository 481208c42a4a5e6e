"""Small data roots and a random planner, real in every part: written by our own generators, renderers and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

FOUR_DOMAINS = ("blocksworld", "ferry", "grippers", "spanner")


def write_data_root(folder: Path, domains: tuple[str, ...] = FOUR_DOMAINS, count: int = 12, seed: str = "train") -> Path:
    """`count` generated problems per domain, inline, without constraints; the same for the same seed."""
    from grpo_project.core.random_streams import stream
    from grpo_project.domains import get_domain
    from grpo_project.pddl import render_problem

    folder.mkdir(parents=True, exist_ok=True)
    for name in domains:
        domain = get_domain(name)
        lines = []
        for index in range(count):
            rng = stream("tests", seed, name, index)
            parameters = domain.draw_parameters(rng, domain.sizes["train"])
            problem = domain.generate(rng, parameters, False)
            meta = {
                "scenario": name,
                "problem_file": domain.file_name(parameters, index),
                "problem_pddl": render_problem(problem),
            }
            lines.append(json.dumps({"prompt": f"Solve this {name} problem.", "meta": meta}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_tiny_planner(folder: Path, seed: int = 0, **grpo_defaults: object) -> Path:
    """A random Llama of two layers with the planner's own tokenizer, saved as a model folder of ours."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from grpo_project.training.tokenizer import build_planner_tokenizer

    tokenizer = build_planner_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "planner.json").write_text(json.dumps({"prompt_style": "compact", "grpo_defaults": grpo_defaults}))
    return folder


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four domains, 12 problems each."""
    return write_data_root(tmp_path_factory.mktemp("data") / "train")


@pytest.fixture(scope="session")
def test_data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four domains, 4 other problems each."""
    return write_data_root(tmp_path_factory.mktemp("data") / "test", count=4, seed="test")


@pytest.fixture(scope="session")
def tiny_planner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of ours with random weights."""
    return write_tiny_planner(tmp_path_factory.mktemp("model") / "tiny-planner")


@pytest.fixture
def make_data_root(tmp_path: Path) -> Callable[..., Path]:
    """write_data_root into this test's own folder."""
    return lambda name="data", **how: write_data_root(tmp_path / name, **how)
