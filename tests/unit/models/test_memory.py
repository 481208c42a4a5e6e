"""The memory estimate: counts agree with real models, parts follow the settings, advice is ordered, nothing heavy is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.errors import ModelError  # noqa: E402
from grpo_project.models.forecast import (  # noqa: E402
    Forecast,
    announced_forecast,
    forecast,
    forecast_for_a_gpu,
    out_of_memory,
    read_model_config,
)
from grpo_project.models.loading import LORA_TARGETS, plan_for  # noqa: E402
from grpo_project.models.memory import (  # noqa: E402
    GIB,
    Architecture,
    Load,
    activation_bytes_per_token,
    estimate,
    logit_bytes,
)

QWEN_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}
FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("LlamaConfig", {}),
    ("LlamaConfig", {"num_key_value_heads": 8, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("MistralConfig", {}),
    ("Qwen2Config", {key: value for key, value in QWEN_7B.items() if key != "model_type"}),
    ("Qwen2Config", {"tie_word_embeddings": True, "num_key_value_heads": 2}),
    ("Qwen3Config", {"num_key_value_heads": 8}),
    ("Qwen3Config", {"attention_bias": True, "head_dim": 64}),
    ("GemmaConfig", {}),
    ("Gemma2Config", {}),
    ("Gemma3TextConfig", {"num_hidden_layers": 6}),
]
SMALL = {
    "vocab_size": 64,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
}


def _plan(name: str = "unsloth", rank: int | None = None, four_bit: bool = True, small: bool = False) -> Any:
    return plan_for(name, "cuda", "", small, True, four_bit, rank, "bf16")


def _forecast(plan: Any = None, available: float | None = None, domains: int = 1, **settings: Any) -> Forecast:
    model = Architecture.of(QWEN_7B)
    return Forecast(model, TrainingConfig(**settings), plan or _plan(), available, domains=domains)


@pytest.mark.parametrize(("name", "sizes"), FAMILIES, ids=lambda value: value if isinstance(value, str) else "")
def test_parameters_are_those_of_the_real_model(name: str, sizes: dict[str, Any]) -> None:
    config = getattr(transformers, name)(**sizes)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted > 10**8
    for described in (config.to_dict(), json.loads(config.to_json_string(use_diff=True))):
        found = Architecture.of(described)
        assert found.parameters == counted
        linear = [module for key, module in model.named_modules() if key.split(".")[-1] in LORA_TARGETS]
        assert found.matrix_parameters == sum(module.weight.numel() for module in linear)


def test_adapters_are_counted_as_peft_makes_them() -> None:
    peft = pytest.importorskip("peft")
    config = transformers.Qwen2Config(**{key: size for key, size in SMALL.items() if key != "head_dim"}, num_hidden_layers=3)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=list(LORA_TARGETS), task_type="CAUSAL_LM"))
    counted = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert Architecture.of(config.to_dict()).adapter_parameters(8) == counted > 0


def _kept_bytes_per_token(name: str, layers: int, rank: int, adapter: Any, weights: Any) -> float:
    """What autograd really keeps for the backward pass, parameters apart."""
    peft = pytest.importorskip("peft")
    config = getattr(transformers, name)(**SMALL, num_hidden_layers=layers)
    config._attn_implementation = "sdpa"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=weights)
    if rank:
        model = peft.get_peft_model(model, peft.LoraConfig(r=rank, target_modules=list(LORA_TARGETS), task_type="CAUSAL_LM"))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(adapter)
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, int] = {}
    alive = []  # a storage that is freed could lend its address to another

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    ids = torch.arange(256).reshape(2, 128) % 64
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.train()(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return sum(kept.values()) / ids.numel()


@pytest.mark.parametrize("name", ["LlamaConfig", "Qwen3Config", "Gemma2Config"])
@pytest.mark.parametrize(
    ("rank", "adapter", "weights", "four_bit"),
    [
        (8, torch.bfloat16, torch.bfloat16, True),  # adapters as TRL makes them on a quantized model
        (8, torch.float32, torch.bfloat16, False),
        (8, torch.float32, torch.float32, False),
        (0, None, torch.bfloat16, False),
        (0, None, torch.float32, False),
    ],
)
def test_a_layer_keeps_what_autograd_keeps(name: str, rank: int, adapter: Any, weights: Any, four_bit: bool) -> None:
    """Within 20%, measured as the difference between models of 2 and 4 layers; quantized weights themselves need a GPU."""
    two, four = (_kept_bytes_per_token(name, layers, rank, adapter, weights) for layers in (2, 4))
    value_bytes = 2 if weights == torch.bfloat16 else 4
    load = replace(_LOAD, rank=rank, four_bit=four_bit, weight_bytes=value_bytes, value_bytes=value_bytes)
    model = Architecture.of(getattr(transformers, name)(**SMALL, num_hidden_layers=2).to_dict())
    assert activation_bytes_per_token(model, load) == pytest.approx((four - two) / 2, rel=0.2)


_LOAD = Load(
    generated=64,
    trained=8,
    prompt=1000,
    completion=500,
    four_bit=True,
    rank=16,
    reference=False,
    checkpointing=False,
    unsloth=False,
)


def test_weights_of_a_7b_model_in_4_and_16_bit() -> None:
    model = Architecture.of(QWEN_7B)
    assert model.parameters == 7_615_616_512  # 7.62 billion
    assert estimate(model, replace(_LOAD, four_bit=False)).weights == 2 * model.parameters
    # 6.53 billion weights at 4.127 bits and 1.09 billion at 16
    assert estimate(model, _LOAD).weights == pytest.approx(6.526e9 * 4.127 / 8 + 1.0899e9 * 2, rel=1e-3)


def test_all_weights_take_sixteen_bytes_and_autocasts_copy() -> None:
    found = _forecast(_plan("transformers", rank=0), beta=0.0)
    size = found.model.parameters
    assert found.estimate.weights + found.estimate.trained_state == (16 + 2) * size
    with_reference = _forecast(_plan("transformers", rank=0), beta=0.02).estimate
    assert with_reference.weights == found.estimate.weights + 4 * size


def test_all_completions_of_a_step_are_sampled_at_once() -> None:
    """The cache follows the batch, and the micro-batch changes only what is trained at once."""
    first = _forecast(batch_size=8, micro_batch_size=8, num_generations=8)
    second = _forecast(batch_size=8, micro_batch_size=1, num_generations=8)
    assert first.load.generated == second.load.generated == 64
    per_token = 2 * 28 * 4 * 128 * 2
    assert first.estimate.cache == second.estimate.cache == 64 * (2048 + 512) * per_token
    assert (first.load.trained, second.load.trained) == (64, 8)
    assert first.estimate.activations > 7 * second.estimate.activations
    assert _forecast(batch_size=8, micro_batch_size=1, gradient_accumulation_steps=2).load.generated == 128


def test_the_cache_is_as_large_as_the_real_one() -> None:
    config = transformers.Qwen3Config(**SMALL, num_hidden_layers=3)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.inference_mode():
        kept = model(torch.zeros(5, 7, dtype=torch.long), use_cache=True).past_key_values
    real = sum(tensor.nbytes for layer in kept.layers for tensor in (layer.keys, layer.values))
    assert real == 5 * 7 * Architecture.of(config.to_dict()).cache_bytes_per_token(2) > 0


def test_processes_share_completions_and_shards_share_weights() -> None:
    one = _forecast(_plan("transformers", rank=0))
    two = replace(one, world_size=2)
    both = replace(one, world_size=2, shards=2)
    assert two.load.generated == one.load.generated // 2 and two.estimate.weights == one.estimate.weights
    assert both.estimate.weights == one.estimate.weights / 2 and both.estimate.trained_state == one.estimate.trained_state / 2


def test_scores_over_the_vocabulary() -> None:
    model = Architecture.of(QWEN_7B)
    assert logit_bytes(model, _LOAD) == 8 * 501 * 152064 * 6
    assert logit_bytes(model, replace(_LOAD, unsloth=True)) == 1500 * 152064 * 4


def test_advice_is_ordered_by_gain_and_each_gain_is_real() -> None:
    found = _forecast(_plan(four_bit=False), available=24 * GIB, batch_size=8, domains=4, load_in_4bit=False)
    assert not found.fits and "DOES NOT FIT" in found.table()
    remedies = found.remedies()
    gains = [remedy.gain for remedy in remedies]
    assert gains == sorted(gains, reverse=True) and min(gains) > 0
    flags = [remedy.flags for remedy in remedies]
    assert [remedy.enough for remedy in remedies] == [found.estimate.total - gain <= 24 * GIB for gain in gains]
    assert flags[0] == "--use_gradient_checkpointing" and "leaving out --no_4bit" in flags and "--max_prompt_length 1024" in flags
    then = replace(found, config=replace(found.config, use_gradient_checkpointing=True)).estimate.total
    assert remedies[0].gain == found.estimate.total - then
    assert "saves" in found.advice() and "\n" not in found.advice()
    assert found.report().splitlines()[-len(remedies) - 1].startswith("What lowers the peak")


def test_4_bit_is_advised_where_it_can_be_had() -> None:
    def advised(found: Forecast) -> list[str]:
        return [remedy.flags for remedy in found.remedies() if "4" in remedy.flags and "bit" in remedy.flags]

    plain = _forecast(_plan("transformers", four_bit=False), load_in_4bit=False)
    assert advised(plain) == ["leaving out --no_4bit"]
    assert advised(replace(plain, world_size=2, shards=2)) == []  # no 4 bit where parameters are shared out
    assert advised(_forecast(_plan("transformers", four_bit=False))) == ["installing bitsandbytes, for 4 bit,"]
    assert advised(_forecast(_plan("transformers"))) == []


def test_a_batch_is_halved_only_where_its_domains_stay_even() -> None:
    settings = {"use_gradient_checkpointing": True, "micro_batch_size": 1}
    for batch_size, expected in ((8, True), (4, False)):
        flags = [remedy.flags for remedy in _forecast(domains=4, batch_size=batch_size, **settings).remedies()]
        assert (f"--batch_size {batch_size // 2}" in flags) is expected


def test_what_fits_is_left_in_peace() -> None:
    found = _forecast(available=80 * GIB, use_gradient_checkpointing=True, micro_batch_size=1)
    assert found.fits and found.report() == found.table() and "so it fits" in found.report()


def test_a_run_says_it_before_loading_where_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=24 * GIB))
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    announced_forecast(TrainingConfig(), str(tmp_path), _plan(), 2, print)
    shown = capsys.readouterr().out
    assert "so it fits" in shown and "\nChosen so that it fits" in shown
    announced_forecast(TrainingConfig(), str(tmp_path), _plan(), 2, print, choose=False)
    shown = capsys.readouterr().out
    assert "DOES NOT FIT" in shown and "--use_gradient_checkpointing saves" in shown
    assert "--batch_size" not in shown  # it would lower what is not the peak
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    assert announced_forecast(TrainingConfig(), str(tmp_path), _plan(), 2, print) is None
    assert "no memory estimate for models of type mamba" in capsys.readouterr().out


def test_vllm_takes_its_share_and_samples_there() -> None:
    plain = _forecast(_plan("transformers"), available=80 * GIB)
    here = _forecast(_plan("transformers"), available=80 * GIB, use_vllm=True, vllm_gpu_memory_utilization=0.25)
    assert here.estimate.context == plain.estimate.context + 20 * GIB and here.estimate.cache == 0
    shared = _forecast(available=80 * GIB, fast_inference=True, vllm_gpu_memory_utilization=0.25)
    assert shared.estimate.weights + shared.vllm_bytes == 20 * GIB
    server = _forecast(_plan("transformers"), available=80 * GIB, use_vllm=True, vllm_mode="server")
    assert server.estimate.context == plain.estimate.context and server.estimate.cache == 0


def test_what_cannot_be_estimated_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no memory estimate for models of type mamba"):
        Architecture.of({"model_type": "mamba"}, "m")
    with pytest.raises(ModelError, match="no usable size.*'hidden_size'"):
        Architecture.of({"model_type": "llama"})
    with pytest.raises(ModelError, match="cannot be read"):
        read_model_config(str(tmp_path / "nowhere" / "at" / "all"))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="holds no object"):
        read_model_config(str(tmp_path))


def test_an_adapter_is_estimated_with_its_base_and_a_quantized_model_as_such(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir(), adapter.mkdir()
    (base / "config.json").write_text(json.dumps(QWEN_7B | {"quantization_config": {"load_in_4bit": True}}))
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    found = forecast(TrainingConfig(), str(adapter), _plan(four_bit=False))
    assert found.plan.four_bit and found.model == Architecture.of(QWEN_7B)
    assert forecast_for_a_gpu(TrainingConfig(base_model=str(base)), 24).available == 24 * GIB


def test_the_guide_shows_what_is_printed(repository: Path, tmp_path: Path) -> None:
    """For the settings of its command, with the config.json of the model that it names."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B | {"quantization_config": {"load_in_4bit": True}}))
    printed = forecast_for_a_gpu(TrainingConfig(base_model=str(tmp_path)), 24).report()
    assert f"```text\n{printed}\n```" in (repository / "docs" / "train_on_gpu.md").read_text(encoding="utf-8")


def test_the_estimate_needs_no_torch(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    script = repository / "script" / "train_grpo_unsloth_stl_v2.py"
    code = (
        f"import runpy, sys; sys.argv = [{str(script)!r}, '--base_model', {str(tmp_path)!r}, '--estimate_memory', "
        "'--gpu_memory_gib', '24']\n"
        f"try: runpy.run_path({str(script)!r}, run_name='__main__')\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({'torch', 'transformers', 'trl', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]
    assert "so it fits" in done.stdout and "24.00" in done.stdout
    assert "--use_gradient_checkpointing" in done.stdout
    alone = subprocess.run([sys.executable, str(script), "--gpu_memory_gib", "24"], capture_output=True, text=True, cwd=tmp_path)
    assert alone.returncode == 2 and "goes with --estimate_memory" in alone.stderr


def test_memory_that_ran_out_is_known_wherever_it_comes_from() -> None:
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not out_of_memory(RuntimeError("shapes differ")) and not out_of_memory(None)
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        except RuntimeError as error:
            raise ModelError("does not fit") from error
    except ModelError as error:
        assert out_of_memory(error)
