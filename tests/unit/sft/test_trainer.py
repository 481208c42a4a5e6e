"""The warm start: which tokens carry loss, what order rows come in, what is refused, and that it learns and goes on exactly."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import numpy as np  # noqa: E402

from grpo_project.configs.setting import FIXED, flag_of_field, nature_of  # noqa: E402
from grpo_project.errors import ConfigError, DataError, RunExists  # noqa: E402
from grpo_project.models.depth_upscaling import with_more_layers  # noqa: E402
from grpo_project.models.tokenizer import build_planner_tokenizer  # noqa: E402
from grpo_project.prompting import render_chat  # noqa: E402
from grpo_project.runs import checkpoint, run_folder  # noqa: E402
from grpo_project.sft import examples  # noqa: E402
from grpo_project.sft import run as sft  # noqa: E402
from grpo_project.sft.config import SftConfig, resolve_settings  # noqa: E402

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
    assert dataset.repeats == 0
    batch = examples.collate([dataset[0], dataset[1]], tokenizer.pad_token_id)
    assert {tensor.shape for tensor in batch.values()} == {(2, 48)}  # 48 tokens: a multiple of 8
    for index, (prompt, plan) in enumerate([(PROMPT, PLAN), (PROMPT + " !clear b2", PLAN * 2)]):
        ids, labels, mask = (batch[name][index] for name in ("input_ids", "labels", "attention_mask"))
        assert tokenizer.decode(ids[mask == 1]) == render_chat(tokenizer, prompt, plan)
        assert tokenizer.decode(labels[labels != examples.IGNORED_LABEL]) == plan + "<eos>"
        assert bool((ids[mask == 0] == tokenizer.pad_token_id).all())
        assert bool((labels[mask == 0] == examples.IGNORED_LABEL).all())


def test_a_word_outside_of_the_vocabulary_is_named_but_a_sign_of_the_end_is_none(root: Callable[..., Path]) -> None:
    tokenizer = build_planner_tokenizer()
    odd = root(sft_row(response="(pickup bø)\n"))
    with pytest.raises(DataError, match=r"blocksworld.jsonl:1: the model's vocabulary lacks 'bø\)' of the response.$"):
        examples.read_examples([str(odd)], tokenizer, "compact")
    tokenizer.unk_token = tokenizer.eos_token  # as in tokenizers of the GPT-2 family
    assert len(examples.read_examples([str(root(sft_row()))], tokenizer, "compact")) == 1


@pytest.mark.parametrize("written", ["1: ({})\n2: (STACK B1 B2)\n", "({})\n(stack b1 b2)\n; cost = 2 (unit cost)\n"])
def test_a_plan_that_another_tool_wrote_is_learned_as_we_write_plans(
    root: Callable[..., Path], tokenizer: Any, written: str
) -> None:
    row = sft_row(response=written.format("PICKUP B1"))
    dataset = examples.read_examples([str(root(row))], tokenizer, "compact")
    learned = dataset[0]["labels"][dataset[0]["labels"] != examples.IGNORED_LABEL]
    assert tokenizer.decode(learned) == "(pickup b1)\n(stack b1 b2)\n<eos>"


def test_the_sum_of_the_loss_is_that_of_the_plan_alone(tokenizer: Any, root: Callable[..., Path]) -> None:
    """A padded batch through the model gives what the rows give one by one, by hand."""
    size = {"hidden_size": 32, "layers": 2, "heads": 4, "intermediate_size": 64}
    model = sft.new_planner(SftConfig(data_roots=("x",), output_dir="x", **size), tokenizer)
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
    assert tokenizer.decode(dataset[0]["input_ids"]).startswith("<|user|>ferry +empty-ferry l0 +location ")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([sft_row(), "{broken"], r"blocksworld\.jsonl:2: broken JSON at column 2"),
        ([sft_row(), sft_row(), {"prompt": PROMPT, "meta": {}}], r"blocksworld\.jsonl:3: field meta\.scenario is missing"),
        ([sft_row(), {**sft_row(), "response": 3}], r"blocksworld\.jsonl:2: response must be text, found a number"),
        ([sft_row(), "[1, 2]"], r"blocksworld\.jsonl:2: a JSON object was expected, found a list"),
        (["[1, 2]"], r"blocksworld\.jsonl is one JSON array, not one object a line"),
        ([sft_row(response="")], r"blocksworld\.jsonl:1: no response"),
        ([sft_row(), {**sft_row(), "response": None}], r"blocksworld\.jsonl:2: no response"),
        (
            [sft_row(scenario="chess")],
            r"blocksworld\.jsonl:1: meta\.scenario is 'chess', no known domain's name: give .*\. Repair",
        ),
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
    five = examples.read_examples([str(root(*[sft_row()] * 5))], tokenizer, "compact")
    assert (len(five), five.repeats) == (5, 4)
    with pytest.raises(DataError, match=r"jsonl:4: .* the model reads 64"):
        examples.read_examples([str(root(*[sft_row()] * 3, sft_row(response=PLAN * 9)))], tokenizer, "compact", longest=64)


def test_an_empty_folder_or_file_is_no_data(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"holds no \.jsonl file"):
        examples.read_examples([str(tmp_path)], tokenizer, "compact")
    (tmp_path / "ferry.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"ferry\.jsonl: the file is empty"):
        examples.read_examples([str(tmp_path)], tokenizer, "compact")


def test_rows_are_read_as_everywhere_with_bom_blank_lines_and_other_line_ends(root: Callable[..., Path], tokenizer: Any) -> None:
    exotic = json.dumps({**sft_row(), "class_label": "one\u2028line"}, ensure_ascii=False)
    folder = root("\ufeff" + json.dumps(sft_row()), "", exotic, "  ", json.dumps(sft_row()) + "\r")
    assert len(examples.read_examples([str(folder)], tokenizer, "compact")) == 3


def test_a_row_without_a_prompt_gets_the_style_of_the_model(make_data_root: Callable[..., Path], tokenizer: Any) -> None:
    folder = make_data_root(domains=("ferry",), count=1)
    row = json.loads((folder / "ferry.jsonl").read_text())
    del row["prompt"]
    row = {**row, "response": "(sail l0 l1)\n", "meta": {**row["meta"], "prompt_style": "compact"}}
    (folder / "ferry.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    dataset = examples.read_examples([str(folder)], tokenizer, "compact")
    assert tokenizer.decode(dataset[0]["input_ids"]).startswith("<|user|>ferry +empty-ferry l0 +location ")


def test_the_fingerprint_of_the_examples_is_of_all_that_is_learned() -> None:
    def fingerprint(*rows: tuple[list[int], int]) -> str:
        return examples.PlanDataset(iter(rows)).fingerprint

    known = {
        fingerprint(([1, 2, 3], 1), ([4, 5], 1)),
        fingerprint(([1, 2, 3], 2), ([4, 5], 1)),
        fingerprint(([1, 2], 1), ([3, 4, 5], 1)),
        fingerprint(([4, 5], 1), ([1, 2, 3], 1)),
        fingerprint(([1, 2, 3], 1)),
    }
    assert len(known) == 5 and fingerprint(([1, 2, 3], 1), ([4, 5], 1)) in known


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
        ({"eval_samples": 0}, "--eval_samples must be at least 1"),
        ({"optimizer": "sgd"}, "--optimizer must be one of muon, adamw"),
        ({"data_roots": ()}, "--data_root and --output_dir must be given"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SftConfig(**{"data_roots": ("data",), "output_dir": "out", **settings})


def start(**given: Any) -> int:
    """As the script does it, with these flags."""
    return sft.train_sft(resolve_settings(given))


def test_a_folder_in_use_and_a_missing_checkpoint_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for asked in (None, "auto"):
        with pytest.raises(RunExists, match="is not empty and not a run of ours"):
            start(data_roots=["data"], output_dir=str(tmp_path), resume_from_checkpoint=asked)
    with pytest.raises(ConfigError, match="checkpoint-7: no such folder"):
        start(data_roots=["data"], output_dir=str(tmp_path), resume_from_checkpoint=str(tmp_path / "checkpoint-7"))


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
    assert capsys.readouterr().err.startswith(f"error: data root {tmp_path}/data holds no .jsonl file")


def test_every_setting_is_a_flag_of_the_script_and_leaves_no_trace_where_it_is_not_given(repository: Path) -> None:
    parser = script(repository).build_parser()
    assert vars(parser.parse_args([])) == {}
    for spec in fields(SftConfig):
        text = {"bool": [], "str": [*nature_of(spec).choices, "x"][:1]}.get(str(spec.type).removesuffix(" | None"), ["3"])
        assert list(vars(parser.parse_args([flag_of_field(spec), *text]))) == [spec.name]
    assert vars(parser.parse_args(["--from_scratch"])) == {"base_model": None}
    with pytest.raises(SystemExit):
        parser.parse_args(["--from_scratch", "--base_model", "x"])


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
    assert start(data_roots=[str(root(*rows))], output_dir=str(tmp_path / "out"), max_steps=200, **evaluation, **TINY) == 0
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


# -- stopped and continued ------------------------------------------------------------------------------------------------

STEPS = 18  # three epochs of 22 rows in batches of 4, the last of each short; checkpoints after 8, 16 and 18


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warm start that nobody stopped, with its rows in data/ beside it."""
    folder = tmp_path_factory.mktemp("straight")
    (folder / "data").mkdir()
    (folder / "data" / "ferry.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ferry_rows(22)), encoding="utf-8")
    assert start(**stopping(folder), output_dir=str(folder / "out")) == 0
    return folder / "out"


def stopping(folder: Path, **others: Any) -> dict[str, Any]:
    return {"data_roots": [str(folder / "data")], "epochs": 3.0, "save_steps": 8, **TINY, **others}


@pytest.fixture
def killed(straight: Path, tmp_path: Path) -> Path:
    """The same one as if killed -9 after step 16, in the middle of the third epoch: no model, and an unfinished checkpoint-18."""
    out = tmp_path / "killed"
    shutil.copytree(straight, out)
    shutil.rmtree(out / "model")
    (out / ".checkpoint-18.partial").mkdir()
    (out / "checkpoint-18").rename(out / ".checkpoint-18.partial" / "checkpoint-18")
    return out


def same_weights(first: Path, second: Path) -> bool:
    one, other = weights(first / "model"), weights(second / "model")
    assert one.keys() == other.keys() and len(one) > 10
    return all(torch.equal(one[name], other[name]) for name in one)


def record_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "model" / "training_record.json").read_text())
    return found


