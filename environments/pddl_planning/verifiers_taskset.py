"""Planning problems under `verifiers` (its v1 interface): prompt in, plan out, repair turns where they are asked for.

vf-eval pddl-planning --model NAME --client.base-url http://127.0.0.1:8000/v1 --env.repair-turns 2 --no-push
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import httpx
import verifiers.v1 as vf
from pydantic import Field
from verifiers.v1.dialects.chat import message_to_wire

from grpo_project.configs.reward import REWARD_MODES
from grpo_project.pddl.explanation import DETAILS
from pddl_planning.core import DATA_ROOT, PlanningProblem, load_problems


class PlanningData(vf.TaskData):
    problem: PlanningProblem


class PlanningTaskConfig(vf.TaskConfig):
    reward: Literal[*REWARD_MODES] = "dense"


class PlanningTask(vf.Task[PlanningData, vf.State, PlanningTaskConfig]):
    """Verifies the last reply of a trace."""

    @vf.reward
    async def planning_reward(self, trace: vf.Trace) -> float:
        """In [-1, 1]; the number that training sees."""
        return self.data.problem.reward(trace.last_reply, self.config.reward)

    @vf.metric
    async def solved(self, trace: vf.Trace) -> float:
        """1.0 for a plan that solves the problem, else 0.0."""
        return float(self.data.problem.verdict(trace.last_reply).success)

    async def validate(self, runtime: vf.Runtime) -> bool | None:
        """Whether the reference plan solves its problem; None without one."""
        plan = self.data.problem.reference_plan
        return None if plan is None else self.data.problem.verdict(plan).success


class PlanningTasksetConfig(vf.TasksetConfig):
    """As for `load_problems`."""

    data_root: str = DATA_ROOT
    problem_root: list[str] = []
    domains: list[str] | None = None
    prompt_style: str = "full"
    task: PlanningTaskConfig = PlanningTaskConfig()


class PlanningTaskset(vf.Taskset[PlanningTask, PlanningTasksetConfig]):
    """The rows of a data root, in their order."""

    def load(self) -> Iterable[PlanningTask]:
        """Raises DataError for a data root that cannot be used."""
        given = self.config
        for problem in load_problems(given.data_root, given.domains, given.problem_root, given.prompt_style):
            yield PlanningTask(PlanningData(name=problem.name, prompt=problem.prompt, problem=problem), given.task)


class ChatHarness(vf.Harness[vf.HarnessConfig]):
    """Asks the model for one reply. verifiers' own `null` does so by a program that it installs with uv at the first rollout."""

    APPENDS_SYSTEM_PROMPT = SUPPORTS_RESUME = True
    EXECUTES_CODE = NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        system, prompt = self.resolve_prompt(data)
        turns = [vf.UserMessage(content=prompt)] if isinstance(prompt, str) else list(prompt or ())
        if system is not None:
            turns.insert(0, vf.SystemMessage(content=system))
        request = {"model": ctx.model, "messages": [message_to_wire(turn) for turn in turns]}
        async with httpx.AsyncClient(timeout=None, trust_env=False) as client:  # verifiers' timeouts stand around it
            reply = await client.post(f"{endpoint}/chat/completions", headers={"Authorization": f"Bearer {secret}"}, json=request)
        return vf.ProgramResult(exit_code=int(reply.is_error), stdout="", stderr=reply.text if reply.is_error else "")


class PlanningEnvironmentConfig(vf.EnvConfig):
    """`repair_turns`: how often a plan that fails goes back with the verifier's words. `repair_detail`: how much they tell."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())
    repair_turns: int = Field(0, ge=0)
    repair_detail: Literal[*DETAILS] = DETAILS[-1]


class PlanningEnvironment(vf.Env[PlanningEnvironmentConfig]):
    """A conversation of plans and verdicts, in which the last plan counts."""

    async def run(self, task: PlanningTask, agents: vf.Agents) -> None:
        if not self.config.repair_turns:
            await agents.agent.run(task)
            return
        async with agents.agent.interaction(task) as conversation:
            answer = await conversation.turn()
            for _ in range(self.config.repair_turns):
                words = None if answer.terminated else task.data.problem.words(answer.last_reply, self.config.repair_detail)
                if words is None:
                    break
                answer = await conversation.turn(words)
