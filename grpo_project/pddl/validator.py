"""Executes a plan and says what happened: the verdict every reward and every success rate rests on.

Agrees with VAL (KCL-Planning/VAL). State S(k) is checked against the trajectory constraints before step k+1 runs, and the
last state only where the goal holds; the first failure decides. Where it does not agree, docs/verifier.md says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal as OneOf
from typing import NamedTuple, get_args

from grpo_project.pddl.model import Step
from grpo_project.pddl.monitors import VIOLATED
from grpo_project.pddl.plan import MAXIMUM_CHARACTERS, MAXIMUM_STEPS, PLAIN_STEP, extract_plan
from grpo_project.pddl.preferences import Preferences, Violations
from grpo_project.pddl.task import MAXIMUM_CACHED, GroundAction, StepFault, Task

VerdictClass = OneOf[
    "success_plans",
    "plan_format_error",
    "precondition_violation",
    "safety_constraints_violation",
    "goal_not_satisfied",
]
VERDICT_CLASSES: tuple[VerdictClass, ...] = get_args(VerdictClass)


class Verdict(NamedTuple):  # a tuple is built six times as fast as a frozen dataclass, and one is built for every completion
    """What became of one plan.

    failing_step: 1-based number of the step that has no reading (format) or whose precondition fails; else None.
    unmet: ground literals of the failing step's precondition, or of the goal, that do not hold.
    violated_constraint, state_index: the ground constraint and the index k of the state S(k) in which it broke.
    goals_met, goals_total: top-level goal conjuncts that hold in the last state reached; initial_goals_met: in S0.
    best_goals_met: the most that held together in one state reached, states from a constraint violation on left out.
    violated_preferences: (name, how often) of each that the steps run and the state after them violate.
    preferences_total: how many names of preferences there are.
    steps_executed: how many steps ran; plan_cost: the value of the problem's :metric after them (without one, their number).
    """

    verdict_class: VerdictClass
    failing_step: int | None
    unmet: tuple[str, ...]
    violated_constraint: str | None
    state_index: int | None
    goals_met: int
    goals_total: int
    initial_goals_met: int
    best_goals_met: int
    steps_executed: int
    steps_total: int
    plan_cost: float
    detail: str
    violated_preferences: Violations = ()
    preferences_total: int = 0

    @property
    def success(self) -> bool:
        return self.verdict_class == "success_plans"


def validate_text(task: Task, text: str) -> Verdict:
    """The verdict on a model's raw answer."""
    if len(text) <= MAXIMUM_CHARACTERS:
        # Most answers are lines "(action argument)", most of which this task has read before: then a look-up is all the reading.
        lines = text.strip().split("\n")
        known = task.known_lines
        try:
            actions = [known[line] for line in lines]
        except KeyError:
            actions = _read_lines(task, lines)
        if 0 < len(actions) <= MAXIMUM_STEPS:
            return _run(task, actions) if task.preferences is None else _execute(task, actions)
    extraction = extract_plan(text)
    if extraction.steps is None:
        return _format_error(task, None, 0, extraction.fault or "")
    return validate(task, extraction.steps)


def _read_lines(task: Task, lines: Sequence[str]) -> list[GroundAction]:
    """The ground actions of lines that are a step each and nothing else; none where one is more, or no step of the task."""
    actions: list[GroundAction] = []
    known = task.known_lines
    for line in lines:
        action = known.get(line)
        if action is None:
            if PLAIN_STEP.fullmatch(line) is None:
                return []
            ground = task.ground(tuple(line[1:-1].lower().split()))
            if isinstance(ground, StepFault):
                return []
            action = ground
            if len(known) < MAXIMUM_CACHED:
                known[line] = action
        actions.append(action)
    return actions


def validate(task: Task, steps: Sequence[Step]) -> Verdict:
    """The verdict on a plan. All steps are read before the first one runs, as VAL does."""
    read = _read(task, steps)
    return read if isinstance(read, Verdict) else _execute(task, read)


def _read(task: Task, steps: Sequence[Step]) -> list[GroundAction] | Verdict:
    """The ground actions, or the verdict on the first step that is none."""
    actions: list[GroundAction] = []
    for number, step in enumerate(steps, 1):
        ground = task.ground(step)
        if isinstance(ground, StepFault):
            return _format_error(task, number, len(steps), f"step {number}: {ground.message}")
        actions.append(ground)
    return actions


def _execute(task: Task, actions: Sequence[GroundAction]) -> Verdict:
    verdict = _run(task, actions)
    return verdict if task.preferences is None else _with_preferences(task, task.preferences, actions, verdict)


