"""What a run chooses by itself so that it fits the GPU: with stand-in cards, for no GPU is asked."""

from __future__ import annotations

import importlib.util
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.batches import batch_shape  # noqa: E402
from grpo_project.configs.environment import EnvironmentConfig  # noqa: E402
from grpo_project.configs.resolution import resolve  # noqa: E402
from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402
from grpo_project.models import forecast as forecasts  # noqa: E402
from grpo_project.models.forecast import MEMORY_ESTIMATE, SPARE, Forecast, announced_forecast, forecast_for_a_gpu  # noqa: E402
from grpo_project.models.loading import plan_for  # noqa: E402
from grpo_project.models.memory import GIB, Architecture  # noqa: E402
from grpo_project.training import inputs, launch  # noqa: E402
from tests.unit.models.test_memory import QWEN_7B  # noqa: E402

# The commands of the guide, word for word, and what config.json says of the models that they name.
GUIDE = """
python script/train_grpo_unsloth_stl_v2.py \\
    --base_model unsloth/Qwen2.5-7B-Instruct-bnb-4bit \\
    --data_root /jfan5/grpo_data/five_domain_0109 \\
    --output_dir /jfan5/grpo_models/qwen_7b_curriculum_v2 \\
    --batch_size 8 \\
    --max_steps 1000 \\
    --learning_rate 1e-5 \\
    --beta 0.02 \\
    --save_steps 100 \\
    --wandb_project pddl-grpo-v2 \\
    --run_name qwen-7b-curriculum

python script/train_grpo_unsloth_stl_v2.py \\
    --base_model /jfan5/sft_models/qwen3_14b \\
    --data_root /jfan5/grpo_data/five_domain_0109 \\
    --output_dir /jfan5/grpo_models/qwen3_14b_curriculum_v2 \\
    --batch_size 16 \\
    --gradient_accumulation_steps 2 \\
    --max_steps 2000 \\
    --learning_rate 5e-6 \\
    --beta 0.01 \\
    --save_steps 100 \\
    --use_gradient_checkpointing \\
    --wandb_project pddl-grpo-v2 \\
    --run_name qwen3-14b-curriculum-long

python script/train_grpo_unsloth_stl_v2.py \\
    --base_model /jfan5/sft_models/mistral_7b \\
    --data_root /jfan5/grpo_data/five_domain_0109 \\
    --output_dir /jfan5/grpo_models/mistral_7b_curriculum_v2 \\
    --batch_size 12 \\
    --max_steps 1500 \\
    --learning_rate 1e-5 \\
    --beta 0.02 \\
    --temperature 0.8 \\
    --num_generations 4 \\
    --wandb_project pddl-grpo-v2 \\
    --run_name mistral-7b-curriculum
"""
COMMANDS = [shlex.split(command.replace("\\\n", " "))[2:] for command in GUIDE.strip().split("\n\n")]
MODELS = {
    "qwen-7b-curriculum": QWEN_7B | {"quantization_config": {"load_in_4bit": True}},
    "qwen3-14b-curriculum-long": {
        "model_type": "qwen3",
        "hidden_size": 5120,
        "intermediate_size": 17408,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "tie_word_embeddings": False,
    },
    "mistral-7b-curriculum": {
        "model_type": "mistral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32768,
        "tie_word_embeddings": False,
    },
}
CHOSEN = ("micro_batch_size", "use_gradient_checkpointing", "sampling_batch_size")


