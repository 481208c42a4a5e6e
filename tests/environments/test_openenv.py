"""The OpenEnv server, asked by OpenEnv's own client: rollouts of a real model, several at once, and what is no request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from grpo_project.configs.reward import RewardConfig
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.evaluation.conversation import words_on_failure
from grpo_project.pddl import validate_text
from grpo_project.rewards import make_reward_function
from tests.environments.conftest import PLANNER, block_of, marks
from tests.served import ROOT, serving

pytestmark = marks("openenv")

REPAIRS, PROBLEMS = 1, 6


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server, started by its own command."""
    command = [sys.executable, "-m", "pddl_planning.openenv_server", "--domains", "ferry", "--prompt_style", "compact_by_name"]
    with serving([*command, "--repair_turns", REPAIRS], tmp_path_factory.mktemp("openenv") / "server.log") as base_url:
        yield base_url.removesuffix("/v1")


@pytest.fixture(scope="module")
def table() -> RowTable:
    return read_rows(ROOT / "data" / "test", ["ferry"])


def client(address: str) -> Any:
    from openenv.core import GenericEnvClient

    return GenericEnvClient(base_url=address).sync()


def test_rollouts_of_a_served_model_get_the_rewards_of_training(environment: str, served_planner: str, table: RowTable) -> None:
    from openai import OpenAI

    model = OpenAI(base_url=served_planner, api_key="none")
    reward = make_reward_function(table, RewardConfig())
    lengths = []
    with client(environment) as env:
        for index in range(PROBLEMS):
            task = table.task(index)
            result = env.reset(index=index)
            assert result.observation["text"] == row_prompt(table.rows[index], "compact_by_name")
            turns: list[Any] = []
            while not result.done:
                turns.append({"role": "user", "content": result.observation["text"]})
                asked = {"messages": turns, "temperature": 0, "max_tokens": 128}
                plan = model.chat.completions.create(model=str(PLANNER), **asked).choices[0].message.content
                turns.append({"role": "assistant", "content": plan})
                result = env.step({"plan": plan})
                assert [result.reward] == reward(prompts=[""], completions=[plan], row_index=[index])
                assert result.observation["solved"] == validate_text(task, plan).success
                if not result.observation["solved"]:
                    assert result.observation["text"] == words_on_failure(task, plan, "state", "strict", "compact_by_name")
            assert env.state()["step_count"] == len(turns) / 2
            lengths.append(len(turns) / 2)
    assert set(lengths) == {1, 1 + REPAIRS}


def test_each_client_has_a_rollout_of_its_own_and_one_that_leaves_harms_none(environment: str, table: RowTable) -> None:
    first, second = client(environment), client(environment)
    with first:
        first.reset(index=0)
        with second:
            second.reset(index=1)
            assert not second.step({"plan": "no plan"}).done
        result = first.step({"plan": table.rows[0].response})
        assert (result.done, result.reward, result.observation["solved"]) == (True, 1.0, True)
        late = first.step({"plan": "no plan"})
        assert late.reward == 1.0 and "decided before" in late.observation["text"]
        assert first.reset(seed=5).observation == first.reset(seed=5).observation


def test_the_pages_client_runs(environment: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(block_of("OpenEnv", "python").replace("http://127.0.0.1:8001", environment), {})
    assert capsys.readouterr().out.endswith("\nnot ? -1.0 False\n")


def test_what_is_no_request_is_one_line_and_the_session_goes_on(environment: str, table: RowTable) -> None:
    with client(environment) as env:
        with pytest.raises(RuntimeError, match="call reset first"):
            env.step({"plan": ""})
        with pytest.raises(RuntimeError, match="there is no problem 200: the data root has 200, counted from 0"):
            env.reset(index=200)
        env.reset(index=0)
        with pytest.raises(RuntimeError, match="VALIDATION_ERROR"):
            env.step({"steps": []})
        assert env.step({"plan": table.rows[0].response}).reward == 1.0


def test_a_mistyped_setting_ends_the_server_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from pddl_planning.openenv_server import main

    assert main(["--repair_detail", "all"]) == 2
    assert capsys.readouterr().err == "error: repair_detail must be one of failed, step, state, got 'all'\n"
