"""A problem from where its plan has come: the true state as the initial one, and what is left of the constraints.

With it a planner can be asked again after every step. The rest of a plan succeeds on what `restated` gives exactly where the
whole succeeds on the problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from grpo_project.errors import UnsupportedFeature
from grpo_project.pddl.model import ConstraintAnd, Not, Problem, Step, TrajectoryConstraint
from grpo_project.pddl.monitors import VIOLATED, AtMostOnce, Monitor
from grpo_project.pddl.parser import parse_problem
from grpo_project.pddl.render import render_problem
from grpo_project.pddl.task import StepFault, Task


@dataclass
class Walk:
    """The steps that ran on a task, and the state and the memories of its constraints that they led to.

    memories: of every state before `state`, which is stepped when a step leaves it. Raises UnsupportedFeature for tasks with
    numeric fluents, derived predicates, preferences, constraints that read the time, or constraints in the domain: their rest
    cannot be told in a problem.
    """

    task: Task

    def __post_init__(self) -> None:
        task = self.task
        about = f"problem '{task.problem.name}' of domain '{task.domain.name}'"
        if task.numbers is not None:
            raise UnsupportedFeature(f"{about} has numeric fluents: it cannot be told anew from a later state")
        if task.domain.derived or task.preferences is not None:
            raise UnsupportedFeature(f"{about} has derived predicates or preferences: it cannot be told anew from a later state")
        if task.domain.constraints is not None or any(monitor.timed for monitor in task.monitors):
            raise UnsupportedFeature(
                f"{about} has constraints of its domain or of time: they cannot be told anew from later states"
            )
        self.steps: list[Step] = []
        self.state, _ = task.start()
        self.memories = [0] * len(task.monitors)

    def take(self, step: Step) -> bool:
        """Runs one step. False, with nothing changed, where it cannot run or the state that it leaves breaks a constraint."""
        action = self.task.ground(step)
        after = self._stepped()
        if isinstance(action, StepFault) or after is None or not action.condition.holds(self.state):
            return False
        self.memories = after
        self.state, _ = self.task.advance(action, self.state, [])
        self.steps.append(step)
        return True

    @property
    def done(self) -> bool:
        """Whether the plan may end here: the goal holds, and every constraint."""
        after = self._stepped()
        monitors = self.task.monitors
        return (
            self.task.goal.holds(self.state)
            and after is not None
            and all(monitor.satisfied_at_end(memory, self.state) for monitor, memory in zip(monitors, after, strict=True))
        )

    def _stepped(self) -> list[int] | None:
        after = [
            monitor.step(memory, self.state, len(self.steps))
            for monitor, memory in zip(self.task.monitors, self.memories, strict=True)
        ]
        return None if VIOLATED in after else after

    def restated(self) -> Problem:
        """The problem that is left."""
        pairs = zip(self._ground_constraints, self.task.monitors, self.memories, strict=True)
        left = tuple(part for pair in pairs for part in _left(*pair, self.state))
        atoms = frozenset(self.task.atoms_of(self.state))
        return replace(self.task.problem, init=atoms, constraints=ConstraintAnd(left) if left else None)

    @cached_property
    def _ground_constraints(self) -> Sequence[TrajectoryConstraint]:
        """Those of the monitors, in their order."""
        if not self.task.monitors:
            return ()
        texts = " ".join(monitor.text for monitor in self.task.monitors)
        problem, domain = replace(self.task.problem, constraints=None, metric=None), self.task.domain
        plain = render_problem(problem, domain).rstrip().removesuffix(")")
        parsed = parse_problem(f"{plain} (:constraints (and {texts})))", domain).constraints
        parts = parsed.parts if isinstance(parsed, ConstraintAnd) else (parsed,)
        return [part for part in parts if isinstance(part, TrajectoryConstraint)]


def _left(constraint: TrajectoryConstraint, monitor: Monitor, memory: int, state: int) -> Iterator[TrajectoryConstraint]:
    """What a constraint still asks, from `state` on, which the memory does not know yet."""
    match constraint.operator:
        case "sometime" | "sometime-before" if memory:
            return
        case "at-most-once" if memory:
            assert isinstance(monitor, AtMostOnce)
            if memory == 1 and monitor.condition.holds(state):
                yield constraint  # its one interval goes on
            else:
                yield TrajectoryConstraint("always", (Not(constraint.formulas[0]),))
        case "sometime-after" if memory:
            yield TrajectoryConstraint("sometime", constraint.formulas[1:])
            yield constraint
        case _:
            yield constraint