def _given(words: list[str]) -> dict[str, Any]:
    path = Path(__file__).resolve().parents[3] / "script" / "train_grpo_unsloth_stl_v2.py"
    spec = importlib.util.spec_from_file_location("train_grpo_script", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found: dict[str, Any] = script.parse_flags(words)
    return found


@pytest.mark.parametrize("gigabytes", [24, 40, 80])
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[-1])
def test_the_guides_commands_fit_as_they_stand(words: list[str], gigabytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tenth to spare of a card that has no byte more than its name says: 10**9 bytes a gigabyte."""
    given = _given(words)
    monkeypatch.setattr(forecasts, "locate_model", lambda name: name)
    monkeypatch.setattr(forecasts, "read_model_config", lambda name: MODELS[given["run_name"]])
    found = forecast_for_a_gpu(resolve([("command line", given)]), gigabytes * 1e9 / GIB)
    assert found.fits and found.estimate.total <= (1 - SPARE) * gigabytes * 1e9
    assert found.choice.startswith("Chosen so that it fits") and "\n" not in found.choice
    assert set(found.chosen) == set(CHOSEN) - set(given)  # what is set is kept
    for name, value in given.items():
        assert getattr(found.config, name) == value
    for name, value in found.chosen.items():
        said = f"--{name}" if value is True else f"no --{name}" if value is False else f"--{name} {value}"
        assert said in found.choice and getattr(found.config, name) == value


def _found(available: float | None, world_size: int = 1, name: str = "unsloth", **settings: Any) -> Forecast:
    plan = plan_for(name, "cuda", "", False, True, True, None, "bf16")
    return Forecast(Architecture.of(QWEN_7B), TrainingConfig(**settings), plan, available, world_size).fitted()


def test_time_is_given_up_only_where_memory_is_short() -> None:
    wide = _found(900 * GIB, batch_size=8, num_generations=4)
    assert wide.chosen == {"micro_batch_size": 2, "use_gradient_checkpointing": False, "sampling_batch_size": 8}
    smaller = _found(60 * GIB, batch_size=8, num_generations=4)
    assert smaller.chosen == {"micro_batch_size": 1, "use_gradient_checkpointing": False, "sampling_batch_size": 8}
    narrow = _found(14 * GIB, batch_size=8, num_generations=4)
    assert narrow.chosen == {"micro_batch_size": 1, "use_gradient_checkpointing": True, "sampling_batch_size": 8}
    thin = _found(11 * GIB, batch_size=8, num_generations=4, max_completion_length=128, max_prompt_length=900)
    assert thin.chosen["use_gradient_checkpointing"] and thin.fits


def test_the_fewest_parts_of_sampling_that_fit_are_taken() -> None:
    """A prompt's 8 completions of 2,560 tokens take 1.1 GiB, beside the 6.7 that stay: 7.7 GiB are free of 90% of 16."""
    sizes = {
        gib: _found(gib * GIB, batch_size=32, use_gradient_checkpointing=True).config.sampling_batch_size for gib in (80, 24, 16)
    }
    assert sizes == {80: 32, 24: 11, 16: 6}
    shared = _found(24 * GIB, world_size=4, batch_size=32, use_gradient_checkpointing=True)
    assert shared.config.sampling_batch_size == 8 and shared.load.generated == 64  # of one process


def test_what_nothing_fits_gets_the_least_and_says_so() -> None:
    found = _found(5 * GIB)
    assert found.chosen == {"micro_batch_size": 1, "use_gradient_checkpointing": True, "sampling_batch_size": 1}
    assert not found.fits and "though even the least does not fit" in found.choice and found.choice in found.report()
    assert "What lowers the peak" in found.report()


def test_what_was_set_is_kept_and_an_unknown_card_chooses_nothing() -> None:
    given = {"micro_batch_size": 8, "use_gradient_checkpointing": False, "sampling_batch_size": 5}
    found = _found(24 * GIB, **given)
    assert found.chosen == {} and found.choice == "" and not found.fits
    assert "--sampling_batch_size 1 saves" in _found(24 * GIB, batch_size=64, sampling_batch_size=64).report()
    unknown = _found(None)
    assert unknown.chosen == {} and unknown.config == TrainingConfig()


def test_vllm_divides_the_sampling_by_itself() -> None:
    assert "sampling_batch_size" not in _found(80 * GIB, name="transformers", use_vllm=True).chosen
    for flag in ("use_vllm", "fast_inference"):
        with pytest.raises(ConfigError, match=f"--sampling_batch_size: --{flag} divides the sampling by itself"):
            TrainingConfig(sampling_batch_size=2, **{flag: True})


def test_the_smallest_card_decides_for_several_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes = [80 * GIB, 24 * GIB]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=sizes[index]))
    monkeypatch.setattr(forecasts, "read_model_config", lambda name: QWEN_7B)
    plan = plan_for("transformers", "cuda", "", False, True, True, None, "bf16")
    for processes, expected in ((1, 80), (2, 24)):
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        found = announced_forecast(TrainingConfig(), "model", plan, 1, lambda text: None)
        assert found is not None and found.available == expected * GIB


