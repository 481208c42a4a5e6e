"""Reference plans: A* over states and constraint-monitor memories, with a node budget.

Optimal in summed action cost while the budget lasts, given an admissible heuristic. When the budget runs out the search goes on
greedily (weighted A*, the bound dropped) from scratch with the same budget, and marks its plan as not proven optimal.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

from grpo_project.errors import UnsupportedFeature
from grpo_project.pddl.model import Step
from grpo_project.pddl.monitors import VIOLATED
from grpo_project.pddl.task import GroundAction, Task

Heuristic = Callable[[int], float]
_GREEDY_WEIGHT = 5.0


@dataclass(frozen=True)
class SearchResult:
    """`steps` is None where no plan was found; `optimal` says that its cost (or its absence) is proven."""

    steps: tuple[Step, ...] | None
    cost: float
    optimal: bool
    expanded: int


def find_plan(
    task: Task,
    node_budget: int = 200_000,
    heuristic: Heuristic | None = None,
    rng: random.Random | None = None,
) -> SearchResult:
    """A plan that reaches the goal and respects every constraint.

    node_budget: how many nodes may be expanded. heuristic: an admissible lower bound on the remaining cost from a state
    bitmask; without one, unmet goals over the most that one action can achieve. rng: breaks ties among equally good
    plans; without one the first in declaration order wins. Raises UnsupportedFeature for a task with numeric fluents, TooLarge
    for one with more ground actions than grounding.py lets through.
    """
    if task.numbers is not None:
        raise UnsupportedFeature(
            "numeric fluents are not searched. Plans for it can be validated: bring your own reference plans", task.name
        )
    bound = heuristic if heuristic is not None else _goal_count(task)
    result = _a_star(task, node_budget, bound, 1.0, rng)
    if result.optimal:
        return result
    greedy = _a_star(task, node_budget, bound, _GREEDY_WEIGHT, rng)
    return SearchResult(greedy.steps, greedy.cost, greedy.steps is None and greedy.optimal, result.expanded + greedy.expanded)


def _goal_count(task: Task) -> Heuristic:
    """Admissible for unit costs: every action can make at most `most` literals of the goal true."""
    if task.derived is not None:
        return lambda state: 0.0  # one action may make any number of derived atoms true
    positive, negative = task.goal.positive, task.goal.negative
    most = 1
    cheapest = float("inf")
    for action in task.applicable_actions():
        add = action.add
        delete = action.delete
        for _, more_add, more_delete in action.conditional:
            add |= more_add
            delete |= more_delete
        achieved = (add & positive).bit_count() + (delete & negative).bit_count()
        most = max(most, achieved)
        if achieved:
            cheapest = min(cheapest, action.cost)
    scale = (0.0 if cheapest == float("inf") else cheapest) / most

    def bound(state: int) -> float:
        return ((positive & ~state).bit_count() + (negative & state).bit_count()) * scale

    return bound


def _a_star(task: Task, budget: int, bound: Heuristic, weight: float, rng: random.Random | None) -> SearchResult:
    actions = task.applicable_actions()
    if rng is not None:
        rng.shuffle(actions)
    # The masks once more in plain tuples: attribute look-ups cost a third of the inner loop.
    plain = [(a.condition.positive, a.condition.negative, a.condition.choices, a) for a in actions]
    initial, _ = task.start()  # now that every action is ground
    derived = task.derived
    monitors = task.monitors
    goal = task.goal
    timed = any(monitor.timed for monitor in monitors)

    def advance(memories: tuple[int, ...], state: int, time: int) -> tuple[int, ...] | None:
        after = []
        for monitor, memory in zip(monitors, memories, strict=True):
            memory = monitor.step(memory, state, time)
            if memory == VIOLATED:
                return None
            after.append(memory)
        return tuple(after)

    start_memories = advance((0,) * len(monitors), initial, 0)
    if start_memories is None:
        return SearchResult(None, 0.0, True, 0)
    # A node is (state, memories) and, where a constraint reads the time, the time.
    start = (initial, start_memories, 0)
    best: dict[tuple[int, tuple[int, ...], int], float] = {start: 0.0}
    parents: dict[tuple[int, tuple[int, ...], int], tuple[tuple[int, tuple[int, ...], int], GroundAction]] = {}
    # Among equal estimates the deepest node first (it is nearest to a goal), then the newest.
    frontier: list[tuple[float, float, int, tuple[int, tuple[int, ...], int], int]] = [
        (weight * bound(initial), 0.0, 0, start, 0)
    ]
    counter = 0
    expanded = 0
    closed: set[tuple[int, tuple[int, ...], int]] = set()
    while frontier:
        _, negative_cost, _, node, time = heapq.heappop(frontier)
        if node in closed:
            continue
        cost = -negative_cost
        if cost > best[node]:
            continue
        closed.add(node)
        state, memories, _ = node
        if goal.holds(state) and all(m.satisfied_at_end(k, state) for m, k in zip(monitors, memories, strict=True)):
            return SearchResult(_walk_back(parents, node), cost, weight == 1.0, expanded)
        if expanded >= budget:
            return SearchResult(None, 0.0, False, expanded)
        expanded += 1
        for positive, negative, choices, action in plain:
            if state & positive != positive or state & negative:
                continue
            if choices and not action.condition.holds(state):
                continue
            after = action.apply(state)
            if derived is not None:
                after = derived.closed(after)
            if after == state and not timed:
                continue
            after_memories = advance(memories, after, time + 1) if monitors else memories
            if after_memories is None:
                continue
            child = (after, after_memories, time + 1 if timed else 0)
            child_cost = cost + action.cost
            if child_cost < best.get(child, float("inf")):
                best[child] = child_cost
                parents[child] = (node, action)
                closed.discard(child)
                counter += 1
                heapq.heappush(frontier, (child_cost + weight * bound(after), -child_cost, -counter, child, time + 1))
    return SearchResult(None, 0.0, True, expanded)


def _walk_back(
    parents: dict[tuple[int, tuple[int, ...], int], tuple[tuple[int, tuple[int, ...], int], GroundAction]],
    node: tuple[int, tuple[int, ...], int],
) -> tuple[Step, ...]:
    steps: list[Step] = []
    while node in parents:
        node, action = parents[node]
        steps.append(action.step)
    return tuple(reversed(steps))
