"""Adapters by SFT: trained alone, continued exactly, taken by GRPO as they are or merged; what does not fit is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from grpo_project.errors import ConfigError, DataError, ModelError  # noqa: E402
from grpo_project.models.loading import Policy, load_policy, plan_load, save_policy, with_adapter  # noqa: E402
from grpo_project.runs.states import RunStates  # noqa: E402
from grpo_project.sft.config import SftConfig, resolve_settings  # noqa: E402
from grpo_project.sft.examples import collate, read_examples  # noqa: E402
from grpo_project.sft.run import train_sft  # noqa: E402
from tests.unit.conftest import write_tiny_planner  # noqa: E402
from tests.unit.sft.test_trainer import ferry_rows  # noqa: E402

RANK = 4


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "ferry.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ferry_rows(22)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def given(tiny_planner: Path, demonstrations: Path) -> dict[str, Any]:
    """Six steps of two batches of four rows, two epochs and more."""
    return {
        "base_model": str(tiny_planner),
        "data_roots": [str(demonstrations)],
        "lora_rank": RANK,
        "batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 6,
        "save_steps": 2,
        "logging_steps": 1,
        "warmup_steps": 0,
        "learning_rate": 1e-2,
    }


@pytest.fixture(scope="module")
def trained(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapters") / "out"
    assert train_sft(resolve_settings({**given, "output_dir": str(out), "merge": True})) == 0
    return out


def tensors(file: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(file)


def test_adapters_are_trained_and_saved_with_their_base_named(trained: Path, tiny_planner: Path) -> None:
    model = trained / "model"
    described = json.loads((model / "adapter_config.json").read_text())
    assert (described["r"], described["base_model_name_or_path"]) == (RANK, str(tiny_planner))
    assert not (model / "model.safetensors").exists()
    assert all("lora_" in name for name in tensors(model / "adapter_model.safetensors"))
    record = json.loads((model / "training_record.json").read_text())
    assert (record["config"]["optimizer"], record["config"]["learning_rate"], record["config"]["lora_rank"]) == (
        "adamw",
        1e-2,
        RANK,
    )
    assert [point["step"] for point in record["losses"]] == [1, 2, 3, 4, 5, 6]
    assert record["losses"][-1]["loss"] < record["losses"][0]["loss"] - 0.5


def test_killed_adapters_go_on_to_the_same_weights(trained: Path, tmp_path: Path) -> None:
    """As if killed -9 after step 4, in the second epoch."""
    out = tmp_path / "killed"
    shutil.copytree(trained, out, ignore=shutil.ignore_patterns("checkpoint-6", "model", "merged"))
    assert train_sft(resolve_settings({"output_dir": str(out), "resume_from_checkpoint": "auto"})) == 0
    file = Path("model") / "adapter_model.safetensors"
    ours, theirs = tensors(out / file), tensors(trained / file)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_merged_model_answers_as_base_and_adapters_do(trained: Path, tiny_planner: Path) -> None:
    ids = torch.arange(4, 20)[None]
    with torch.no_grad():
        base, adapted, merged = (
            load_policy(str(folder)).model(ids).logits for folder in (tiny_planner, trained / "model", trained / "merged")
        )
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)
    assert (merged - base).abs().max() > 0.1
    assert load_policy(str(trained / "merged")).prompt_style == "compact"


@pytest.mark.slow
@pytest.mark.parametrize(("start", "rank"), [("model", None), ("merged", 2)])
def test_grpo_takes_the_result(trained: Path, data_root: Path, tmp_path: Path, start: str, rank: int | None) -> None:
    """Adapters go on being trained, with their own rank; a merged model gets new ones."""
    from grpo_project.configs.training import TrainingConfig
    from grpo_project.training.run import train

    config = TrainingConfig(
        base_model=str(trained / start),
        data_root=str(data_root),
        output_dir=str(tmp_path / "run"),
        lora_rank=rank,
        batch_size=4,
        num_generations=2,
        max_steps=1,
        max_completion_length=8,
        eval_samples=0,
        beta=0.1,
        on_anomaly="warn",
        report_to=("none",),
    )
    assert train(config, lambda step, max_steps: {"easy": 1.0, "medium": 1.0, "hard": 1.0}) == 0
    after = tmp_path / "run" / "model"
    assert json.loads((after / "adapter_config.json").read_text())["r"] == (rank or RANK)
    recorded = json.loads((tmp_path / "run" / "resolved_config.json").read_text())["settings"]
    assert (recorded["lora_rank"], recorded["lora_alpha"]) == (rank or RANK, 32) and not (after / "ref").exists()
    if start == "model":
        before = tensors(trained / "model" / "adapter_model.safetensors")
        assert before.keys() == tensors(after / "adapter_model.safetensors").keys()
    assert load_policy(str(after)).prompt_style == "compact"


def test_the_loss_is_the_mean_over_the_tokens_of_the_answer(given: dict[str, Any], tmp_path: Path) -> None:
    """TRL's, which never makes the scores of the prompt, against transformers' own."""
    from grpo_project.sft.plan_trainer import plan_trainer

    config = SftConfig(**{**given, "output_dir": str(tmp_path)}).suited(small=True, rank=RANK)
    policy = load_policy(str(config.base_model), training=True, lora_rank=RANK)
    dataset = read_examples(config.data_roots, policy.tokenizer, policy.prompt_style)
    batch = collate([dataset[index] for index in range(5)], policy.tokenizer.pad_token_id)
    with torch.no_grad():
        expected = float(policy.model(**batch).loss)
        trainer = plan_trainer(config, policy, dataset, 6, RunStates({}), [])
        assert float(trainer.compute_loss(policy.model, dict(batch))) == pytest.approx(expected, rel=1e-5)


def test_what_was_not_given_suits_the_model() -> None:
    config = SftConfig(data_roots=("x",), output_dir="x")

    def suited(small: bool, rank: int) -> tuple[Any, ...]:
        found = config.suited(small=small, rank=rank)
        return found.optimizer, found.learning_rate, found.lora_rank

    assert suited(True, 0) == ("muon", 6e-3, 0)
    assert suited(True, 4) == ("adamw", 2e-4, 4) and suited(False, 16) == ("adamw", 2e-4, 16)
    assert suited(False, 0) == ("adamw", 1e-5, 0)
    given = SftConfig(data_roots=("x",), output_dir="x", optimizer="muon", learning_rate=3e-3).suited(small=False, rank=0)
    assert (given.optimizer, given.learning_rate) == ("muon", 3e-3)


def test_what_cannot_be_is_said_before_the_work(given: dict[str, Any], trained: Path, tiny_planner: Path, tmp_path: Path) -> None:
    def start(**others: Any) -> None:
        train_sft(resolve_settings({**given, "output_dir": str(tmp_path / "out"), **others}))

    with pytest.raises(ConfigError, match="--merge puts adapters into --base_model"):
        start(base_model=None, merge=True)
    with pytest.raises(ConfigError, match="--merge: all weights are trained here"):
        start(lora_rank=0, merge=True)
    with pytest.raises(ConfigError, match="--optimizer muon is for all weights of a model, not for adapters"):
        start(optimizer="muon")
    with pytest.raises(ConfigError, match="--add_layers makes layers that are trained as a whole: add --lora_rank 0"):
        start(add_layers=1)
    with pytest.raises(DataError, match="tokens in all, .*; the model reads 20"):
        start(max_seq_length=20)
    for name, own in (("rank", RANK), ("alpha", 32)):
        with pytest.raises(
            ModelError, match=f"--lora_{name} 8: .* is an adapter of {name} {own}, which is trained further as it is"
        ):
            start(**{"base_model": str(trained / "model"), "lora_rank": None, f"lora_{name}": 8})
    assert not (tmp_path / "out").exists()
    described = json.loads((tiny_planner / "config.json").read_text())
    shutil.copytree(tiny_planner, tmp_path / "packed")
    (tmp_path / "packed" / "config.json").write_text(json.dumps(described | {"quantization_config": {"load_in_4bit": True}}))
    with pytest.raises(ModelError, match="is stored in few bits, and merging into those would round again"):
        start(base_model=str(tmp_path / "packed"), merge=True)


def test_an_adapter_without_its_base_or_of_another_is_named(trained: Path, tiny_planner: Path, tmp_path: Path) -> None:
    adapter, other = tmp_path / "adapter", tmp_path / "other"
    shutil.copytree(trained / "model", adapter)
    assert plan_load(str(adapter), training=True).rank == RANK and plan_load(str(adapter), training=False).rank == 0
    described = json.loads((adapter / "adapter_config.json").read_text())

    def put_on(base: Path) -> Policy:
        (adapter / "adapter_config.json").write_text(json.dumps(described | {"base_model_name_or_path": str(base)}))
        return load_policy(str(adapter), training=True)

    with pytest.raises(ModelError, match=f"is an adapter of {tmp_path}/gone, which is not there: put it back"):
        put_on(tmp_path / "gone")
    write_tiny_planner(other)
    put_on(other)  # the same shapes
    for change in ({"num_hidden_layers": 1}, {"intermediate_size": 48}):
        from transformers import AutoConfig, AutoModelForCausalLM

        shutil.rmtree(other)
        shutil.copytree(tiny_planner, other)
        config = AutoConfig.from_pretrained(other)
        for name, value in change.items():
            setattr(config, name, value)
        AutoModelForCausalLM.from_config(config).save_pretrained(other)
        with pytest.raises(ModelError, match="it is an adapter of another base"):
            put_on(other)
        with pytest.raises(ModelError, match="--adapter .* it is an adapter of another base"):
            with_adapter(load_policy(str(other)), str(adapter))


def test_adapters_saved_by_a_run_are_found_again_with_their_rank(tiny_planner: Path, tmp_path: Path) -> None:
    policy = load_policy(str(tiny_planner), training=True, lora_rank=3, lora_alpha=6)
    policy.model.add_adapter("ref", policy.model.peft_config["default"])  # TRL's reference under --beta
    save_policy(policy, tmp_path / "adapter", {"steps": 1})
    assert not (tmp_path / "adapter" / "ref").exists()
    # As other trainers leave it, which does not make the folder a whole model.
    shutil.copy(tiny_planner / "config.json", tmp_path / "adapter")
    plan = plan_load(str(tmp_path / "adapter"), training=True)
    assert (plan.rank, plan.alpha, plan.small) == (3, 6, False)
    again = load_policy(str(tmp_path / "adapter"), training=True)
    trained = [name for name, parameter in again.model.named_parameters() if parameter.requires_grad]
    assert trained and all("lora_" in name for name in trained)