def test_a_killed_warm_start_goes_on_to_the_same_weights(straight: Path, killed: Path) -> None:
    assert start(output_dir=str(killed), resume_from_checkpoint="auto") == 0
    assert same_weights(straight, killed)
    record = record_of(killed)
    assert (record["resumed_at_step"], record["steps"]) == (16, STEPS)
    assert record["config"]["resume_from_checkpoint"] == "checkpoint-16"
    assert [point["step"] for point in record["losses"]] == [point["step"] for point in record_of(straight)["losses"]]
    assert not (killed / ".checkpoint-18.partial").exists() and (killed / "resumed_at_16.json").exists()


def test_a_torn_newest_checkpoint_is_passed_over_for_the_one_before(
    straight: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    shutil.copytree(straight, out)
    torn = out / "checkpoint-18" / "optimizer.pt"
    torn.write_bytes(torn.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        assert start(output_dir=str(out), resume_from_checkpoint="auto") == 0
    assert "passed over" in caplog.text and "checkpoint-18: optimizer.pt is cut off" in caplog.text
    assert record_of(out)["resumed_at_step"] == 16 and same_weights(straight, out)


def test_a_finished_warm_start_takes_no_step_more(straight: Path, tmp_path: Path) -> None:
    """With 13 steps of 6 an epoch; Trainer alone would take a 14th."""
    out = tmp_path / "out"
    given = stopping(straight.parent, max_steps=13, output_dir=str(out))
    start(**given)
    before = weights(out / "model")
    shutil.rmtree(out / "model")
    start(**given, resume_from_checkpoint="auto")
    assert record_of(out)["steps"] == 13 and record_of(out)["final_loss"] is not None
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(out / "model").items())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_step_finish_and_writes_a_checkpoint(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def signalled(self: Any, step: int, control: Any) -> None:
        if step == 5:
            os.kill(os.getpid(), number)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(sft.HeldOutSuccess, "step_ended", signalled)
        assert start(**stopping(straight.parent), output_dir=str(out)) == 128 + number
    assert [step for step, _ in run_folder.checkpoints(out)] == [5] and not (out / "model").exists()
    said = capsys.readouterr().err
    assert "Stopping after this step" in said and f"--output_dir {out} --resume_from_checkpoint auto" in said
    assert start(output_dir=str(out), resume_from_checkpoint="auto") == 0
    assert same_weights(straight, out)


def test_a_full_disk_costs_one_checkpoint(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full_at_16(run: Path, step: int, commit: Any = checkpoint.commit) -> Any:
        if step == 16:
            raise OSError(28, "No space left on device")
        return commit(run, step)

    monkeypatch.setattr(checkpoint, "commit", full_at_16)
    out = tmp_path / "out"
    assert start(**stopping(straight.parent), output_dir=str(out)) == 0
    assert "checkpoint of step 16 could not be written" in caplog.text
    assert [step for step, _ in run_folder.checkpoints(out)] == [8, 18] and same_weights(straight, out)


@pytest.mark.parametrize("name", [spec.name for spec in fields(SftConfig) if nature_of(spec).on_resume is FIXED])
def test_a_continued_warm_start_keeps_what_makes_it_the_same(killed: Path, name: str) -> None:
    spec = SftConfig.__dataclass_fields__[name]
    now = getattr(resolve_settings({"output_dir": str(killed), "resume_from_checkpoint": "auto"}), name)
    others = {"optimizer": "adamw", "backend": "transformers", "system_prompt": "Plan.", "enable_thinking": True}
    others |= {"chat_template_kwargs": "{}", "lora_alpha": 8, "prompt_style": "schemas"}
    other = not now if isinstance(now, bool) else others[name] if name in others else now + 2
    with pytest.raises(
        ConfigError, match=f"^{flag_of_field(spec)} is {other}, but the run being continued has {now}: leave it out"
    ):
        start(output_dir=str(killed), resume_from_checkpoint="auto", **{name: other})


def test_a_setting_that_the_checkpoint_lacks_is_named(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that a later version brought: it cannot be compared with the value that is given now."""
    read = checkpoint.read_run_state

    def older(folder: Path) -> dict[str, Any]:
        state = read(folder)
        return {**state, "settings": {name: value for name, value in state["settings"].items() if name != "learning_rate"}}

    monkeypatch.setattr(checkpoint, "read_run_state", older)
    with pytest.raises(ConfigError, match="has no learning_rate among its settings"):
        resolve_settings({"output_dir": str(killed), "resume_from_checkpoint": "auto", "learning_rate": 0.5})


def test_what_steps_depend_on_is_fixed() -> None:
    free = {spec.name for spec in fields(SftConfig) if nature_of(spec).on_resume is not FIXED}
    assert free == {
        *("data_roots", "problem_root", "base_model"),  # their content is held fast by fingerprints
        *("output_dir", "resume_from_checkpoint", "save_steps", "logging_steps", "eval_data", "eval_every", "eval_samples"),
        *("use_gradient_checkpointing", "trust_remote_code", "merge"),  # change memory, or what is written
        "max_seq_length",  # refuses rows; those that are learned from are held fast
    }


def test_the_same_rows_may_lie_elsewhere_and_others_are_refused_by_their_flag(
    straight: Path, killed: Path, tmp_path: Path
) -> None:
    going_on = {"output_dir": str(killed), "resume_from_checkpoint": "auto"}
    moved = tmp_path / "moved"
    shutil.copytree(straight.parent / "data", moved)
    with pytest.raises(ConfigError, match=r"the base model .--base_model. changed"):
        start(**going_on, base_model=str(straight / "model"))
    rows = (moved / "ferry.jsonl").read_text()
    (moved / "ferry.jsonl").write_text(rows.replace("(sail l0 l1)", "(sail l1 l0)", 1))
    with pytest.raises(ConfigError, match=r"the training data .--data_root. changed since .*checkpoint-16 was written"):
        start(**going_on, data_roots=[str(moved)])
    assert not (killed / "model").exists()
    (moved / "ferry.jsonl").write_text(rows)
    assert start(**going_on, data_roots=[str(moved)]) == 0
    assert same_weights(straight, killed)


def test_another_tokenizer_is_named_and_not_the_rows(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another() -> Any:
        tokenizer = build_planner_tokenizer()
        tokenizer.chat_template = tokenizer.chat_template.replace("<|user|>", "<|user|> ")
        return tokenizer

    monkeypatch.setattr("grpo_project.models.tokenizer.build_planner_tokenizer", another)
    with pytest.raises(ConfigError, match="the tokenizer changed since"):
        start(output_dir=str(killed), resume_from_checkpoint="auto")


def test_a_continued_warm_start_may_save_more_often_and_be_evaluated(straight: Path, killed: Path, data_root: Path) -> None:
    evaluation = {"eval_data": str(data_root), "eval_every": 17, "eval_samples": 1}
    start(output_dir=str(killed), resume_from_checkpoint="auto", save_steps=1, logging_steps=1, **evaluation)
    assert [step for step, _ in run_folder.checkpoints(killed)] == [17, 18]
    record = record_of(killed)
    assert [point["step"] for point in record["losses"]][-2:] == [17, 18]
    assert [entry["step"] for entry in record["held_out"]] == [17, 18] and same_weights(straight, killed)
    shutil.rmtree(killed / "model")
    start(output_dir=str(killed), resume_from_checkpoint=str(killed / "checkpoint-17"))
    assert [entry["step"] for entry in record_of(killed)["held_out"]] == [17, 18]


def test_two_processes_cannot_go_on_with_one_folder(killed: Path) -> None:
    with run_folder.hold(run_folder.reopen(killed)), pytest.raises(RunExists, match=f"in use by process {os.getpid()}"):
        start(output_dir=str(killed), resume_from_checkpoint="auto")
    with pytest.raises(RunExists, match="already holds a run with a checkpoint at step 16"):
        start(**stopping(killed), output_dir=str(killed))
    with pytest.raises(ConfigError, match="is not the folder of .*checkpoint-16, the run being continued"):
        start(output_dir=str(killed.parent), resume_from_checkpoint=str(killed / "checkpoint-16"))


def test_one_that_died_before_its_first_checkpoint_begins_again(straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_folder.create(out)
    given = stopping(straight.parent, output_dir=str(out))
    with pytest.raises(RunExists, match="already holds a run"):
        start(**given)
    assert start(**given, resume_from_checkpoint="auto") == 0
    assert record_of(out)["resumed_at_step"] is None and same_weights(straight, out)


# -- depth up-scaling and compiling -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_added_layers_change_nothing_at_first_and_then_learn(count: int) -> None:
    torch.manual_seed(3)
    config = SftConfig(data_roots=("x",), output_dir="x", hidden_size=16, layers=3, heads=2, intermediate_size=24)
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
        SftConfig(data_roots=("x",), output_dir="x", add_layers=2)
    with pytest.raises(ConfigError, match="not a Linear"):
        with_more_layers(torch.nn.Linear(2, 2), 1)


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no_such_compiler")
    with pytest.raises(ConfigError, match="C\\+\\+ compiler"):
        SftConfig(data_roots=("x",), output_dir="x", compile=True)


def test_positions_have_gaps_in_half_of_the_rows_and_rise_below_the_limit() -> None:
    rng = np.random.default_rng(3)
    rows = [rng.integers(0, 50, size=30).astype(np.int32) for _ in range(200)]
    found = [examples.positions_with_gaps(row, 100, 1) for row in rows]
    assert all((np.diff(positions) >= 1).all() and positions[0] == 0 and positions[-1] < 100 for positions in found)
    gaps = [positions for positions in found if positions[-1] > 29]
    assert 60 < len(gaps) < 110
    assert max(positions[-1] for positions in gaps) > 90
    assert all((np.diff(positions) > 1).sum() <= examples.MOST_GAPS for positions in gaps)
    assert [list(examples.positions_with_gaps(row, 100, 1)) for row in rows] == [list(positions) for positions in found]
    assert any(list(examples.positions_with_gaps(row, 100, 2)) != list(one) for row, one in zip(rows, found, strict=True))
    assert list(examples.positions_with_gaps(rows[0], 30, 1)) == list(range(30))


def test_a_batch_has_positions_only_where_they_have_gaps() -> None:
    rows = [{"input_ids": np.arange(n, dtype=np.int32), "labels": np.arange(n, dtype=np.int32)} for n in (5, 9)]
    assert "position_ids" not in examples.collate(rows, 0)
    positions = examples.collate(rows, 0, 64, 1)["position_ids"]
    assert positions.shape == (2, 16)
    for own, row in zip(positions, rows, strict=True):
        length = len(row["input_ids"])
        assert list(own[:length]) == list(examples.positions_with_gaps(row["input_ids"], 64, 1)) and not own[length:].any()
