"""lm-eval and Inspect give the verdicts of script/evaluate.py: the three ask one server the same 1,000 questions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.rows import Row, read_rows
from grpo_project.evaluation.results import read_result
from grpo_project.pddl import VERDICT_CLASSES
from tests.environments.conftest import marks, what_a_block_prints
from tests.served import ROOT, run_script

pytestmark = [*marks("lm_eval"), *marks("inspect_ai"), pytest.mark.filterwarnings("ignore")]  # theirs


@cache
def rows() -> tuple[Row, ...]:
    return read_rows(ROOT / "data" / "test").rows


def answer_of(row: Row, index: int) -> str:
    """A reference plan as it is, shortened, without a step, in another order, with words around it; or no plan at all."""
    assert row.response is not None
    rng, steps = random.Random(index), row.response.strip().splitlines()
    without = rng.randrange(len(steps))
    ways = (
        row.response,
        "\n".join(steps[:-1]),
        "\n".join(steps[:without] + steps[without + 1 :]),
        "\n".join(rng.sample(steps, len(steps))),
        f"<think>First {steps[-1]}?</think>\n{row.response}",
        f"Here is the plan:\n{row.response}",
        "".join(rng.choice("(move a b)\n ") for _ in range(40)),
    )
    return ways[index % len(ways)]


@cache
def answers() -> dict[str, str]:
    """By prompt."""
    return {row.prompt: answer_of(row, index) for index, row in enumerate(rows())}


def reply(number: int, text: str) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"id": str(number), "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


@pytest.fixture
def server(stand_in: Callable[..., Any]) -> str:
    """The base URL of an endpoint with the answers."""

    def behave(number: int, body: dict[str, Any], headers: Any) -> tuple[int, dict[str, str], Any]:
        (turn,) = body["messages"]
        return 200, {"Content-Type": "application/json"}, reply(number, answers()[turn["content"]])

    return str(stand_in(behave).url)


@pytest.fixture
def expected(server: str, tmp_path: Path) -> dict[str, str]:
    """Prompt to verdict class, by script/evaluate.py."""
    run_script("evaluate.py", "--model", "m", "--base_url", server, "--output", tmp_path / "result.json")
    found = [problem.verdict_class for problem in read_result(tmp_path / "result.json").problems]
    assert set(found) == set(VERDICT_CLASSES)
    assert len(answers()) == len(found) == 1000
    return dict(zip((row.prompt for row in rows()), found, strict=True))


def test_lm_eval(server: str, expected: dict[str, str]) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager
    from pddl_planning.lm_eval_task import FOLDER

    model = {"model": "m", "base_url": f"{server}/chat/completions", "num_concurrent": 8, "tokenized_requests": False}
    how = {"task_manager": TaskManager(include_path=str(FOLDER)), "apply_chat_template": True}
    done = simple_evaluate(model="local-chat-completions", model_args=model, tasks=["pddl_planning"], **how)
    samples = done["samples"]["pddl_planning"]
    assert {one["doc"]["prompt"]: next(name for name in VERDICT_CLASSES if one[name]) for one in samples} == expected
    for name, times in Counter(expected.values()).items():
        assert done["results"]["pddl_planning"][f"{name},none"] == pytest.approx(times / 1000)


def inspected(base_url: str, folder: Path, **how: Any) -> Any:
    """The log of a run of Inspect."""
    from inspect_ai import eval as run

    model = {"model": "openai-api/standin/m", "model_base_url": base_url, "model_args": {"api_key": "none"}}
    often = {"display": "none", "max_connections": 16, "max_samples": 16, "log_realtime": False}
    (log,) = run("pddl_planning/pddl_planning", **model, **often, log_dir=str(folder), **how)
    assert log.status == "success", log.error
    return log


def test_inspect(server: str, expected: dict[str, str], tmp_path: Path) -> None:
    log = inspected(server, tmp_path / "logs")
    scores = {sample.metadata["prompt"]: sample.scores["verified"] for sample in log.samples}
    assert {prompt: score.metadata["verdict_class"] for prompt, score in scores.items()} == expected
    solved = Counter(expected.values())["success_plans"]
    assert sum(score.value == "C" for score in scores.values()) == solved
    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(solved / 1000)


def test_inspects_repairs_follow_the_verdict_and_the_plan_before_one_that_is_too_long_counts(
    stand_in: Callable[..., Any], tmp_path: Path
) -> None:
    first, second, third = rows()[:3]
    wrong = "(pick-up b99)"

    def behave(number: int, body: dict[str, Any], headers: Any) -> tuple[int, dict[str, str], Any]:
        question, *more = (turn["content"] for turn in body["messages"])
        if more and question == second.prompt:
            message = "This model's maximum context length is 512 tokens. However, you requested 900 tokens."
            return 400, {}, {"error": {"message": message, "code": "context_length_exceeded"}}
        plan = third.response if question == third.prompt else first.response if more else wrong
        return 200, {"Content-Type": "application/json"}, reply(number, plan)

    server = stand_in(behave)
    task = {"domains": first.scenario, "repair_turns": 2, "repair_detail": "failed"}
    samples = inspected(server.url, tmp_path / "logs", task_args=task, limit=3).samples
    scores = [sample.scores["verified"] for sample in samples]
    assert [(score.value, score.answer) for score in scores] == [("C", first.response), ("I", wrong), ("C", third.response)]
    assert len(server.requests) == 2 + 2 + 1
    assert samples[0].messages[2].text.startswith("The plan fails.\n\nWrite the whole plan again")


@pytest.mark.parametrize(("heading", "printed"), [("lm-eval", "success_plans"), ("Inspect", "accuracy")])
def test_the_pages_commands_run(heading: str, printed: str, served_planner: str, tmp_path: Path) -> None:
    assert printed in what_a_block_prints(heading, served_planner, tmp_path)
