"""The taskset under verifiers itself: rollouts by its own command, against a real model and against a server that dies."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grpo_project.configs.reward import RewardConfig
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import read_rows
from grpo_project.evaluation.conversation import words_on_failure
from grpo_project.evaluation.results import read_result
from grpo_project.pddl import validate_text
from grpo_project.rewards import make_reward_function
from tests.environments.conftest import PLANNER, marks, what_a_block_prints
from tests.served import ROOT, run_script

pytestmark = marks("verifiers")

MODEL = ("--model", PLANNER)
PROBLEMS = 6


def vf_eval(folder: Path, base_url: str, *flags: object) -> list[dict[str, Any]]:
    """The episodes of a run of verifiers' command, in the order of the tasks. Raises AssertionError where it fails."""
    command = [Path(sys.executable).with_name("vf-eval"), "pddl-planning", "--client.base-url", base_url, "--no-push", *flags]
    command += ["--output-dir", folder, "--run.name", "run"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    lines = (folder / "run" / "traces.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted(map(json.loads, lines), key=lambda episode: int(episode["task"]["data"]["idx"]))


def said(episode: dict[str, Any]) -> list[str]:
    """All turns of its conversation."""
    (trace,) = episode["traces"]
    return [node["message"]["content"] for node in trace["nodes"]]


def scored_by_verifiers(episode: dict[str, Any]) -> float:
    return float(episode["traces"][0]["rewards"]["planning_reward"]["score"])


def solved(episode: dict[str, Any]) -> bool:
    return bool(episode["traces"][0]["metrics"]["solved"])


def test_rollouts_of_a_served_model_end_as_evaluate_says(served_planner: str, tmp_path: Path) -> None:
    """Single-turn ones give the texts and verdicts of script/evaluate.py, asked of the same server; repairs follow from them."""
    where = ("--env.taskset.domains", '["ferry"]', "--env.taskset.prompt-style", "compact_by_name", "-n", PROBLEMS)
    asked = ("--domains", "ferry", "--samples", PROBLEMS, "--prompt_style", "compact_by_name", "--max_completion_length", 128)
    flags = (*MODEL, "--sampling.temperature", 0, "--sampling.max-tokens", 128, *where)
    single, repaired = (vf_eval(tmp_path / str(n), served_planner, *flags, "--env.repair-turns", n) for n in (0, 1))
    run_script("evaluate.py", *MODEL, "--base_url", served_planner, "--output", tmp_path / "result.json", *asked)
    expected = read_result(tmp_path / "result.json").problems
    table = read_rows(ROOT / "data" / "test", ["ferry"])
    reward = make_reward_function(table, RewardConfig())
    assert 0 < sum(problem.success for problem in expected) < len(expected) == PROBLEMS
    for index, problem in enumerate(expected):
        conversation = said(repaired[index])
        assert said(single[index]) == [row_prompt(table.rows[index], "compact_by_name"), problem.completion]
        assert solved(single[index]) == problem.success
        assert conversation[:2] == said(single[index])
        assert conversation[2:3] == list(
            filter(None, [words_on_failure(table.task(index), problem.completion, "state", "strict", "compact_by_name")])
        )
        assert len(conversation) == (2 if problem.success else 4)
        for episode in (single[index], repaired[index]):
            last = said(episode)[-1]
            assert solved(episode) == validate_text(table.task(index), last).success
            assert [scored_by_verifiers(episode)] == reward(prompts=[""], completions=[last], row_index=[index])


def test_a_server_that_dies_between_two_turns_costs_those_rollouts_alone(stand_in: Callable[..., Any], tmp_path: Path) -> None:
    """Errors are counted, the rest is kept, and --resume asks for what is missing and for nothing else."""
    plans = {row.prompt: row.response for row in read_rows(ROOT / "data" / "test", ["ferry"]).rows[:4]}
    easy = next(iter(plans))
    state = {"up": False}

    def behave(number: int, body: dict[str, Any], headers: Any) -> tuple[int, dict[str, str], Any]:
        first, *more = (turn["content"] for turn in body["messages"])
        if more and not state["up"]:
            return 503, {}, {"error": {"message": "the engine is dead"}}
        text = plans[first] if more or first == easy else "(sail l0 l0)"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return 200, {"Content-Type": "application/json"}, answer

    server = stand_in(behave)
    flags = ("--model", "m", "--env.taskset.domains", '["ferry"]', "-n", 4, "--env.repair-turns", 1)
    episodes = vf_eval(tmp_path, server.url, *flags)
    assert [episode["ok"] for episode in episodes] == [True, False, False, False]
    assert all("the engine is dead" in episode["traces"][0]["errors"][0]["message"] for episode in episodes[1:])
    state["up"], asked = True, len(server.requests)
    episodes = vf_eval(tmp_path, server.url, *flags, "--resume")
    assert [episode["ok"] and solved(episode) for episode in episodes] == [True] * 4
    assert len(server.requests) == asked + 3 * 2


def test_a_repair_that_would_not_fit_ends_the_rollout_and_the_plan_before_counts(
    stand_in: Callable[..., Any], tmp_path: Path
) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> tuple[int, dict[str, str], Any]:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "(sail l0 l0)"}}
        usage = {"prompt_tokens": 900, "completion_tokens": 10, "total_tokens": 910}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        return 200, {"Content-Type": "application/json"}, answer

    server = stand_in(behave)
    flags = ("--model", "m", "-n", 1, "--env.repair-turns", 2, "--env.agent.max-total-tokens", 900)
    (episode,) = vf_eval(tmp_path, server.url, *flags)
    assert (episode["ok"], scored_by_verifiers(episode), len(server.requests)) == (True, -1.0, 1)


