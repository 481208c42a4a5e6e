"""Trajectory constraints as small automata, stepped once on every state S0..Sn (PDDL3; semantics as VAL decides them).

A monitor's memory is one int, so that a search can make it part of a state. `step` returns the next memory or VIOLATED;
`satisfied_at_end` says whether the plan may end with that memory in that last state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from grpo_project.pddl.conditions import Condition

VIOLATED = -1


@dataclass(frozen=True)
class Monitor(ABC):
    """`text` is the ground constraint as PDDL; `timed` says that `step` reads the time (the state's index).

    Made from the text, the conditions in the constraint's order, and its times.
    """

    text: str
    condition: Condition
    timed: ClassVar[bool] = False

    @abstractmethod
    def step(self, memory: int, state: int, time: int) -> int: ...

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return True


class Always(Monitor):
    def step(self, memory: int, state: int, time: int) -> int:
        return 0 if self.condition.holds(state) else VIOLATED


class Sometime(Monitor):
    """Memory: 1 once the condition has held."""

    def step(self, memory: int, state: int, time: int) -> int:
        return 1 if memory or self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return memory == 1


class AtMostOnce(Monitor):
    """Memory: 0 before, 1 inside, 2 after the one interval in which the condition may hold."""

    def step(self, memory: int, state: int, time: int) -> int:
        if self.condition.holds(state):
            return VIOLATED if memory == 2 else 1
        return 2 if memory else 0


@dataclass(frozen=True)
class SometimeBefore(Monitor):
    """Strict: `before` must have held in an earlier state than the first one in which `condition` holds."""

    before: Condition

    def step(self, memory: int, state: int, time: int) -> int:
        if memory:
            return 1
        if self.condition.holds(state):
            return VIOLATED
        return 1 if self.before.holds(state) else 0


@dataclass(frozen=True)
class SometimeAfter(Monitor):
    """Memory: 1 while `after` is owed. The same state counts."""

    after: Condition

    def step(self, memory: int, state: int, time: int) -> int:
        if self.after.holds(state):
            return 0
        return 1 if memory or self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return memory == 0


class AtEnd(Monitor):
    def step(self, memory: int, state: int, time: int) -> int:
        return 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return self.condition.holds(state)


@dataclass(frozen=True)
class Within(Monitor):
    """Memory: 1 once the condition has held in time."""

    deadline: float
    timed: ClassVar[bool] = True

    def step(self, memory: int, state: int, time: int) -> int:
        if memory:
            return 1
        if time > self.deadline:
            return VIOLATED
        return 1 if self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return memory == 1


@dataclass(frozen=True)
class AlwaysWithin(Monitor):
    """Memory: 0, or 1 + the time since which `answer` has been owed."""

    answer: Condition
    limit: float
    timed: ClassVar[bool] = True

    def step(self, memory: int, state: int, time: int) -> int:
        if memory and time > memory - 1 + self.limit:
            return VIOLATED
        if self.answer.holds(state):
            return 0
        if memory:
            return memory
        return time + 1 if self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return memory == 0


@dataclass(frozen=True)
class HoldDuring(Monitor):
    """The condition holds in every state whose time lies in [start, end).

    The last state holds without end; what the window still asks of it was checked while it was stepped.
    """

    start: float
    end: float
    timed: ClassVar[bool] = True

    def step(self, memory: int, state: int, time: int) -> int:
        inside = self.start <= time < self.end
        return VIOLATED if inside and not self.condition.holds(state) else 0


@dataclass(frozen=True)
class HoldAfter(Monitor):
    """The condition holds in every state later than `start`; of a plan that ends before, its last state decides."""

    start: float
    timed: ClassVar[bool] = True

    def step(self, memory: int, state: int, time: int) -> int:
        return VIOLATED if time > self.start and not self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return self.condition.holds(state)


MONITORS: Mapping[str, Callable[..., Monitor]] = {
    "always": Always,
    "sometime": Sometime,
    "at-most-once": AtMostOnce,
    "at end": AtEnd,
    "sometime-before": SometimeBefore,
    "sometime-after": SometimeAfter,
    "within": Within,
    "always-within": AlwaysWithin,
    "hold-during": HoldDuring,
    "hold-after": HoldAfter,
}
