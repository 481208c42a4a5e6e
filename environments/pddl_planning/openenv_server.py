"""Planning problems as an OpenEnv server: `reset` gives a problem, each `step` is a plan, and what the verifier says comes back.

python -m pddl_planning.openenv_server --data_root data/test --repair_turns 2 --port 8000
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI
from openenv.core.env_server import Action, Environment, Observation, State, create_app

from grpo_project.common.entry_point import entry_point
from grpo_project.errors import ConfigError
from grpo_project.pddl.explanation import DETAILS
from pddl_planning.core import DATA_ROOT, PlanningProblem, Rollout, RolloutSettings, load_problems, problem_at


class PlanAction(Action):
    """`plan`: an answer as the model wrote it."""

    plan: str


class PlanObservation(Observation):
    """`text`: the user turn that comes next, at first the prompt; `solved`: whether the last plan solves the problem."""

    text: str
    solved: bool = False


class PlanningServer(Environment[PlanAction, PlanObservation, State]):
    """One rollout at a time, for one client."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, problems: Sequence[PlanningProblem], settings: RolloutSettings) -> None:
        super().__init__()
        self._problems = problems
        self._settings = settings
        self._rollout: Rollout | None = None
        self._episode_id: str | None = None

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, index: int | None = None, **others: Any
    ) -> PlanObservation:
        """The problem of an index, or one that `seed` draws. Raises DataError for an index that there is not."""
        drawn = random.Random(seed).randrange(len(self._problems)) if index is None else index
        self._rollout, self._episode_id = Rollout(problem_at(self._problems, drawn), self._settings), episode_id
        return PlanObservation(text=self._rollout.problem.prompt, metadata={"index": drawn})

    def step(self, action: PlanAction, timeout_s: float | None = None, **others: Any) -> PlanObservation:
        """What is said of a plan. Raises ConfigError before the first `reset`."""
        if self._rollout is None:
            raise ConfigError("there is no problem yet: call reset first")
        text = self._rollout.submit(action.plan)
        return PlanObservation(text=text, solved=self._rollout.solved, reward=self._rollout.reward, done=self._rollout.done)

    @property
    def state(self) -> State:
        return State(episode_id=self._episode_id, step_count=self._rollout.plans if self._rollout else 0)


def make_app(problems: Sequence[PlanningProblem], settings: RolloutSettings, sessions: int = 64) -> FastAPI:
    """The server's application, for up to `sessions` clients at once."""
    return create_app(
        lambda: PlanningServer(problems, settings),
        PlanAction,
        PlanObservation,
        env_name="pddl_planning",
        max_concurrent_envs=sessions,
    )


@entry_point()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--data_root", default=DATA_ROOT, metavar="DIR", help="folder of *.jsonl rows (default data/test)")
    add("--domains", nargs="+", metavar="NAME", help="default: every file of the data root")
    add("--problem_root", nargs="+", default=[], metavar="DIR", help="where the rows' PDDL files are looked for too")
    add("--prompt_style", default="full", help="as for script/evaluate.py (default full)")
    add("--repair_turns", type=int, default=0, metavar="K", help="plans that may follow one that fails (default 0)")
    add("--repair_detail", default=DETAILS[-1], help=f"how much is said of it: {', '.join(DETAILS)} (default {DETAILS[-1]})")
    add("--reward", default="dense", help="dense, banded or sparse (default dense)")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8000)
    given = parser.parse_args(argv)
    settings = RolloutSettings(given.repair_turns, given.repair_detail, given.reward)
    problems = load_problems(given.data_root, given.domains, given.problem_root, given.prompt_style)
    uvicorn.run(make_app(problems, settings), host=given.host, port=given.port, log_level="warning")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
