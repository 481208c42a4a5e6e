"""Real trainings that are broken on purpose, one for each condition: what stops them, what only warns, and a sound, silent one.

Most models here draw every token from the same probabilities, whatever they read (`write_planner_with_probabilities`).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.reporting import page_data, read_run, render_page  # noqa: E402
from grpo_project.reporting.alarms import alarms  # noqa: E402
from grpo_project.runs.checkpoint import survey  # noqa: E402
from grpo_project.training.endings import ANOMALY  # noqa: E402
from grpo_project.training.launch import resolve_settings  # noqa: E402
from grpo_project.training.run import train  # noqa: E402
from tests.unit.conftest import write_tiny_planner  # noqa: E402

pytestmark = pytest.mark.slow
Settings = dict[str, Any]


def schedule(step: int, max_steps: int) -> dict[str, float]:
    return {"easy": 0.5, "medium": 0.5, "hard": 0.0}


@pytest.fixture
def settings(data_root: Path, tiny_planner: Path, tmp_path: Path) -> Settings:
    return {
        "base_model": str(tiny_planner),
        "data_root": str(data_root),
        "output_dir": str(tmp_path / "run"),
        "batch_size": 4,
        "num_generations": 4,
        "max_steps": 2,
        "max_completion_length": 12,
        "logging_steps": 1,
        "save_steps": 1,
        "eval_samples": 0,
        "report_to": ("none",),
        "beta": 0.0,
    }


def write_planner_with_probabilities(folder: Path, probabilities: Mapping[str, float], eos: str = "<eos>") -> Path:
    """A planner that draws each token with log-probabilities as given, 0 where it is not named, at every place of every text.

    Its layers add nothing and its embeddings are all the same, so the last state is a vector of ones wherever it looks.
    """
    from transformers import AutoTokenizer, LlamaForCausalLM

    write_tiny_planner(folder)
    model, tokenizer = LlamaForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(1.0)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        for token, value in probabilities.items():
            assert token in tokenizer.get_vocab(), token
            model.lm_head.weight[tokenizer.get_vocab()[token]] = value / model.config.hidden_size
    if eos != "<eos>":
        tokenizer.eos_token = eos
        # Generation is made to stop where the template ends an answer (models/loading.py): not at what the model was taught.
        tokenizer.chat_template = tokenizer.chat_template.replace("<eos>", eos)
        model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def planner_with(tmp_path: Path) -> Callable[..., str]:
    return lambda probabilities, **how: str(write_planner_with_probabilities(tmp_path / "probabilities", probabilities, **how))


@pytest.fixture
def reward_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int, str], float]], None]:
    """Rewards from `earn(call number from 0, text)` in the place of verdicts."""
    from grpo_project import rewards

    make = rewards.make_reward_function

    def use(earn: Callable[[int, str], float]) -> None:
        def made(*arguments: Any) -> Any:
            inner, calls = make(*arguments), iter(range(10**6))

            def planning_reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
                inner(prompts, completions, **columns)
                call = next(calls)
                return [earn(call, completion[0]["content"]) for completion in completions]

            return planning_reward

        monkeypatch.setattr(rewards, "make_reward_function", made)

    return use


def records_of(settings: Settings) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(settings["output_dir"]) / "metrics.jsonl").read_text().splitlines()]


def raised(settings: Settings) -> list[tuple[str, str, int]]:
    """(level, name, step) of every alarm in the log."""
    return [
        (alarm["level"], alarm["name"], alarm["step"]) for record in records_of(settings) for alarm in record.get("alarms", ())
    ]


def names(settings: Settings) -> set[str]:
    return {name for _, name, _ in raised(settings)}


def in_report(settings: Settings) -> list[tuple[str, str, int | None]]:
    return [(alarm.level, alarm.name, alarm.step) for alarm in alarms(read_run(settings["output_dir"])) if alarm.name]


def assert_stopped(settings: Settings, name: str, step: int, capsys: pytest.CaptureFixture[str]) -> str:
    """The run ended at `step` by `name`, in order; returns what it said."""
    shown = capsys.readouterr()
    run = Path(settings["output_dir"])
    assert records_of(settings)[-1]["step"] == step and ("error", name, step) in raised(settings)
    assert records_of(settings)[-1]["alarm"][name] == 1
    assert f"Stopped at step {step} by {name}. " in shown.err
    assert all(found.good for found in survey(run)) and len(survey(run)) == step - 1  # save_steps is 1
    assert not (run / "model").exists()
    assert ("error", name, step) in in_report(settings)
    assert len([one for one in in_report(settings) if one[1] == name]) == 1
    assert f'"{name}"' in render_page(page_data([read_run(run)]))
    return shown.out


# -- what stops a run -----------------------------------------------------------------------------------------------------


def test_a_sound_run_stays_silent(settings: Settings, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped planner on the shipped problems, watched as soon as 64 of its answers are there."""
    own = {"base_model": str(repository / "data/models/tiny-planner"), "data_root": str(repository / "data/four_domain")}
    own |= {"max_steps": 6, "max_completion_length": 128}
    own |= {"alarm_thresholds": ("enough_completions=64",)}
    settings |= own
    assert train(TrainingConfig(**settings), schedule) == 0
    records = records_of(settings)
    assert raised(settings) == [] and in_report(settings) == []
    assert [record["alarm_count"] for record in records] == [0] * 6
    for name in ("prompt_in_answers", "repeated_end_tokens", "prompts_not_opened", "zero_entropy_answers", "one_token_answers"):
        assert [record[name] for record in records] == [0.0] * 6
    shown = capsys.readouterr().out
    assert "异常" not in shown and "Alarm" not in shown
    assert [line for line in shown.splitlines() if line.startswith("Diagnosis of step")] == [
        f"Diagnosis of step {step} (docs/diagnosis.md reads these lines):" for step in (1, 2)
    ]


