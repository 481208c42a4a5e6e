"""A verdict in a planner's words: for people, and for a model that is to try again.

Nothing here knows a plan but the one that was verified: the words hold steps of that plan alone, with literals, constraints and
states.
"""

from __future__ import annotations

from grpo_project.pddl.plan import extract_plan
from grpo_project.pddl.render import render_atom
from grpo_project.pddl.task import GroundAction, Task
from grpo_project.pddl.validator import Verdict

STATE_ATOMS_SHOWN = 40
# How much of a verdict a model is told: that the plan failed; also its class and step; also the state and what was unmet in it.
DETAILS = ("failed", "step", "state")
_KINDS = {
    "plan_format_error": "the answer is no plan",
    "precondition_violation": "a precondition does not hold",
    "safety_constraints_violation": "a constraint is broken",
    "goal_not_satisfied": "the goal is not reached",
}


def explain(task: Task, text: str, verdict: Verdict) -> list[str]:
    """What went wrong, or that nothing did, and the states around it: lines without indentation. `verdict`: that on `text`.

    Of a state, STATE_ATOMS_SHOWN atoms at most.
    """
    if verdict.verdict_class == "plan_format_error":
        lines = [f"The text is no plan: {verdict.detail}."]
        if extract_plan(text).cut_off:
            lines.append("It ends in the middle, as an answer does that ran into its token limit.")
        return lines
    steps, states = extract_plan(text).steps or (), states_reached(task, text, verdict)
    last = len(states) - 1
    lines = []
    match verdict.verdict_class:
        case "success_plans":
            lines.append(f"All {last} steps run, every constraint holds, and the goal is reached. Cost {verdict.plan_cost:g}.")
        case "precondition_violation":
            lines.append(
                f"Step {last + 1} ({' '.join(steps[last])}) cannot run in state {last}. It needs: {' '.join(verdict.unmet)}"
            )
        case "safety_constraints_violation":
            when = "at the end of the plan" if last == len(steps) else f"in state {last}"
            lines.append(f"The constraint {verdict.violated_constraint} is broken {when}.")
        case "goal_not_satisfied":
            lines.append(f"All {last} steps run, but the goal still needs: {' '.join(verdict.unmet)}")
    for index in range(max(1, last - 1), last + 1):
        change = _change(task, states[index - 1], states[index])
        lines.append(f"step {index} ({' '.join(steps[index - 1])}): {change or 'changes nothing'}")
    lines.append(f"state {last}: {_shown(task, states[last])}")
    return lines


def states_reached(task: Task, text: str, verdict: Verdict) -> list[int]:
    """The states of the steps that ran, from the initial one on, as bit masks of the task's atoms. `verdict`: that on `text`."""
    state, numbers = task.start()
    states = [state]
    for step in (extract_plan(text).steps or ())[: verdict.steps_executed]:
        action = task.ground(step)
        assert isinstance(action, GroundAction)
        state, numbers = task.advance(action, state, numbers)
        states.append(state)
    return states


def feedback(task: Task, text: str, verdict: Verdict, detail: str) -> str:
    """What a model is told of the failed answer `text`; `detail` is one of DETAILS. Raises ValueError for a success."""
    if detail not in DETAILS or verdict.success:
        raise ValueError(f"a failed plan and one of {', '.join(DETAILS)} was expected, got {verdict.verdict_class}, {detail!r}")
    failed = "The plan fails."
    if detail == "failed":
        return failed
    if detail == "state":
        return "\n".join([failed, *explain(task, text, verdict)])
    where = ""
    if verdict.failing_step is not None:
        where = f" at step {verdict.failing_step}"
    elif verdict.state_index is not None:
        where = f" in state {verdict.state_index}"
    return f"The plan fails{where}: {_KINDS[verdict.verdict_class]} ({verdict.verdict_class})."


def _shown(task: Task, state: int) -> str:
    """The atoms that actions can change: the others stand in the problem, as they always will."""
    fluents = task.domain.fluents
    atoms = [render_atom(atom) for atom in task.atoms_of(state) if atom[0] in fluents]
    more = f" ... and {len(atoms) - STATE_ATOMS_SHOWN} more" if len(atoms) > STATE_ATOMS_SHOWN else ""
    return " ".join(atoms[:STATE_ATOMS_SHOWN]) + more


def _change(task: Task, before: int, after: int) -> str:
    gained, lost = (" ".join(map(render_atom, task.atoms_of(mask))) for mask in (after & ~before, before & ~after))
    return ", ".join(filter(None, [gained and f"+ {gained}", lost and f"- {lost}"]))
