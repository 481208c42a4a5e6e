"""Trajectory constraints as small automata, stepped once on every state S0..Sn (PDDL3; semantics as VAL decides them).

A monitor's memory is one int, so that a search can make it part of a state. `step` returns the next memory or VIOLATED;
`satisfied_at_end` says whether the plan may end with that memory in that last state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from grpo_project.pddl.conditions import Condition

VIOLATED = -1


class Monitor(Protocol):
    """`text` is the ground constraint as PDDL; `timed` says that `step` reads the time (the state's index)."""

    @property
    def text(self) -> str: ...

    @property
    def timed(self) -> bool: ...

    def step(self, memory: int, state: int, time: int) -> int: ...

    def satisfied_at_end(self, memory: int, state: int) -> bool: ...


@dataclass(frozen=True)
class Always:
    text: str
    condition: Condition
    timed: bool = False

    def step(self, memory: int, state: int, time: int) -> int:
        return 0 if self.condition.holds(state) else VIOLATED

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return True


@dataclass(frozen=True)
class Sometime:
    """Memory: 1 once the condition has held."""

    text: str
    condition: Condition
    timed: bool = False

    def step(self, memory: int, state: int, time: int) -> int:
        return 1 if memory or self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return memory == 1


@dataclass(frozen=True)
class AtMostOnce:
    """Memory: 0 before, 1 inside, 2 after the one interval in which the condition may hold."""

    text: str
    condition: Condition
    timed: bool = False

    def step(self, memory: int, state: int, time: int) -> int:
        if self.condition.holds(state):
            return VIOLATED if memory == 2 else 1
        return 2 if memory else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return True


@dataclass(frozen=True)
class SometimeBefore:
    """Strict: `before` must have held in an earlier state than the first one in which `condition` holds."""

    text: str
    condition: Condition
    before: Condition
    timed: bool = False

    def step(self, memory: int, state: int, time: int) -> int:
        if memory:
            return 1
        if self.condition.holds(state):
            return VIOLATED
        return 1 if self.before.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return True


@dataclass(frozen=True)
class SometimeAfter:
    """Memory: 1 while `after` is owed. The same state counts."""

    text: str
    condition: Condition
    after: Condition
    timed: bool = False

    def step(self, memory: int, state: int, time: int) -> int:
        if self.after.holds(state):
            return 0
        return 1 if memory or self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return memory == 0


@dataclass(frozen=True)
class AtEnd:
    text: str
    condition: Condition
    timed: bool = False

    def step(self, memory: int, state: int, time: int) -> int:
        return 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return self.condition.holds(state)


@dataclass(frozen=True)
class Within:
    """Memory: 1 once the condition has held in time."""

    text: str
    condition: Condition
    deadline: float
    timed: bool = True

    def step(self, memory: int, state: int, time: int) -> int:
        if memory:
            return 1
        if time > self.deadline:
            return VIOLATED
        return 1 if self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return memory == 1


@dataclass(frozen=True)
class AlwaysWithin:
    """Memory: 0, or 1 + the time since which `answer` has been owed."""

    text: str
    limit: float
    condition: Condition
    answer: Condition
    timed: bool = True

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
class HoldDuring:
    """The condition holds in every state whose time lies in [start, end)."""

    text: str
    condition: Condition
    start: float
    end: float
    timed: bool = True

    def step(self, memory: int, state: int, time: int) -> int:
        inside = self.start <= time < self.end
        return VIOLATED if inside and not self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        # The last state holds without end; what the window still asks of it was checked while it was stepped.
        return True


@dataclass(frozen=True)
class HoldAfter:
    """The condition holds in every state later than `start`; of a plan that ends before, its last state decides."""

    text: str
    condition: Condition
    start: float
    timed: bool = True

    def step(self, memory: int, state: int, time: int) -> int:
        return VIOLATED if time > self.start and not self.condition.holds(state) else 0

    def satisfied_at_end(self, memory: int, state: int) -> bool:
        return self.condition.holds(state)