def entropy_of(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """Mean nats per token of one answer alone, without padding."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    return float(torch.distributions.Categorical(logits=logits).entropy().mean())


def test_the_boundary_lines_show_the_very_tokens_of_the_loss(
    settings: Settings,
    tiny_planner: Path,
    reward_by: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from transformers import AutoTokenizer, LlamaForCausalLM

    from grpo_project.models import cpu_planner

    learned: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    trim = cpu_planner.trim_padding

    def watched(inputs: Mapping[str, Any]) -> dict[str, Any]:
        sides = [
            [tuple(ids[mask.bool()].tolist()) for ids, mask in zip(inputs[f"{side}_ids"], inputs[f"{side}_mask"], strict=True)]
            for side in ("prompt", "completion")
        ]
        learned.update(zip(*sides, strict=True))
        return trim(inputs)

    monkeypatch.setattr(cpu_planner, "trim_padding", watched)
    reward_by(lambda call, text: len(text) % 5)
    assert train(TrainingConfig(**settings, diagnose_steps=1), schedule) == 0
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_planner), LlamaForCausalLM.from_pretrained(tiny_planner)
    shown = capsys.readouterr().out
    samples = re.findall(
        r"Response部分\(前120字符,含special\): (.*)  # .*\n  边界附近Token: ('.*') \| ('.*')  # .*\n  Token统计:  # .*\n"
        r"    Prompt: (\d+)个<eos> tokens, (\d+)个padding, (\d+) tokens\n    Response: (\d+)个<eos> tokens, (\d+) tokens\n"
        r"  (\w+)样本 \d: entropy=([\d.]+)",
        shown,
    )
    assert len(samples) == 2 and "Diagnosis of step 2" not in shown
    padded = set()
    for text, before, after, ends_before, padding, width, ends, length, domain, entropy in samples:
        decode = lambda tokens: tokenizer.decode(list(tokens))  # noqa: E731
        (found,) = [
            (prompt, answer)
            for prompt, answer in learned
            if (decode(answer)[:120], decode(prompt[-12:]), decode(answer[:12]))
            == (ast.literal_eval(text), ast.literal_eval(before), ast.literal_eval(after))
        ]
        prompt, answer = found
        assert (len(prompt), len(answer)) == (int(width), int(length)) and decode(prompt).startswith(f"<|user|>{domain}")
        assert int(ends_before) == 0 and int(ends) == answer.count(tokenizer.eos_token_id)
        assert decode(prompt).endswith("<|assistant|>")
        assert abs(entropy_of(model, prompt, answer) - float(entropy)) < 2e-3
        padded.add(len(prompt) + int(padding))
    assert len(padded) == 1, "padding fills every prompt to the longest"


# -- what stops a run -----------------------------------------------------------------------------------------------------


def test_prompt_tokens_in_the_answers_stop_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mistake of guide 003: answers cut out at the number of prompt tokens, where padding shifts them."""
    from grpo_project.models import cpu_planner

    decode = cpu_planner.decode_in_a_loop

    def mistaken(model: Any, ids: Any, mask: Any, how: cpu_planner.Decoding, draws: Any) -> Any:
        rows = decode(model, ids, mask, how, draws)
        whole = [ids[number // how.samples].tolist() + row for number, row in enumerate(rows)]
        return [row[int(mask[number // how.samples].sum()) :] for number, row in enumerate(whole)]

    monkeypatch.setattr(cpu_planner, "decode_in_a_loop", mistaken)
    assert train(TrainingConfig(**settings), schedule) == ANOMALY
    shown = assert_stopped(settings, "prompt_in_answers", 1, capsys)
    assert "⚠️ 异常: Response开头似乎包含chat header (prompt_in_answers, step 1). " in shown


def test_prompts_without_the_end_of_their_template_stop_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trl import GRPOTrainer

    tokenize = GRPOTrainer._tokenize_prompts

    def cut(self: Any, prompts: Any) -> Any:
        ids, *rest = tokenize(self, prompts)
        return ([row[:-1] for row in ids], *rest)

    monkeypatch.setattr(GRPOTrainer, "_tokenize_prompts", cut)
    assert train(TrainingConfig(**settings), schedule) == ANOMALY
    assert_stopped(settings, "prompts_not_opened", 1, capsys)


def test_an_end_of_turn_that_ends_nothing_stops_it(
    settings: Settings, planner_with: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The tokenizer names another end token than the one its model was taught: 12 of them fill an answer."""
    settings["base_model"] = planner_with({"<eos>": 12.0}, eos="<|user|>")
    assert train(TrainingConfig(**settings), schedule) == ANOMALY
    assert "⚠️ 异常: Full包含12个<eos> (repeated_end_tokens, step 1). " in assert_stopped(
        settings, "repeated_end_tokens", 1, capsys
    )


def test_no_entropy_in_the_first_steps_stops_it(
    settings: Settings, planner_with: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings["base_model"] = planner_with({"(sail": 40.0})
    assert train(TrainingConfig(**settings), schedule) == ANOMALY
    assert "⚠️ 异常: 熵=0.000 (zero_entropy, step 1). " in assert_stopped(settings, "zero_entropy", 1, capsys)


def test_no_entropy_later_only_warns(settings: Settings, planner_with: Callable[..., str]) -> None:
    """A policy may come to be sure of everything; that is no reason to lose it."""
    settings |= {"base_model": planner_with({"(sail": 40.0}), "diagnose_steps": 0, "alarm_thresholds": ("enough_completions=1",)}
    assert train(TrainingConfig(**settings), schedule) == 0
    assert ("warning", "zero_entropy", 1) in raised(settings) and ("warning", "zero_entropy", 1) in in_report(settings)


def test_a_gradient_that_is_no_number_stops_it_and_the_checkpoint_before_is_good(
    settings: Settings, reward_by: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    reward_by(lambda call, text: 3e38 if call == 1 else len(text) % 5)  # the sum of a group is beyond float32
    assert train(TrainingConfig(**{**settings, "max_steps": 4}), schedule) == ANOMALY
    assert_stopped(settings, "grad_norm_not_a_number", 2, capsys)
    reward_by(lambda call, text: len(text) % 5)
    resumed = {**settings, "max_steps": 4, "resume_from_checkpoint": "auto"}
    assert train(resolve_settings(resumed), schedule) == 0
    assert [record["step"] for record in records_of(settings)] == [1, 2, 3, 4]
    assert raised(settings) == [("warning", "equal_rewards", 3)]  # the verifier's own, before the test's rewards stand in


def test_with_warn_it_goes_on_and_tells_once(
    settings: Settings, planner_with: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings |= {"base_model": planner_with({"<eos>": 12.0}, eos="<|user|>"), "on_anomaly": "warn", "max_steps": 3}
    settings["report_to"] = ("wandb", "tensorboard")
    assert train(TrainingConfig(**settings), schedule) == 0
    assert raised(settings) == [("error", "repeated_end_tokens", 1), ("warning", "equal_rewards", 3)]
    assert [record["alarm"]["repeated_end_tokens"] for record in records_of(settings)] == [1, 1, 1]
    shown = capsys.readouterr().out
    assert shown.count("⚠️") == 1 and shown.count("Alarm at step 3, equal_rewards: The first rewards are all equal. All ") == 1
    run = Path(settings["output_dir"])
    assert (run / "model").is_dir()
    (journal,) = (run / "wandb_journal").glob("*.jsonl")
    points = [json.loads(line).get("point", {}) for line in journal.read_text().splitlines()]
    assert [point["alarm/repeated_end_tokens"] for point in points if "alarm_count" in point] == [1, 1, 1]
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("alarm/repeated_end_tokens")] == [1, 1, 1]


# -- what warns -----------------------------------------------------------------------------------------------------------

AT_ONCE = ("window=2", "enough_completions=16")


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        (
            {"<eos>": 12.0},
            {"one_token_answers", "empty_plans", "identical_completions", "zero_variance_groups"},
        ),
        ({"<eos>": -40.0}, {"completions_cut_off", "format_errors", "zero_variance_groups"}),
    ],
)
def test_answers_that_teach_nothing_are_named(
    settings: Settings, planner_with: Callable[..., str], probabilities: dict[str, float], expected: set[str]
) -> None:
    settings |= {"base_model": planner_with(probabilities), "alarm_thresholds": AT_ONCE}
    assert train(TrainingConfig(**settings), schedule) == 0
    assert names(settings) == expected
    assert {(level, step) for level, _, step in raised(settings)} == {("warning", 1)}
    assert {name for _, name, _ in in_report(settings)} == expected


def test_a_policy_that_runs_away_is_named(settings: Settings, reward_by: Callable[..., None]) -> None:
    """Far from where it began by its KL, and without the entropy that it had: a reward for one word, and steps far too large."""
    reward_by(lambda call, text: text.count("("))
    settings |= {"beta": 1e-3, "learning_rate": 0.03, "max_steps": 40, "scale_rewards": "group", "loss_type": "grpo"}
    settings |= {"alarm_thresholds": AT_ONCE}
    assert train(TrainingConfig(**settings), schedule) == 0
    assert {"kl", "entropy_collapse"} <= names(settings)


def test_a_gradient_spike_between_two_log_lines_is_named(settings: Settings, reward_by: Callable[..., None]) -> None:
    reward_by(lambda call, text: (len(text) % 5) * (100.0 if call == 22 else 0.01))
    settings |= {"max_steps": 24, "logging_steps": 2, "save_steps": 100, "max_completion_length": 6}
    assert train(TrainingConfig(**settings), schedule) == 0
    assert ("warning", "gradient_spike", 24) in raised(settings)
    assert [one for one in in_report(settings) if one[1] == "gradient_spike"] == [("warning", "gradient_spike", 24)]


# -- continued runs and several processes ---------------------------------------------------------------------------------


def test_a_continued_run_raises_the_same_alarms(
    settings: Settings, planner_with: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Faults and alarms that stood before the interruption are not told again; one that begins later is told at its step."""
    from grpo_project import rewards

    thresholds = ("enough_completions=40", "window=3")  # three steps of 16 completions: the window's alarms begin at step 3
    settings |= {"base_model": planner_with({"<eos>": 12.0}, eos="<|user|>"), "on_anomaly": "warn", "max_steps": 6}
    settings |= {"alarm_thresholds": thresholds, "logging_steps": 2, "save_steps": 2}
    assert train(TrainingConfig(**{**settings, "output_dir": str(tmp_path / "whole")}), schedule) == 0
    make = rewards.make_reward_function

    def interrupted(*arguments: Any) -> Any:
        inner, calls = make(*arguments), iter(range(100))

        def planning_reward(*asked: Any, **columns: Any) -> Any:
            if next(calls) == 4:
                raise KeyboardInterrupt
            return inner(*asked, **columns)

        return planning_reward

    monkeypatch.setattr(rewards, "make_reward_function", interrupted)
    assert train(TrainingConfig(**settings), schedule) == 130
    monkeypatch.setattr(rewards, "make_reward_function", make)
    assert train(resolve_settings({**settings, "resume_from_checkpoint": "auto"}), schedule) == 0

    def timeless(folder: Path) -> list[dict[str, Any]]:
        found = records_of({"output_dir": str(folder)})
        return [{name: value for name, value in record.items() if name != "seconds_per_step"} for record in found]

    assert timeless(tmp_path / "run") == timeless(tmp_path / "whole")
    steps = {name: step for _, name, step in raised(settings)}
    assert steps["repeated_end_tokens"] == 1 and steps["completions_cut_off"] == 4


def test_all_processes_stop_at_the_same_step(
    settings: Settings, planner_with: Callable[..., str], tmp_path: Path, repository: Path
) -> None:
    from tests.unit.training.test_killed_runs import Worker

    settings |= {"base_model": planner_with({"<eos>": 12.0}, eos="<|user|>"), "max_steps": 4}
    worker = Worker(repository)
    try:
        assert worker.train({**settings, "report_to": ["none"]}, tmp_path / "log", world_size=2) == [ANOMALY, ANOMALY]
    finally:
        worker.close()
    assert [record["step"] for record in records_of(settings)] == [1]
    assert raised(settings) == [("error", "repeated_end_tokens", 1)]
