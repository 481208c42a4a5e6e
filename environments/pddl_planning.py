"""Planning problems as a taskset of `verifiers` (0.4, its v1 interface): prompt in, plan out, the reward of training.

    PYTHONPATH=.:environments vf-validate pddl-planning --only-gold --runtime.type subprocess

verifiers finds a taskset by the name of a top-level module and its `__all__`, so this file stands outside the package.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from grpo_project.configs.reward import RewardConfig
from grpo_project.data.origin import Origin
from grpo_project.data.rows import read_rows
from grpo_project.errors import BackendMissing
from grpo_project.pddl import Task, Verdict, compile_task, parse_domain, parse_problem, validate_text
from grpo_project.rewards.score import score

try:
    import verifiers.v1 as vf
except ImportError as error:
    raise BackendMissing(
        "the verifiers environment needs the package verifiers, which cannot share an environment with the training packages: "
        "pip install verifiers==0.4.0 numpy into one of its own"
    ) from error

__all__ = ["PlanningTaskset"]

TASKS_REMEMBERED = 4096


class PlanningData(vf.TaskData):
    """One problem as plain text. `reference_plan` is None where the row has none."""

    scenario: str
    domain_pddl: str
    problem_pddl: str
    reference_plan: str | None = None


class PlanningTaskConfig(vf.TaskConfig):
    """`reward` is a RewardConfig mode: dense, banded or sparse."""

    reward: str = "dense"


@lru_cache(TASKS_REMEMBERED)
def _compiled(domain_pddl: str, problem_pddl: str, name: str) -> Task:
    """Once for all the answers to a problem, each of which is verified twice: for the reward and for `solved`."""
    domain = parse_domain(domain_pddl, f"{name}:domain")
    return compile_task(domain, parse_problem(problem_pddl, domain, name))


class PlanningTask(vf.Task[PlanningData, vf.State, PlanningTaskConfig]):
    """Verifies the last reply of a trace."""

    def verdict(self, answer: str) -> Verdict:
        """The verdict on a raw answer. Raises PddlError where the data's PDDL does not parse."""
        return validate_text(_compiled(self.data.domain_pddl, self.data.problem_pddl, self.data.name or "problem"), answer)

    @vf.reward
    async def planning_reward(self, trace: vf.Trace) -> float:
        """In [-1, 1]; the number that training sees."""
        return score(self.verdict(trace.last_reply), RewardConfig(mode=self.config.reward)).total

    @vf.metric
    async def solved(self, trace: vf.Trace) -> float:
        """1.0 for a plan that solves the problem, else 0.0."""
        return float(self.verdict(trace.last_reply).success)

    async def validate(self, runtime: vf.Runtime) -> bool | None:
        """Whether the reference plan solves its problem; None without one."""
        plan = self.data.reference_plan
        return None if plan is None else self.verdict(plan).success


class PlanningTasksetConfig(vf.TasksetConfig):
    """`data_root`: folder with one <domain>.jsonl per domain. `problem_root`: folders in which the PDDL files that rows name are
    looked for too. `domains`: those to take; None for all."""

    data_root: str = "data/test"
    problem_root: list[str] = []
    domains: list[str] | None = None
    task: PlanningTaskConfig = PlanningTaskConfig()


class PlanningTaskset(vf.Taskset[PlanningTask, PlanningTasksetConfig]):
    """The rows of a data root, in their order."""

    def load(self) -> Iterable[PlanningTask]:
        """Raises DataError for a data root that cannot be used."""
        table = read_rows(Origin.of(self.config.data_root, self.config.problem_root), self.config.domains)
        for row in table.rows:
            data = PlanningData(
                name=row.problem_file,
                prompt=row.prompt,
                scenario=row.scenario,
                domain_pddl=row.domain_text,
                problem_pddl=row.problem_text,
                reference_plan=row.response,
            )
            yield PlanningTask(data, self.config.task)
