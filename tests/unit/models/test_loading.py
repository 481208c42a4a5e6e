"""Which stack loads a model, what it is told, and one-line errors for what cannot be loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.errors import BackendMissing, ModelError  # noqa: E402
from grpo_project.models import loading as backend  # noqa: E402
from grpo_project.models.loading import choose_backend, load_policy, plan_for, save_policy  # noqa: E402


def test_importing_the_backend_loads_nothing_heavy(repository: Path) -> None:
    code = (
        "import sys, grpo_project.models.loading; print({'torch', 'transformers', 'trl', 'unsloth', 'peft'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout.strip() == "set()"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """machine(cuda=..., unsloth=..., bfloat16=..., processes=...) pretends."""

    def pretend(cuda: bool, unsloth: bool, bfloat16: bool = True, processes: int = 1) -> None:
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16 or including_emulation)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "H100")
        find = backend.importlib.util.find_spec
        monkeypatch.setattr(
            backend.importlib.util,
            "find_spec",
            lambda name, *rest: (object() if unsloth else None) if name == "unsloth" else find(name),
        )

    return pretend


@pytest.mark.parametrize(
    ("cuda", "unsloth", "asked", "small", "name", "device", "reason"),
    [
        (False, False, "auto", False, "transformers", "cpu", "no CUDA device"),
        (False, True, "auto", False, "transformers", "cpu", "no CUDA device"),
        (True, True, "auto", False, "unsloth", "cuda", "and so is unsloth"),
        (True, True, "auto", True, "transformers", "cuda", "this small trains faster"),
        (True, True, "unsloth", True, "unsloth", "cuda", "and so is unsloth"),
        (True, True, "transformers", False, "transformers", "cuda", "--backend asks for transformers"),
        (True, False, "auto", False, "transformers", "cuda", "unsloth is not installed"),
    ],
)
def test_the_backend_is_chosen_by_what_is_there(
    machine: Any, cuda: bool, unsloth: bool, asked: str, small: bool, name: str, device: str, reason: str
) -> None:
    machine(cuda, unsloth)
    found = choose_backend(asked, small)
    assert found[:2] == (name, device)
    assert reason in found[2]


def test_a_backend_that_cannot_be_had_is_refused(machine: Any) -> None:
    machine(False, True)
    with pytest.raises(BackendMissing, match="--backend unsloth: a CUDA device is not there"):
        choose_backend("unsloth")
    machine(True, False)
    with pytest.raises(BackendMissing, match="the unsloth package"):
        choose_backend("unsloth")
    with pytest.raises(BackendMissing, match="must be auto, unsloth or transformers"):
        choose_backend("jax")


def test_several_processes_do_not_take_unsloth(machine: Any) -> None:
    machine(True, True, processes=4)
    name, _, reason = choose_backend("auto")
    assert name == "transformers" and "4 processes" in reason
    with pytest.raises(BackendMissing, match="--backend unsloth is for one process, and 4 share the run: take --backend trans"):
        choose_backend("unsloth")


@pytest.mark.parametrize(
    ("backend_name", "small", "training", "rank", "half", "expected"),
    [
        ("unsloth", False, True, None, "bf16", (16, True, False, "bf16")),
        ("unsloth", False, True, None, "fp16", (16, True, False, "fp16")),
        ("unsloth", False, True, 0, "bf16", (0, False, True, "bf16")),  # quantized weights cannot be trained
        ("unsloth", False, False, None, "bf16", (0, True, False, "bf16")),
        ("transformers", False, True, None, "bf16", (16, True, False, "")),
        ("transformers", False, True, None, "fp16", (16, True, True, "")),
        ("transformers", False, True, 0, "bf16", (0, False, True, "bf16")),
        ("transformers", True, True, None, "bf16", (0, False, True, "")),
    ],
)
def test_types_follow_the_gpu_and_what_is_trained(
    backend_name: str, small: bool, training: bool, rank: int | None, half: str, expected: tuple[Any, ...]
) -> None:
    plan = plan_for(backend_name, "cuda", "", small, training, True, rank, half)
    assert (plan.rank, plan.four_bit, plan.float32, plan.autocast) == expected


def test_a_cpu_computes_in_full_precision() -> None:
    plan = plan_for("transformers", "cpu", "", False, True, True, None, "")
    assert (plan.rank, plan.four_bit, plan.float32, plan.autocast) == (0, False, True, "")


def test_our_planner_loads_in_full_precision_with_its_card(tiny_planner: Path) -> None:
    policy = load_policy(str(tiny_planner), training=True)
    assert (policy.name, policy.device, policy.prompt_style) == ("transformers", "cpu", "compact")
    assert {parameter.dtype for parameter in policy.model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in policy.model.parameters())
    assert policy.model.config._attn_implementation == "sdpa"
    assert policy.tokenizer.padding_side == "left"
    assert not policy.model.training


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path: Path, tiny_planner: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    for name in (str(broken), "someone/no-such-model-0000", str(tmp_path / "none")):
        with pytest.raises(ModelError) as caught:
            load_policy(name)
        assert "\n" not in str(caught.value) and name in str(caught.value)


def test_a_tokenizer_without_a_chat_template_is_refused(tiny_planner: Path, tmp_path: Path) -> None:
    policy = load_policy(str(tiny_planner))
    policy.tokenizer.chat_template = None
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no chat template"):
        load_policy(str(tmp_path))


def test_a_saved_policy_loads_again_with_its_history(tiny_planner: Path, tmp_path: Path) -> None:
    policy = load_policy(str(tiny_planner), training=True)
    save_policy(policy, tmp_path / "one", {"steps": 3})
    save_policy(load_policy(str(tmp_path / "one")), tmp_path / "two", {"steps": 5})
    again = load_policy(str(tmp_path / "two"))
    assert [entry["steps"] for entry in again.card["trained_by_grpo"]] == [3, 5]
    for name, weight in policy.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])
    assert again.tokenizer.get_vocab() == policy.tokenizer.get_vocab()
    assert again.tokenizer.chat_template == policy.tokenizer.chat_template


def test_a_model_without_anything_to_train_is_named(tiny_planner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As transformers loads an adapter from the hub by itself: with all weights frozen."""
    model = load_policy(str(tiny_planner)).model.requires_grad_(False)
    monkeypatch.setattr(backend, "_load_with_transformers", lambda *_: model)
    with pytest.raises(ModelError, match="has no weights that can be trained, .* name its folder"):
        load_policy(str(tiny_planner), training=True)
    assert load_policy(str(tiny_planner)).model is model


