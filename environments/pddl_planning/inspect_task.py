"""Planning problems as a task of Inspect, with repair turns where they are asked for.

inspect eval pddl_planning/pddl_planning --model openai-api/local/NAME -T repair_turns=2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from grpo_project.pddl.explanation import DETAILS
from pddl_planning.core import DATA_ROOT, PlanningProblem, load_problems


@task
def pddl_planning(
    data_root: str = DATA_ROOT,
    domains: Sequence[str] | str | None = None,
    problem_root: Sequence[str] | str = (),
    prompt_style: str = "full",
    repair_turns: int = 0,
    repair_detail: str = DETAILS[-1],
) -> Task:
    """As for `load_problems`; a plan that fails goes back with the verifier's words up to `repair_turns` times."""
    problems = load_problems(data_root, domains, problem_root, prompt_style)
    samples = [
        Sample(input=problem.prompt, target=problem.reference_plan or "", metadata=asdict(problem)) for problem in problems
    ]
    return Task(dataset=MemoryDataset(samples), solver=plans(repair_turns, repair_detail), scorer=verified())


@solver
def plans(repair_turns: int, repair_detail: str) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state = await generate(state)
        for _ in range(repair_turns):
            words = PlanningProblem(**state.metadata).words(state.output.completion, repair_detail)
            if words is None:
                break
            before = state.output
            state.messages.append(ChatMessageUser(content=words))
            state = await generate(state)
            if state.output.stop_reason == "model_length":  # too long for the context: the completion is the server's words
                state.output = before
                break
        return state

    return solve


@scorer(metrics=[accuracy(), stderr()])
def verified() -> Scorer:
    """Whether the last plan solves the problem; its verdict class, reward and the verifier's words stand beside it."""

    async def verify(state: TaskState, target: Target) -> Score:
        problem, answer = PlanningProblem(**state.metadata), state.output.completion
        verdict = problem.verdict(answer)
        beside = {"verdict_class": verdict.verdict_class, "reward": problem.reward(answer)}
        value = CORRECT if verdict.success else INCORRECT
        return Score(value=value, answer=answer, explanation=problem.words(answer), metadata=beside)

    return verify
