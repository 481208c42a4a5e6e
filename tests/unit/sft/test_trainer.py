"""The warm start: which tokens carry loss, what order rows come in, what is refused, and that it learns and resumes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import numpy as np  # noqa: E402

from grpo_project.errors import ConfigError, DataError, RunExists  # noqa: E402
from grpo_project.models.depth_upscaling import with_more_layers  # noqa: E402
from grpo_project.models.tokenizer import build_planner_tokenizer  # noqa: E402
from grpo_project.prompting import render_chat  # noqa: E402
from grpo_project.sft import examples  # noqa: E402
from grpo_project.sft import trainer as sft  # noqa: E402

PROMPT = "blocksworld b1 b2 +on b1 b2 +on-table b2 !on b2 b1"
PLAN = "(unstack b1 b2)\n(putdown b1)\n(pickup b2)\n(stack b2 b1)\n"


def sft_row(prompt: str = PROMPT, response: str = PLAN, **meta: Any) -> dict[str, Any]:
    names = {"scenario": "blocksworld", "problem_file": "bw_ops4_n2_seed1.pddl", "prompt_style": "compact"}
    return {"prompt": prompt, "response": response, "meta": {**names, **meta}}


@pytest.fixture
def root(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows (or lines of text) as a data root."""

    def write(*rows: Any) -> Path:
        (tmp_path / "data").mkdir(exist_ok=True)
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / "data" / "blocksworld.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / "data"

    return write


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_planner_tokenizer()


def test_loss_is_on_the_plan_and_its_end_and_on_nothing_else(root: Callable[..., Path], tokenizer: Any) -> None:
    dataset = examples.read_examples([str(root(sft_row(), sft_row(PROMPT + " !clear b2", PLAN * 2)))], tokenizer, "compact")
    batch = examples.collate([dataset[0], dataset[1]], tokenizer.pad_token_id)
    assert {tensor.shape for tensor in batch.values()} == {(2, 48)}  # 48 tokens: a multiple of 8
    for index, (prompt, plan) in enumerate([(PROMPT, PLAN), (PROMPT + " !clear b2", PLAN * 2)]):
        ids, labels, mask = (batch[name][index] for name in ("input_ids", "labels", "attention_mask"))
        assert tokenizer.decode(ids[mask == 1]) == render_chat(tokenizer, prompt, plan)
        assert tokenizer.decode(labels[labels != examples.IGNORED_LABEL]) == plan + "<eos>"
        assert bool((ids[mask == 0] == tokenizer.pad_token_id).all())
        assert bool((labels[mask == 0] == examples.IGNORED_LABEL).all())


def test_the_sum_of_the_loss_is_that_of_the_plan_alone(tokenizer: Any, root: Callable[..., Path]) -> None:
    """A padded batch through the model gives what the rows give one by one, by hand."""
    model = sft.new_planner(sft.SftConfig((), "", hidden_size=32, layers=2, heads=4, intermediate_size=64), tokenizer)
    dataset = examples.read_examples([str(root(sft_row(), sft_row(response=PLAN * 3)))], tokenizer, "compact")
    batch = examples.collate([dataset[0], dataset[1]], tokenizer.pad_token_id)
    by_hand, counted = 0.0, 0
    with torch.no_grad():
        loss = float(model(**batch).loss)
        for index in range(2):
            ids = torch.tensor(dataset[index]["input_ids"], dtype=torch.long)
            start = int(dataset.starts[index])
            log_probs = model(input_ids=ids[None]).logits[0].log_softmax(-1)
            by_hand -= float(log_probs[start - 1 : -1].gather(1, ids[start:, None]).sum())
            counted += len(ids) - start
    assert counted == 14 + 1 + 3 * 14 + 1
    assert loss == pytest.approx(by_hand / counted, rel=1e-5)