@pytest.mark.slow
def test_adapters_are_trained_saved_and_loaded_on_their_base(tiny_planner: Path, data_root: Path, tmp_path: Path) -> None:
    from grpo_project.configs.training import TrainingConfig
    from grpo_project.training.run import train

    config = TrainingConfig(
        base_model=str(tiny_planner),
        data_root=str(data_root),
        output_dir=str(tmp_path / "run"),
        lora_rank=4,
        batch_size=4,
        num_generations=2,
        max_steps=2,
        max_completion_length=8,
        eval_samples=0,
        use_wandb=False,
        beta=0.1,
    )
    assert train(config, lambda step, max_steps: {"easy": 1.0, "medium": 1.0, "hard": 1.0}) == 0
    folder = tmp_path / "run" / "model"
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 4
    policy = load_policy(str(folder))
    assert policy.prompt_style == "compact"
    assert any("lora" in name for name, _ in policy.model.named_parameters())


class _FakeModel(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def test_unsloth_is_told_every_knob(machine: Any, monkeypatch: pytest.MonkeyPatch, tiny_tokenizer: Any, tmp_path: Path) -> None:
    """The calls, not their effect: that takes a GPU (tests/gpu)."""
    calls: dict[str, dict[str, Any]] = {}

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(**knobs: Any) -> tuple[Any, Any]:
            calls["from_pretrained"] = knobs
            return _FakeModel(), tiny_tokenizer

        @staticmethod
        def get_peft_model(model: Any, **knobs: Any) -> Any:
            calls["get_peft_model"] = knobs
            return model

        @staticmethod
        def for_inference(model: Any) -> None:
            calls["for_inference"] = {}

        @staticmethod
        def for_training(model: Any, use_gradient_checkpointing: Any) -> None:
            calls["for_training"] = {"use_gradient_checkpointing": use_gradient_checkpointing}

    machine(True, True)
    module = types.ModuleType("unsloth")
    module.FastLanguageModel = FastLanguageModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "unsloth", module)
    (tmp_path / "config.json").write_text("{}")
    policy = load_policy(str(tmp_path), training=True, max_sequence_length=1000, use_gradient_checkpointing=True, seed=7)
    assert policy.name == "unsloth" and policy.prompt_style == "full"
    loaded, adapted = calls["from_pretrained"], calls["get_peft_model"]
    assert (loaded["max_seq_length"], loaded["load_in_4bit"], loaded["full_finetuning"]) == (1000, True, False)
    assert loaded["trust_remote_code"] is False and loaded["fast_inference"] is False
    assert (adapted["r"], adapted["lora_alpha"], adapted["random_state"]) == (16, 32, 7)
    assert adapted["use_gradient_checkpointing"] == "unsloth"
    assert calls["for_training"] == {"use_gradient_checkpointing": "unsloth"}
    assert "for_inference" not in calls
    assert loaded["dtype"] == torch.bfloat16 and policy.autocast == "bf16"
    machine(True, True, bfloat16=False)
    assert load_policy(str(tmp_path), training=True, fast_inference=True, vllm_gpu_memory_utilization=0.4).autocast == "fp16"
    loaded = calls["from_pretrained"]
    assert (loaded["dtype"], loaded["fast_inference"], loaded["gpu_memory_utilization"]) == (torch.float16, True, 0.4)
    assert loaded["max_lora_rank"] == 16
    calls.clear()
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 512}')  # more would be stretched by Unsloth
    load_policy(str(tmp_path))
    assert calls["from_pretrained"]["max_seq_length"] == 512
    assert "get_peft_model" not in calls and "for_inference" in calls and "for_training" not in calls
    assert calls["from_pretrained"]["full_finetuning"] is False


def test_an_unsloth_that_does_not_start_says_so(machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(True, True)
    monkeypatch.setitem(sys.modules, "unsloth", None)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises((BackendMissing, ModelError), match="does not start"):
        load_policy(str(tmp_path), training=True)


@pytest.mark.slow
def test_loading_a_folder_says_nothing_of_its_own(tiny_planner: Path, repository: Path) -> None:
    """Where nothing of Hugging Face was imported before: bars would stand between the lines of a log."""
    code = f"from grpo_project.models.loading import load_policy; load_policy({str(tiny_planner)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout + done.stderr == ""