def _with_preferences(task: Task, preferences: Preferences, actions: Sequence[GroundAction], verdict: Verdict) -> Verdict:
    """Runs the steps that ran once more, for what they violate and what the metric says of it."""
    ran = actions[: verdict.steps_executed]
    of_steps = [preferences.of_step(action.step) for action in ran]  # before the start, which counts in all that they read
    monitors = [(name, monitor) for name, own in preferences.monitors for monitor in own]
    found: Counter[str] = Counter()
    memories = [0] * len(monitors)
    state, numbers = task.start()
    cost = task.initial_cost
    for time in range(len(ran) + 1):
        for number, (_, monitor) in enumerate(monitors):
            if memories[number] != VIOLATED:
                memories[number] = monitor.step(memories[number], state, time)
        if time < len(ran):
            found.update(name for name, condition in of_steps[time] if not condition.holds(state))
            state, numbers = task.advance(ran[time], state, numbers)
            cost += ran[time].cost
    found.update(name for name, condition in preferences.goal if not condition.holds(state))
    kept = iter(memories)
    for name, own in preferences.monitors:
        broken = [memory == VIOLATED or not m.satisfied_at_end(memory, state) for m, memory in zip(own, kept, strict=False)]
        found[name] += any(broken)
    violations = tuple((name, found[name]) for name in preferences.names if found[name])
    cost = task.plan_cost(len(ran), cost, numbers, violations)
    return verdict._replace(plan_cost=cost, violated_preferences=violations, preferences_total=len(preferences.names))


def _run(task: Task, actions: Sequence[GroundAction]) -> Verdict:
    state, numbers = task.start()
    is_plain = task.is_plain
    cost = task.initial_cost
    memories = [0] * len(task.monitors)
    total = len(actions)
    best = task.initial_goals_met
    goal_mask = task.goal_mask
    goal_bits = state & goal_mask

    for index, action in enumerate(actions):
        if memories:
            broken = _step_monitors(task, memories, state, index)
            if broken is not None:
                return _constraint_violation(task, broken, index, state, total, task.plan_cost(index, cost, numbers), best)
        if state & goal_mask != goal_bits:  # else as many goals hold as before
            goal_bits = state & goal_mask
            met = task.goals_met(state)
            if met > best:
                best = met
        if (
            state & action.positive != action.positive
            or state & action.negative
            or (action.choices and not action.condition.holds(state))
        ):
            unmet = tuple([text for text, condition in task.precondition_parts(action.step) if not condition.holds(state)])
            detail = f"step {index + 1}: ({' '.join(action.step)}) cannot run, unmet: {' '.join(unmet)}"
            cost = task.plan_cost(index, cost, numbers)
            return _verdict(
                task, "precondition_violation", state, index, total, cost, detail, best, failing_step=index + 1, unmet=unmet
            )
        if not is_plain:
            state, numbers = task.advance(action, state, numbers)
        elif action.conditional:
            state = action.apply(state)
        else:
            state = (state & ~action.delete) | action.add
        cost += action.cost

    cost = task.plan_cost(total, cost, numbers)
    if not task.goal.holds(state):
        unmet = tuple([text for text, condition in task.goal_parts if not condition.holds(state)])
        detail = f"unmet goals: {' '.join(unmet)}"
        # A last state that breaks a constraint as well is still "goal" in VAL's words, but earns nothing.
        if _step_monitors(task, memories, state, total) is None:
            best = max(best, task.goals_met(state))
        return _verdict(task, "goal_not_satisfied", state, total, total, cost, detail, best, unmet=unmet)
    broken = _step_monitors(task, memories, state, total)
    if broken is None:
        for number, monitor in enumerate(task.monitors):
            if not monitor.satisfied_at_end(memories[number], state):
                broken = number
                break
    if broken is not None:
        return _constraint_violation(task, broken, total, state, total, cost, best)
    return _verdict(task, "success_plans", state, total, total, cost, "the plan reaches the goal", len(task.goal_parts))


def _step_monitors(task: Task, memories: list[int], state: int, time: int) -> int | None:
    """Steps every monitor in place; the number of the first that breaks, or None."""
    for number, monitor in enumerate(task.monitors):
        memory = monitor.step(memories[number], state, time)
        if memory == VIOLATED:
            return number
        memories[number] = memory
    return None


def _verdict(
    task: Task,
    verdict_class: VerdictClass,
    state: int,
    executed: int,
    total: int,
    cost: float,
    detail: str,
    best_goals_met: int,
    failing_step: int | None = None,
    unmet: tuple[str, ...] = (),
    violated_constraint: str | None = None,
    state_index: int | None = None,
) -> Verdict:
    return Verdict(
        verdict_class,
        failing_step,
        unmet,
        violated_constraint,
        state_index,
        task.goals_met(state),
        len(task.goal_parts),
        task.initial_goals_met,
        best_goals_met,
        executed,
        total,
        cost,
        detail,
    )


def _constraint_violation(
    task: Task, number: int, index: int, state: int, total: int, cost: float, best_goals_met: int
) -> Verdict:
    text = task.monitors[number].text
    detail = f"state {index} violates {text}"
    return _verdict(
        task,
        "safety_constraints_violation",
        state,
        index,
        total,
        cost,
        detail,
        best_goals_met,
        violated_constraint=text,
        state_index=index,
    )


def _format_error(task: Task, failing_step: int | None, total: int, detail: str) -> Verdict:
    return _verdict(
        task, "plan_format_error", task.initial, 0, total, 0.0, detail, task.initial_goals_met, failing_step=failing_step
    )