def test_the_pages_commands_run(served_planner: str, tmp_path: Path) -> None:
    printed = what_a_block_prints("verifiers", served_planner, tmp_path)
    assert "4/4" in printed and "err 0.00" in printed and "solved" in printed


@pytest.fixture
def taskset() -> Callable[..., Any]:
    """The taskset as verifiers finds it: by its name."""
    from verifiers.v1.utils import loaders

    def load(**settings: Any) -> Any:
        config = loaders.taskset_config_type("pddl-planning")(id="pddl-planning", **settings)
        return loaders.load_taskset(config)

    return load


def scored(task: Any, *replies: str) -> Any:
    """The trace of a rollout in which the model gave `replies`, scored by verifiers."""
    import verifiers.v1 as vf

    nodes = [vf.MessageNode(message=vf.UserMessage(content=task.data.prompt))]
    nodes += [vf.MessageNode(parent=i, message=vf.AssistantMessage(content=text), sampled=True) for i, text in enumerate(replies)]
    trace = vf.Trace(
        task=vf.TraceTask(type=type(task).__name__, data=task.data), agent=vf.AgentInfo(config=vf.AgentConfig()), nodes=nodes
    )
    asyncio.run(task.score(trace))
    return trace


def test_verifiers_scores_as_training_does(taskset: Callable[..., Any]) -> None:
    table = read_rows(ROOT / "data" / "test")
    reward = make_reward_function(table, RewardConfig())
    tasks = list(taskset())
    assert len(tasks) == len(table) >= 50
    seen = set()
    for index in range(0, len(tasks), 97):
        plan = table.rows[index].response
        for answer in (plan, plan.strip().splitlines()[0], "", "I would rather not."):
            trace = scored(tasks[index], answer)
            assert [trace.reward] == reward(prompts=[""], completions=[answer], row_index=[index])
            assert trace.metrics == {"solved": float(trace.reward == 1.0)}
            seen.add(trace.reward)
    assert {-1.0, 1.0} < seen


def test_the_last_reply_counts_and_a_silent_model_fails(taskset: Callable[..., Any]) -> None:
    task = next(iter(taskset(domains=["ferry"])))
    plan = task.data.problem.reference_plan
    assert scored(task, "Let me think.", plan).reward == 1.0
    assert scored(task, plan, "Or perhaps not.").reward == -1.0
    assert scored(task).reward == -1.0


def test_reference_plans_pass_validation_and_settings_reach_the_tasks(taskset: Callable[..., Any]) -> None:
    tasks = list(taskset(domains=["spanner"], task={"reward": "sparse"}))
    assert {task.data.problem.scenario for task in tasks} == {"spanner"}
    assert all(asyncio.run(task.validate(None)) for task in tasks[::20])
    half = tasks[0].data.problem.reference_plan.strip().splitlines()[0]
    assert scored(tasks[0], half).reward == -1.0


def test_a_task_survives_the_wire(taskset: Callable[..., Any]) -> None:
    task = next(iter(taskset()))
    assert type(task.data).model_validate_json(task.data.model_dump_json()) == task.data