def test_a_row_in_another_style_is_rendered_again(make_data_root: Callable[..., Path], tokenizer: Any) -> None:
    folder = make_data_root(domains=("ferry",), count=3)
    rows = [json.loads(line) for line in (folder / "ferry.jsonl").read_text().splitlines()]
    text = "\n".join(json.dumps({**row, "response": "(sail l0 l1)\n"}) for row in rows)
    (folder / "ferry.jsonl").write_text(text, encoding="utf-8")
    dataset = examples.read_examples([str(folder)], tokenizer, "compact")
    assert len(dataset) == 3
    assert tokenizer.decode(dataset[0]["input_ids"]).startswith("<|user|>ferry l0 l1 ")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([sft_row(), "{broken"], r"blocksworld\.jsonl:2: not a line of JSON"),
        (
            [sft_row(), sft_row(), {"prompt": PROMPT, "meta": {}}],
            r"blocksworld\.jsonl:3: a row for a warm start has prompt, response",
        ),
        (["[1, 2]"], r"blocksworld\.jsonl:1: a row for a warm start"),
        ([sft_row(response="")], r"blocksworld\.jsonl:1: .*the response not empty"),
        (
            [sft_row(), sft_row(response=PLAN * 30)],
            r"blocksworld\.jsonl:2: \d+ tokens in all, 13 of the prompt; the model reads 128",
        ),
        ([sft_row(prompt_style="full")], r"bw_ops4_n2_seed1\.pddl"),
    ],
)
def test_a_bad_row_is_named(root: Callable[..., Path], tokenizer: Any, rows: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        examples.read_examples([str(root(*rows))], tokenizer, "compact", longest=128)


def test_line_numbers_count_on_over_blocks(root: Callable[..., Path], tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "READ_AT_ONCE", 2)
    assert len(examples.read_examples([str(root(*[sft_row()] * 5))], tokenizer, "compact")) == 5
    with pytest.raises(DataError, match=r"jsonl:4: .* the model reads 64"):
        examples.read_examples([str(root(*[sft_row()] * 3, sft_row(response=PLAN * 9)))], tokenizer, "compact", longest=64)


def test_an_empty_folder_is_no_data(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"holds no \*\.jsonl file"):
        examples.read_examples([str(tmp_path)], tokenizer, "compact")


def test_the_order_holds_every_row_once_and_batches_of_about_one_length() -> None:
    lengths = np.random.default_rng(3).integers(20, 200, size=5003)
    order = examples.LengthGroupedOrder(lengths, batch_size=16, seed=5)
    first = list(order)
    assert sorted(first) == list(range(5003)) and len(order) == 5003
    batches = [lengths[first[start : start + 16]] for start in range(0, 5003, 16)]
    padding = sum(int(len(batch) * batch.max() - batch.sum()) for batch in batches) / int(lengths.sum())
    assert padding < 0.03  # in random order a good half would be padding
    longest = [int(batch.max()) for batch in batches[:50]]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)
    order.set_epoch(1)
    second = list(order)
    assert second != first and sorted(second) == sorted(first)
    again = examples.LengthGroupedOrder(lengths, batch_size=16, seed=5)
    again.set_epoch(1)
    assert list(again) == second


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 5}, "--hidden_size 128 must be an even multiple of --heads 5"),
        ({"batch_size": 0}, "--batch_size must be at least 1"),
        ({"learning_rate": float("nan")}, "--learning_rate must be above 0"),
        ({"max_steps": 0}, "--max_steps must be at least 1"),
        ({"eval_every": 5}, "add --eval_data"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sft.SftConfig(("data",), "out", **settings)


def test_a_torn_checkpoint_does_not_count(tmp_path: Path) -> None:
    for step, whole in ((5, True), (10, True), (20, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert sft.newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert sft.newest_checkpoint(tmp_path / "checkpoint-5") is None


def test_a_folder_in_use_and_a_missing_checkpoint_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunExists, match="is not empty"):
        sft.train_sft(sft.SftConfig(("data",), str(tmp_path)))
    with pytest.raises(ConfigError, match="no whole checkpoint"):
        sft.train_sft(sft.SftConfig(("data",), str(tmp_path), resume_from_checkpoint=str(tmp_path / "checkpoint-7")))


def script(repository: Path) -> Any:
    spec = importlib.util.spec_from_file_location("train_sft_script", repository / "script" / "train_sft.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_says_help_without_torch(repository: Path) -> None:
    code = "import runpy, sys; sys.argv = ['train_sft.py', '--help']\n"
    code += "try: runpy.run_path('script/train_sft.py', run_name='__main__')\n"
    code += "finally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--resume_from_checkpoint" in done.stdout and done.stdout.endswith("False\n")


def test_the_script_turns_an_error_into_one_line(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    assert script(repository).main(["--data_root", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/data holds no *.jsonl file")


TINY = dict(
    hidden_size=32, layers=2, heads=4, intermediate_size=64, batch_size=4, warmup_steps=2, logging_steps=5, learning_rate=1e-2
)


def ferry_rows(count: int) -> list[dict[str, Any]]:
    """Distinct one-car problems with their plans."""
    rows = []
    for index in range(count):
        start, goal, ferry = index % 4, (index + 1 + index // 4 % 3) % 4, (index * 3 + 1) % 4
        prompt = f"ferry l0 l1 l2 l3 c0 +at c0 l{start} +at-ferry l{ferry} !at c0 l{goal}"
        sail = "" if ferry == start else f"(sail l{ferry} l{start})\n"
        plan = f"{sail}(board c0 l{start})\n(sail l{start} l{goal})\n(debark c0 l{goal})\n"
        rows.append(sft_row(prompt, plan, scenario="ferry", index=index))
    return rows


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(str(folder / "model.safetensors"))
    return found


@pytest.mark.slow
def test_a_short_warm_start_learns_and_leaves_a_usable_folder(root: Callable[..., Path], tmp_path: Path, data_root: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from grpo_project.models.generation import complete_greedy
    from grpo_project.models.loading import load_policy

    rows = ferry_rows(16)
    evaluation = {"eval_data": str(data_root), "eval_every": 100, "eval_samples": 2}
    config = sft.SftConfig((str(root(*rows)),), str(tmp_path / "out"), max_steps=200, **evaluation, **TINY)
    assert sft.train_sft(config) == 0
    folder = tmp_path / "out" / "model"
    record = json.loads((folder / "training_record.json").read_text())
    assert (record["rows"], record["steps"], record["resumed_at_step"]) == (16, 200, None)
    assert record["tokens"] > 16 * 30 and record["tokens_per_second"] > 0
    assert record["losses"][0]["loss"] > 2 > 0.5 > record["final_loss"]
    assert [entry["step"] for entry in record["held_out"]] == [100, 200]
    assert set(record["held_out"][0]["greedy_success"]) == {"blocksworld", "ferry", "grippers", "spanner"}
    assert str(tmp_path) not in json.dumps(record)
    assert load_policy(str(folder)).prompt_style == "compact"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    answers = complete_greedy(model, tokenizer, [row["prompt"] for row in rows], 40)
    assert sum(answer == row["response"] for answer, row in zip(answers, rows, strict=True)) >= 14


@pytest.mark.slow
def test_a_stopped_warm_start_resumes_to_the_same_weights(root: Callable[..., Path], tmp_path: Path) -> None:
    data = str(root(*ferry_rows(22)))  # 6 steps an epoch, the last of them short
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    settings: dict[str, Any] = {"data_roots": (data,), "epochs": 3, "save_steps": 8, **TINY}
    sft.train_sft(sft.SftConfig(output_dir=str(straight), **settings))
    stopped.mkdir()
    (straight / "checkpoint-16").rename(stopped / "checkpoint-16")  # in the middle of the third epoch
    sft.train_sft(sft.SftConfig(output_dir=str(stopped), resume_from_checkpoint="auto", **settings))
    first, second = weights(straight / "model"), weights(stopped / "model")
    assert first.keys() == second.keys() and len(first) > 10
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert json.loads((stopped / "model" / "training_record.json").read_text())["resumed_at_step"] == 16


@pytest.mark.parametrize("count", [1, 2, 5])
def test_added_layers_change_nothing_at_first_and_then_learn(count: int) -> None:
    torch.manual_seed(3)
    config = sft.SftConfig(data_roots=("x",), output_dir="x", hidden_size=16, layers=3, heads=2, intermediate_size=24)
    model = sft.new_planner(config, build_planner_tokenizer())
    model.config.use_cache = False  # as a model is that was loaded for training
    deeper = with_more_layers(model, count)
    assert deeper.generation_config.to_dict() == model.generation_config.to_dict()
    assert deeper.config.num_hidden_layers == len(deeper.model.layers) == 3 + count
    ids = torch.randint(5, 100, (2, 9))
    assert torch.equal(deeper(ids).logits, model(ids).logits)
    assert deeper.lm_head.weight is deeper.model.embed_tokens.weight
    deeper(ids, labels=ids).loss.backward()
    silent = [layer for layer in deeper.model.layers if not layer.mlp.down_proj.weight.any()]
    assert len(silent) == count
    assert all(layer.mlp.down_proj.weight.grad.any() and layer.self_attn.o_proj.weight.grad.any() for layer in silent)


def test_layers_are_added_to_a_model_that_is_there_and_built_like_a_llama() -> None:
    with pytest.raises(ConfigError, match="--base_model"):
        sft.SftConfig(data_roots=("x",), output_dir="x", add_layers=2)
    with pytest.raises(ConfigError, match="not a Linear"):
        with_more_layers(torch.nn.Linear(2, 2), 1)


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no_such_compiler")
    with pytest.raises(ConfigError, match="C\\+\\+ compiler"):
        sft.SftConfig(data_roots=("x",), output_dir="x", compile=True)