def _gathered(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch, gib: float) -> inputs.RunInputs:
    """What a run would have before its model is loaded, on a machine with that card."""
    plan = plan_for("transformers", "cuda", "", False, True, True, None, "bf16")
    monkeypatch.setattr(inputs, "plan_load", lambda model, **asked: plan)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=gib * GIB))
    monkeypatch.setattr(forecasts, "read_model_config", lambda name: QWEN_7B)
    start = launch.starting_point(config)
    return inputs.gather_inputs(config, lambda step, steps: {"easy": 1.0, "medium": 0.0, "hard": 0.0}, start)


@pytest.mark.parametrize(("small", "given", "expected"), [(False, None, 2), (False, 4, 4), (True, None, None)])
def test_a_language_model_on_a_cpu_takes_the_micro_batches_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
    data_root: Path,
    tiny_planner: Path,
    tmp_path: Path,
    small: bool,
    given: int | None,
    expected: int | None,
) -> None:
    plan = plan_for("transformers", "cpu", "", small, True, False, None, "")
    monkeypatch.setattr(inputs, "plan_load", lambda model, **asked: plan)
    settings = {"base_model": str(tiny_planner), "data_root": str(data_root), "eval_samples": 0, "batch_size": 8}
    settings |= {"num_generations": 4, "output_dir": str(tmp_path / "run")} | ({"micro_batch_size": given} if given else {})
    config = launch.resolve_settings(settings, EnvironmentConfig(values={}))
    weights = {"easy": 1.0, "medium": 0.0, "hard": 0.0}
    found = inputs.gather_inputs(config, lambda step, steps: weights, launch.starting_point(config))
    assert found.config.micro_batch_size == expected


def test_a_run_records_its_choice_and_a_continued_one_keeps_it(
    monkeypatch: pytest.MonkeyPatch, data_root: Path, tiny_planner: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from grpo_project.runs.checkpoint import begin, commit

    given = {"base_model": str(tiny_planner), "data_root": str(data_root), "eval_samples": 0, "batch_size": 4}
    config = launch.resolve_settings({**given, "output_dir": str(tmp_path / "run")}, EnvironmentConfig(values={}))
    found = _gathered(config, monkeypatch, 24)
    choice = {"micro_batch_size": 1, "use_gradient_checkpointing": True, "sampling_batch_size": 4}
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("Chosen")] == [found.forecast.choice]
    assert found.forecast.chosen == choice and {name: getattr(found.config, name) for name in choice} == choice
    assert {found.config.sources[name] for name in choice} == {MEMORY_ESTIMATE}
    assert {name: found.identity.settings[name] for name in choice} == choice

    folder = begin(tmp_path / "run", 1)
    (folder / "run_state.json").write_text(json.dumps(found.identity.state_dict()))
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 1, "train_batch_size": 8}))
    checkpoint = commit(tmp_path / "run", 1)
    again = launch.resolve_settings({"resume_from_checkpoint": str(checkpoint)}, EnvironmentConfig(values={}))
    kept = _gathered(again, monkeypatch, 80)
    assert kept.forecast.chosen == {} and {name: getattr(kept.config, name) for name in choice} == choice
    assert "Chosen" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--sampling_batch_size is 2 .*, but the run being continued has 4"):
        launch.resolve_settings({"resume_from_checkpoint": str(checkpoint), "sampling_batch_size": 2})


def test_a_step_is_sampled_in_parts_of_whole_groups() -> None:
    config = TrainingConfig(batch_size=8, num_generations=4, gradient_accumulation_steps=2)
    assert batch_shape(config, "cuda").completions_sampled_at_once == 64
    parts = replace(config, sampling_batch_size=3)
    assert batch_shape(parts, "cuda").completions_sampled_at_once == 12
    assert batch_shape(replace(config, sampling_batch_size=100), "cuda", 2).completions_sampled_at_once == 32
