"""What every framework here shares: problems as plain text, verdict and reward of an answer, words after a failure, rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from grpo_project.configs.reward import LOWEST, RewardConfig
from grpo_project.data.asked_words import table_in_asked_words
from grpo_project.data.origin import Origin
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import read_rows
from grpo_project.errors import ConfigError, DataError
from grpo_project.evaluation.conversation import words_on_failure
from grpo_project.pddl import Task, Verdict, compile_task, parse_domain, parse_problem, validate_text
from grpo_project.pddl.explanation import DETAILS
from grpo_project.pddl.lenient import STRICT
from grpo_project.prompting import PROMPT_STYLES
from grpo_project.rewards.score import score

TASKS_REMEMBERED = 4096
DATA_ROOT = "data/test"


@dataclass(frozen=True)
class PlanningProblem:
    """A row of a data root as plain text. `reference_plan` is None where the row has none; `prompt_style`: of PROMPT_STYLES."""

    name: str
    scenario: str
    prompt: str
    domain_pddl: str
    problem_pddl: str
    reference_plan: str | None = None
    prompt_style: str = PROMPT_STYLES[0]

    @property
    def task(self) -> Task:
        """Raises PddlError where the PDDL does not parse."""
        return _compiled(self.domain_pddl, self.problem_pddl, self.name)

    def verdict(self, answer: str) -> Verdict:
        """The verdict on a raw answer, as evaluate.py gives it."""
        return validate_text(self.task, answer)

    def reward(self, answer: str, mode: str = "dense") -> float:
        """In [-1, 1]; the number that training sees. `mode` is a RewardConfig mode: dense, banded or sparse."""
        return score(self.verdict(answer), RewardConfig(mode=mode)).total

    def words(self, answer: str, detail: str = DETAILS[-1]) -> str | None:
        """The user turn after an answer that fails; None after one that succeeds. `detail` is one of DETAILS."""
        return words_on_failure(self.task, answer, detail, STRICT, self.prompt_style)


@dataclass(frozen=True)
class RolloutSettings:
    """What a rollout is: `repair_turns`, how often a plan that fails may be answered by another; `repair_detail`, how much the
    verifier says of it, one of DETAILS; `reward`, a RewardConfig mode. Raises ConfigError for what cannot be."""

    repair_turns: int = 0
    repair_detail: str = DETAILS[-1]
    reward: str = "dense"

    def __post_init__(self) -> None:
        if self.repair_turns < 0:
            raise ConfigError(f"repair_turns must be at least 0, got {self.repair_turns}")
        if self.repair_detail not in DETAILS:
            raise ConfigError(f"repair_detail must be one of {', '.join(DETAILS)}, got {self.repair_detail!r}")
        RewardConfig(mode=self.reward)


@dataclass
class Rollout:
    """The plans for one problem, until one succeeds or no turn is left. `reward` is that of the last one, which counts; before
    there is one, the lowest."""

    problem: PlanningProblem
    settings: RolloutSettings = field(default_factory=RolloutSettings)
    plans: int = 0
    solved: bool = False
    reward: float = LOWEST

    def __post_init__(self) -> None:
        _ = self.problem.task  # PDDL that does not parse is heard of now, and not taken for a plan that fails

    @property
    def done(self) -> bool:
        return self.solved or self.plans > self.settings.repair_turns

    def submit(self, plan: str) -> str:
        """What is said of a plan. One that comes after the end changes nothing."""
        if self.done:
            return "This was decided before: no further plan counts."
        words = self.problem.words(plan, self.settings.repair_detail)
        self.plans, self.solved, self.reward = self.plans + 1, words is None, self.problem.reward(plan, self.settings.reward)
        return "The plan solves the problem." if words is None else words


def load_problems(
    data_root: str = DATA_ROOT,
    domains: Sequence[str] | str | None = None,
    problem_root: Sequence[str] | str = (),
    prompt_style: str = "full",
) -> list[PlanningProblem]:
    """The rows of a data root, in their order, with the rows' own prompts or, in another style, those of `row_prompt`, in the
    words that a model of this style is asked in.

    domains: those to take; None for all. problem_root: further folders in which the PDDL files that rows name are looked for.
    Either may be a text with commas: command lines give a list of one as that.
    Raises DataError for a data root that cannot be used, and ConfigError for a prompt style that there is not.
    """
    table = read_rows(Origin.of(data_root, _listed(problem_root)), None if domains is None else _listed(domains))
    rows = table_in_asked_words(table, prompt_style).rows
    asked = [row_prompt(row, prompt_style) for row in rows]
    return [
        PlanningProblem(row.problem_file, row.scenario, prompt, row.domain_text, row.problem_text, row.response, prompt_style)
        for row, prompt in zip(rows, asked, strict=True)
    ]


def _listed(names: Sequence[str] | str) -> Sequence[str]:
    return names.split(",") if isinstance(names, str) else names


def problem_at(problems: Sequence[PlanningProblem], index: int) -> PlanningProblem:
    """Raises DataError for an index that there is not."""
    if not 0 <= index < len(problems):
        raise DataError(f"there is no problem {index}: the data root has {len(problems)}, counted from 0")
    return problems[index]


@lru_cache(TASKS_REMEMBERED)
def _compiled(domain_pddl: str, problem_pddl: str, name: str) -> Task:
    """Once for all the answers to a problem, each of which is verified several times."""
    domain = parse_domain(domain_pddl, f"{name}:domain")
    return compile_task(domain, parse_problem(problem_pddl, domain, name))
