"""The taskset under verifiers itself where it is installed, and one clear line where it is not.

verifiers asks for other versions than training does: in an environment of its own,

    pip install verifiers==0.4.0 numpy pytest && PYTHONPATH=. python -m pytest -W default --noconftest tests/unit/environments
"""

import asyncio
import importlib.util
import sys
from pathlib import Path

import pytest

ENVIRONMENTS = Path(__file__).resolve().parents[3] / "environments"
INSTALLED = importlib.util.find_spec("verifiers") is not None and importlib.util.find_spec("verifiers.v1") is not None
needs_verifiers = pytest.mark.skipif(not INSTALLED, reason="verifiers is not installed beside the training packages")


@pytest.fixture
def taskset(monkeypatch):
    """The taskset as verifiers finds it: by the name of the module."""
    monkeypatch.syspath_prepend(str(ENVIRONMENTS))
    from verifiers.v1.utils import loaders

    def load(**settings):
        config = loaders.taskset_config_type("pddl-planning")(
            id="pddl-planning", data_root=str(ENVIRONMENTS.parent / "data" / "test"), **settings
        )
        return loaders.load_taskset(config)

    return load


def scored(task, *replies):
    """The trace of a rollout in which the model gave `replies`, scored by verifiers."""
    import verifiers.v1 as vf

    nodes = [vf.MessageNode(message=vf.UserMessage(content=task.data.prompt))]
    nodes += [vf.MessageNode(parent=i, message=vf.AssistantMessage(content=text), sampled=True) for i, text in enumerate(replies)]
    trace = vf.Trace(
        task=vf.TraceTask(type=type(task).__name__, data=task.data), agent=vf.AgentInfo(config=vf.AgentConfig()), nodes=nodes
    )
    asyncio.run(task.score(trace))
    return trace


@needs_verifiers
def test_verifiers_scores_as_training_does(taskset):
    from grpo_project.configs.reward import RewardConfig
    from grpo_project.data.rows import read_rows
    from grpo_project.rewards import make_reward_function

    table = read_rows(ENVIRONMENTS.parent / "data" / "test")
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


@needs_verifiers
def test_the_last_reply_counts_and_a_silent_model_fails(taskset):
    task = next(iter(taskset(domains=["ferry"])))
    plan = task.data.reference_plan
    assert scored(task, "Let me think.", plan).reward == 1.0
    assert scored(task, plan, "Or perhaps not.").reward == -1.0
    assert scored(task).reward == -1.0


@needs_verifiers
def test_reference_plans_pass_validation_and_settings_reach_the_tasks(taskset):
    tasks = list(taskset(domains=["spanner"], task={"reward": "sparse"}))
    assert {task.data.scenario for task in tasks} == {"spanner"}
    assert all(asyncio.run(task.validate(None)) for task in tasks[::20])
    half = tasks[0].data.reference_plan.strip().splitlines()[0]
    assert scored(tasks[0], half).reward == -1.0


@needs_verifiers
def test_a_task_survives_the_wire(taskset):
    task = next(iter(taskset()))
    assert type(task.data).model_validate_json(task.data.model_dump_json()) == task.data


@pytest.mark.skipif(INSTALLED, reason="verifiers is installed")
def test_without_verifiers_the_import_says_what_to_install(monkeypatch):
    from grpo_project.errors import BackendMissing

    monkeypatch.syspath_prepend(str(ENVIRONMENTS))
    monkeypatch.delitem(sys.modules, "pddl_planning", raising=False)
    with pytest.raises(BackendMissing, match="pip install verifiers"):
        importlib.import_module("pddl_planning")
