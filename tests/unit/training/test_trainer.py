"""Whole runs on a random planner: what reaches the reward, what is written, and that the same seed gives the same weights."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.errors import ConfigError, DataError, RewardError, RunExists  # noqa: E402
from grpo_project.pddl import compile_task, find_plan, render_plan  # noqa: E402
from grpo_project.runs.checkpoint import begin, commit  # noqa: E402
from grpo_project.training import launch  # noqa: E402
from grpo_project.training.inputs import gather_inputs  # noqa: E402
from grpo_project.training.launch import starting_point  # noqa: E402
from grpo_project.training.run import train  # noqa: E402

pytestmark = pytest.mark.slow


def schedule(step: int, max_steps: int) -> dict[str, float]:
    return {"easy": 1.0, "medium": 0.0, "hard": 0.0} if step < 2 else {"easy": 0.2, "medium": 0.4, "hard": 0.4}


@pytest.fixture
def settings(data_root: Path, tiny_planner: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "base_model": str(tiny_planner),
        "data_root": str(data_root),
        "output_dir": str(tmp_path / "run"),
        "batch_size": 4,
        "num_generations": 4,
        "max_steps": 4,
        "max_completion_length": 12,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_steps": 2,
        "eval_samples": 0,
        "use_wandb": False,
        "beta": 0.0,
    }


@pytest.fixture
def reward_calls(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Row indices of every call of the reward function. Rewards depend on the text, so that a random model has a gradient."""
    from grpo_project import rewards

    calls: list[list[int]] = []
    make = rewards.make_reward_function

    def recording(*arguments: Any) -> Any:
        inner = make(*arguments)

        def planning_reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
            calls.append(list(columns["row_index"]))
            honest = inner(prompts, completions, **columns)
            texts = [completion[0]["content"] for completion in completions]
            return [value + 0.1 * (len(text) % 5) for value, text in zip(honest, texts, strict=True)]

        return planning_reward

    monkeypatch.setattr(rewards, "make_reward_function", recording)
    return calls


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def _records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("micro", [None, 2])
def test_the_rows_that_reach_the_reward_are_the_plans(
    settings: dict[str, Any], reward_calls: list[list[int]], micro: int | None
) -> None:
    config = TrainingConfig(**settings, gradient_accumulation_steps=2, micro_batch_size=micro)
    inputs = gather_inputs(config, schedule, starting_point(config))
    assert train(config, schedule) == 0
    assert len(reward_calls) == config.max_steps
    for step, seen in enumerate(reward_calls):
        first, second = inputs.curriculum.planner.plan(2 * step), inputs.curriculum.planner.plan(2 * step + 1)
        planned = [*first.row_indices, *second.row_indices]
        assert seen == [row for row in planned for _ in range(config.num_generations)]
        for batch in (seen[: len(seen) // 2], seen[len(seen) // 2 :]):
            quota = Counter(inputs.data.rows.rows[row].scenario for row in batch)
            assert quota == dict.fromkeys(inputs.data.rows.domains, 4)
        assert first.step == second.step == step
    early = {inputs.data.buckets.of_row[row] for seen in reward_calls[:2] for row in seen}
    late = {inputs.data.buckets.of_row[row] for seen in reward_calls[2:] for row in seen}
    assert early == {"easy"} and late - early


def test_completions_are_used_twice_and_batches_follow_where_asked(
    settings: dict[str, Any], reward_calls: list[list[int]]
) -> None:
    config = TrainingConfig(**settings, num_iterations=2)
    inputs = gather_inputs(config, schedule, starting_point(config))
    assert train(config, schedule) == 0
    assert [seen[:: config.num_generations] for seen in reward_calls] == [
        list(inputs.curriculum.planner.plan(batch).row_indices) for batch in range(2)
    ]
    assert [inputs.curriculum.planner.plan(batch).step for batch in range(2)] == [0, 2]


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(
    settings: dict[str, Any], reward_calls: list[list[int]], tmp_path: Path, beta: float
) -> None:
    found = []
    for name, seed in (("first", 1), ("second", 1), ("third", 2)):
        changed = {"output_dir": str(tmp_path / name), "seed": seed, "max_steps": 3, "beta": beta}
        assert train(TrainingConfig(**{**settings, **changed}), schedule) == 0
        found.append(_weights(tmp_path / name / "model"))
    first, second, third = found
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_a_continued_run_ends_where_the_uninterrupted_one_does(
    settings: dict[str, Any], reward_calls: list[list[int]], tmp_path: Path, algorithm: str
) -> None:
    settings |= {"algorithm": algorithm}
    straight = TrainingConfig(**{**settings, "output_dir": str(tmp_path / "straight")})
    assert train(straight, schedule) == 0
    whole = [list(seen) for seen in reward_calls]
    reward_calls.clear()

    assert train(TrainingConfig(**settings), schedule) == 0
    run = Path(settings["output_dir"])
    lines = _records(run)
    (run / "model").rename(run / "model-of-the-first-attempt")
    reward_calls.clear()
    again = launch.resolve_settings({"resume_from_checkpoint": str(run / "checkpoint-2")})
    assert train(again, schedule) == 0
    assert reward_calls == whole[2:]
    ours, theirs = _weights(run / "model"), _weights(tmp_path / "straight" / "model")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [record["step"] for record in _records(run)] == [1, 2, 3, 4]
    superseded = [json.loads(line)["step"] for line in (run / "metrics.superseded.jsonl").read_text().splitlines()]
    assert superseded == [3, 4]
    for before, after in zip(lines, _records(run), strict=True):
        for noise in ("seconds_per_step", "tokens_seen"):
            before.pop(noise, None), after.pop(noise, None)
        assert before == after

    with pytest.raises(ConfigError, match="the curriculum schedule changed"):
        train(again, lambda step, max_steps: {"easy": 1.0, "medium": 1.0, "hard": 1.0})


def test_a_checkpoint_of_garbage_ends_in_one_line_also_where_its_manifest_calls_it_whole(settings: dict[str, Any]) -> None:
    run = Path(settings["output_dir"])
    assert train(TrainingConfig(**settings), schedule) == 0
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors"):
        checkpoint = begin(run, 3)
        shutil.copytree(run / "checkpoint-2", checkpoint, dirs_exist_ok=True)
        state = json.loads((checkpoint / "trainer_state.json").read_text())
        (checkpoint / "trainer_state.json").write_text(json.dumps({**state, "global_step": 3}))
        (checkpoint / name).write_bytes(b"garbage")
        again = launch.resolve_settings({"resume_from_checkpoint": str(commit(run, 3))})
        with pytest.raises(ConfigError, match=r"checkpoint-3 cannot be loaded \(.*\): go on from another checkpoint$"):
            train(again, schedule)


def test_a_run_leaves_what_is_needed_to_read_and_to_repeat_it(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str], test_data_root: Path
) -> None:
    from grpo_project.models.generation import complete_greedy
    from grpo_project.models.loading import choose_backend, load_policy

    config = TrainingConfig(**{**settings, "eval_samples": 3, "test_data": str(test_data_root), "use_wandb": True})
    assert train(config, schedule) == 0
    run = Path(settings["output_dir"])
    shown = capsys.readouterr().out
    assert "Step 0/4: curriculum weights = {'easy': 1.0, 'medium': 0.0, 'hard': 0.0}" in shown
    assert "Step 2/4: curriculum weights = {'easy': 0.2, 'medium': 0.4, 'hard': 0.4}" in shown
    backend, _, reason = choose_backend()
    assert f"Backend: {backend}, because {reason}" in shown
    resolved = json.loads((run / "resolved_config.json").read_text())
    assert resolved["settings"]["batch_size"] == 4
    assert resolved["environment"]["packages"]["trl"]
    assert set(resolved["environment"]) >= {"commit", "uncommitted_changes", "python"}
    assert {"data", "schedule", "model", "tokenizer", "reward", "schedule_source"} <= set(resolved["fingerprints"])
    assert "step < 2" in resolved["schedule_source"]

    first, *records = _records(run)
    assert (first["step"], first["inference/step"]) == (0, 0) and "eval_avg_test_pass_rate" in first  # before training
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    wanted = {
        "reward",
        "success_rate",
        "success_rate_by_domain",
        "success_rate_by_difficulty",
        "curriculum_weights",
        "bucket_shares",
        "completion_length_mean",
        "entropy",
        "seconds_per_step",
    }
    assert wanted <= set(records[-1])
    assert {"generation", "reward", "log_probs", "backward", "total"} <= set(records[-1]["seconds_per_step"])
    assert records[0]["bucket_shares"] == {"easy": 1.0, "medium": 0.0, "hard": 0.0}
    assert set(records[-1]["success_rate_by_domain"]) == {"blocksworld", "ferry", "grippers", "spanner"}

    for when in ("before", "after"):
        assert (run / f"evaluation_{when}.json").is_file()
    samples = [json.loads(line) for line in (run / "completions.jsonl").read_bytes().split(b"\n") if line]
    assert [line["step"] for line in samples] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert {line["domain"] for line in samples} == {"blocksworld", "ferry", "grippers", "spanner"}
    assert records[0]["prompts_per_batch"] == {name: [1, 1] for name in ("blocksworld", "ferry", "grippers", "spanner")}
    table = (run / "results.md").read_text()
    assert "blocksworld" in table and "spanner" in table and table.strip() in shown
    policy = load_policy(str(run / "model"))
    assert policy.prompt_style == "compact"
    assert policy.card["trained_by_grpo"][0]["steps"] == 4
    assert len(complete_greedy(policy.model, policy.tokenizer, ["blocksworld b1"], 4)) == 1
    assert any((run / "wandb").glob("offline-run-*"))

    with pytest.raises(RunExists, match="already holds a run"):
        train(config, schedule)


def test_prompts_that_are_too_long_are_left_out_and_counted(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    from grpo_project.data.prompts import row_prompt
    from grpo_project.data.rows import read_rows
    from grpo_project.models.tokenizer import build_planner_tokenizer

    tokenizer = build_planner_tokenizer()
    rows = read_rows(settings["data_root"]).rows
    lengths = [len(tokenizer(row_prompt(row, "compact"))["input_ids"]) + 2 for row in rows]
    limit = max(
        min(n for row, n in zip(rows, lengths, strict=True) if row.scenario == name) for name in {r.scenario for r in rows}
    )
    dropped = sum(length > limit for length in lengths)
    assert 0 < dropped < len(rows)
    assert train(TrainingConfig(**{**settings, "max_prompt_length": limit, "max_steps": 2}), schedule) == 0
    assert f"{dropped} of {len(rows)} problems are left out: prompts are longer than" in capsys.readouterr().out


def test_a_run_that_cannot_begin_leaves_no_folder(settings: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="no .* problem is left: prompts are longer than --max_prompt_length 5"):
        train(TrainingConfig(**{**settings, "max_prompt_length": 5}), schedule)
    with pytest.raises(ConfigError, match="the model reads 512 tokens.*lower it to"):
        train(TrainingConfig(**{**settings, "max_completion_length": 512}), schedule)
    assert not Path(settings["output_dir"]).exists()


def test_sampling_penalties_reach_the_run_and_are_warned_of(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from grpo_project.models.penalties import AnswerPenalties

    widths: list[int] = []
    penalise = AnswerPenalties.__call__

    def counted(self: Any, input_ids: Any, scores: Any) -> Any:
        widths.append(input_ids.shape[1])
        return penalise(self, input_ids, scores)

    monkeypatch.setattr(AnswerPenalties, "__call__", counted)
    settings |= {"max_steps": 2, "presence_penalty": 0.3, "min_new_tokens": 6}
    assert train(TrainingConfig(**settings), schedule) == 0
    assert "warning: --presence_penalty, --min_new_tokens: completions are no longer drawn" in capsys.readouterr().out
    assert len(widths) >= 2 * 6  # a call for each token of both generations
    lines = (Path(settings["output_dir"]) / "metrics.jsonl").read_text().splitlines()
    shortest = [json.loads(line)["completion_length_min"] for line in lines if "completion_length_min" in line]
    assert len(shortest) == 2 and min(shortest) > 6  # six and the end


def test_rloo_learns_by_its_own_loss_on_the_same_batches(
    settings: dict[str, Any], reward_calls: list[list[int]], tmp_path: Path
) -> None:
    weights = {}
    for algorithm in ("grpo", "rloo"):
        changed = {"output_dir": str(tmp_path / algorithm), "algorithm": algorithm, "max_steps": 2}
        assert train(TrainingConfig(**{**settings, **changed}), schedule) == 0
        weights[algorithm] = _weights(tmp_path / algorithm / "model")
        assert {"loss", "entropy", "reward_std", "clip_ratio"} <= set(_records(tmp_path / algorithm)[-1])
    assert reward_calls[0] == reward_calls[2]
    assert any(not torch.equal(weights["grpo"][name], weights["rloo"][name]) for name in weights["grpo"])


def test_rewards_are_added_up_by_weight_and_named_in_the_log(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def brief(prompts, completions, **columns):\n    return [0.5 for _ in completions]\n")
    config = TrainingConfig(**{**settings, "max_steps": 2}, reward=("dense", f"{tmp_path / 'own.py'}:brief=0.2"))
    assert train(config, schedule) == 0
    record = _records(Path(settings["output_dir"]))[-1]
    assert record["reward_by_name"]["brief"] == 0.5
    assert record["reward"] == pytest.approx(record["reward_by_name"]["dense"] + 0.1)


def test_a_reward_function_that_fails_ends_the_run_in_one_line_that_names_it(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def bad(prompts, completions, **columns):\n    return [None for _ in completions]\n")
    config = TrainingConfig(**settings, reward=(f"{tmp_path / 'own.py'}:bad",))
    with pytest.raises(RewardError, match=r"the reward function bad of .*own.py returned None for completion 0") as refused:
        train(config, schedule)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("plan_reading", ["strict", "lenient"])
def test_the_reward_and_the_evaluations_read_answers_as_asked(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, plan_reading: str
) -> None:
    from grpo_project import rewards

    make, read = rewards.make_reward_function, []

    def in_prose(row: Any) -> str:
        return f"So:\n{render_plan(find_plan(compile_task(row.domain, row.problem)).steps or ())}"

    def reading(table: Any, *more: Any) -> Any:
        verify = more[2]
        read.append(verify(table.task(0), in_prose(table.rows[0])).success)
        return make(table, *more)

    def answers(*_: Any, **__: Any) -> Any:
        return lambda rows: list(map(in_prose, rows))

    monkeypatch.setattr(rewards, "make_reward_function", reading)
    monkeypatch.setattr("grpo_project.training.run.greedy_completions", answers)
    more = {"max_steps": 1, "save_steps": 1, "eval_samples": 1, "test_data": settings["data_root"], "plan_reading": plan_reading}
    assert train(TrainingConfig(**{**settings, **more}), schedule) == 0
    lenient = plan_reading == "lenient"
    assert read == [lenient]
    found = json.loads((Path(settings["output_dir"]) / "evaluation_after.json").read_text())
    assert found["average"] == float(lenient) and found["settings"] == ({"plan_reading": "lenient"} if lenient else {})
    assert set(found["successes_by_reading"].values()) == {0, len(found["problems"])}
