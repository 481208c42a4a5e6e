"""Runs of a model with a chat template of its own: the same chats everywhere, recorded; cut-off thinking is alarmed on."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.errors import ConfigError, ModelError  # noqa: E402
from grpo_project.prompting import chat  # noqa: E402
from grpo_project.training.launch import resolve_settings  # noqa: E402
from grpo_project.training.run import train  # noqa: E402
from tests.thinking_model import ALWAYS_THINKS, NO_SYSTEM_TURN, PLAIN, UNSOUND, write_thinking_model  # noqa: E402


def schedule(step: int, max_steps: int) -> dict[str, float]:
    return {"easy": 1.0, "medium": 1.0, "hard": 1.0}


@pytest.fixture
def settings(data_root: Path, test_data_root: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "base_model": str(write_thinking_model(tmp_path / "model")),
        "data_root": str(data_root),
        "test_data": str(test_data_root),
        "output_dir": str(tmp_path / "run"),
        "batch_size": 4,
        "num_generations": 2,
        "max_steps": 1,
        "max_completion_length": 8,
        "logging_steps": 1,
        "save_steps": 1,
        "eval_samples": 1,
        "eval_every_n_steps": 0,
        "diagnose_steps": 1,
        "on_anomaly": "warn",
        "report_to": ("none",),
        "beta": 0.0,
    }


def prompts_seen(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """Filled as a run goes: the prompts that TRL tokenised, and those of evaluations."""
    from trl import GRPOTrainer

    import grpo_project.models.generation as generation

    trained: list[str] = []
    asked: list[str] = []
    tokenize, render = GRPOTrainer._tokenize_prompts, generation.render_chat

    def tokenized(self: Any, prompts: Any) -> Any:
        found = tokenize(self, prompts)
        trained.extend(self.processing_class.decode(ids) for ids in found[0])
        return found

    def rendered(*args: Any, **kwargs: Any) -> str:
        asked.append(render(*args, **kwargs))
        return asked[-1]

    monkeypatch.setattr(GRPOTrainer, "_tokenize_prompts", tokenized)
    monkeypatch.setattr(generation, "render_chat", rendered)
    return trained, asked


def test_a_run_and_its_evaluations_ask_in_the_same_chats_which_are_recorded_and_proposed_by_what_it_trained(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, asked = prompts_seen(monkeypatch)
    settings["system_prompt"] = "You write plans."
    assert train(TrainingConfig(**settings), schedule) == 0
    assert len(trained) == 8 and len(asked) == 2 * 4
    for text in (*trained, *asked):
        assert text.startswith("<|im_start|>system\nYou write plans.<|im_end|>\n<|im_start|>user\n")
        assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert "is asked for the plan alone (--enable_thinking false)" in capsys.readouterr().out
    run = Path(settings["output_dir"])
    chats = {"system_prompt": "You write plans.", "enable_thinking": False}
    assert json.loads((run / "resolved_config.json").read_text())["chat"] == chats
    for folder in (run / "model", run / "checkpoint-1"):
        assert json.loads((folder / "planner.json").read_text())["grpo_defaults"] == chats
    next_one = resolve_settings({"base_model": str(run / "model")})
    assert (next_one.system_prompt, next_one.enable_thinking) == ("You write plans.", False)
    for name, value in (("system_prompt", "Other."), ("enable_thinking", True), ("chat_template_kwargs", "{}")):
        with pytest.raises(ConfigError, match=f"--{name} is .*, but the run being continued has .*: leave it out"):
            resolve_settings({"resume_from_checkpoint": str(run / "checkpoint-1"), name: value})


def test_a_script_evaluates_a_model_in_the_chats_of_its_card_unless_others_are_asked_for(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import script.evaluate as evaluate

    model = write_thinking_model(tmp_path / "carded", system_prompt="You write plans.")
    _, asked = prompts_seen(monkeypatch)
    command = ["--model", str(model), "--data_root", settings["test_data"], "--samples", "1", "--max_completion_length", "4"]
    for flags, system, ending in (
        ([], "You write plans.", "<think>\n\n</think>\n\n"),
        (["--enable_thinking", "true", "--system_prompt", "Think."], "Think.", "assistant\n"),
    ):
        asked.clear()
        assert evaluate.main([*command, *flags, "--output", str(tmp_path / f"{len(flags)}.json")]) == 0
        assert len(asked) == 4 and all(f"system\n{system}<" in text and text.endswith(ending) for text in asked)
        recorded = json.loads((tmp_path / f"{len(flags)}.json").read_text())["settings"]
        assert recorded["system_prompt"] == system and recorded["enable_thinking"] is bool(flags)


def test_answers_that_are_cut_off_while_thinking_are_counted_alarmed_on_and_never_plans(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import script.evaluate as evaluate

    model = str(write_thinking_model(tmp_path / "thinker", ALWAYS_THINKS))
    changed = {"base_model": model, "alarm_thresholds": ("enough_completions=1",)}
    assert train(TrainingConfig(**{**settings, **changed}), schedule) == 0
    shown = capsys.readouterr().out
    assert "cut_off_while_thinking: Cut off while thinking. 100% of the latest" in shown
    assert "raise --max_completion_length" in shown
    (*_, record) = map(json.loads, (Path(settings["output_dir"]) / "metrics.jsonl").read_text().splitlines())
    assert record["cut_off_while_thinking"] == 1.0 and record["verdict_shares"] == {"plan_format_error": 1.0}
    data = ["--data_root", settings["test_data"], "--samples", "1", "--max_completion_length", "4"]
    assert evaluate.main(["--model", model, *data]) == 0
    assert "4 were cut off while thinking: raise --max_completion_length" in capsys.readouterr().out


@pytest.mark.parametrize("name", [*UNSOUND, "no_end_token"])
def test_every_entry_point_refuses_a_template_or_tokenizer_in_one_line_before_the_model_is_loaded(
    settings: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForCausalLM

    import script.evaluate as evaluate
    import script.train_sft as train_sft

    template, message = UNSOUND.get(name, (PLAIN, "its tokenizer names no end token"))
    model = write_thinking_model(tmp_path / "unsound", template)
    if name == "no_end_token":
        described = json.loads((model / "tokenizer_config.json").read_text())
        (model / "tokenizer_config.json").write_text(json.dumps({**described, "eos_token": None}))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("the model was loaded"))
    capsys.readouterr()  # a bar of the saving, where this is the first test
    with pytest.raises((ConfigError, ModelError), match=f"unsound:? {message}") as told:
        train(TrainingConfig(**{**settings, "base_model": str(model)}), schedule)
    said = [str(told.value)]
    out = ["--output_dir", settings["output_dir"]]
    for main, flags in (
        (evaluate.main, ["--model", str(model), "--data_root", settings["test_data"]]),
        (train_sft.main, ["--base_model", str(model), "--data_root", settings["data_root"], *out]),
    ):
        assert main(flags) == 2
        said.append(capsys.readouterr().err.strip())
    assert said[1] == said[2] == f"error: {said[0]}" and "\n" not in said[0]
    assert not Path(settings["output_dir"]).exists()


def test_a_flag_that_cannot_be_ends_in_one_line_before_the_model_is_loaded(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import grpo_project.training.run as run

    monkeypatch.setattr(run, "load_policy", lambda *_, **__: pytest.fail("the model was loaded"))
    thinker = str(write_thinking_model(tmp_path / "thinker", ALWAYS_THINKS))
    for changed, message in (
        (
            {"base_model": thinker, "enable_thinking": True},
            "--enable_thinking: the chat template of .*thinker has no such switch",
        ),
        ({"chat_template_kwargs": '{"enable_thinking": true}'}, "say it with --enable_thinking"),
    ):
        with pytest.raises(ConfigError, match=message) as told:
            train(TrainingConfig(**{**settings, **changed}), schedule)
        assert "\n" not in str(told.value) and not Path(settings["output_dir"]).exists()


def test_a_prompt_that_does_not_fit_the_context_is_not_asked_in_silence(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    import script.evaluate as evaluate

    command = ["--model", settings["base_model"], "--data_root", settings["test_data"], "--samples", "1"]
    assert evaluate.main([*command, "--max_completion_length", "1000"]) == 2
    assert "1000 new ones (--max_completion_length) do not fit a context of 1024" in capsys.readouterr().err


def test_an_end_of_turn_that_generation_would_not_stop_at_is_told_by_an_evaluation(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import script.evaluate as evaluate

    model = str(write_thinking_model(tmp_path / "ends", PLAIN.replace("<|im_end|>", "<|endoftext|>")))
    data = ["--data_root", settings["test_data"], "--samples", "1", "--max_completion_length", "4"]
    assert evaluate.main(["--model", model, *data]) == 0
    assert "ends an answer with <|endoftext|>, but generation stopped at <|im_end|>; now there too" in capsys.readouterr().err


def test_prompts_do_not_follow_the_clock_and_a_run_goes_on_with_the_prompts_that_it_began_with(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, _ = prompts_seen(monkeypatch)
    model = write_thinking_model(tmp_path / "dated", "{{ strftime_now('%H:%M:%S.%f') }} " + PLAIN)
    settings |= {"base_model": str(model), "eval_samples": 0}
    assert train(TrainingConfig(**settings), schedule) == 0
    assert all(text.startswith("00:00:00.000000 <|im_start|>") for text in trained) and trained
    monkeypatch.setattr(chat, "STANDING_CLOCK", datetime(2026, 1, 1, 12))  # as a template of another release of a library would
    going_on = {"resume_from_checkpoint": str(Path(settings["output_dir"]) / "checkpoint-1"), "max_steps": 2}
    with pytest.raises(ConfigError, match="the text that the chat template makes of the prompts changed since .*checkpoint-1"):
        train(TrainingConfig(**{**settings, **going_on}), schedule)


def test_a_template_without_a_system_turn_trains_with_its_text_before_the_users(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trained, asked = prompts_seen(monkeypatch)
    model = str(write_thinking_model(tmp_path / "strict", NO_SYSTEM_TURN))
    with caplog.at_level(logging.WARNING):
        assert train(TrainingConfig(**{**settings, "base_model": model, "system_prompt": "You write plans."}), schedule) == 0
    assert "--system_prompt: the chat template of" in caplog.text
    assert all(text.startswith("<|im_start|>user\nYou write plans.\n\n") for text in (*trained, *asked)) and trained
