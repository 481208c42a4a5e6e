"""A second answer to what a plan does, slow and plain, that shares no code with grpo_project.

States are frozensets of atoms, quantifiers are expanded one object at a time, and a trajectory constraint is a sentence about
the list of states so far, evaluated from the start each time: nothing is compiled, cached or carried along.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, product
from typing import Any, NamedTuple

Expression = Any  # a word, or a list of expressions
Atoms = frozenset[tuple[str, ...]]
Names = dict[str, str]


class Outcome(NamedTuple):
    """`step`: the failing step from 1 (precondition), the state's index (constraint), None (format), else the number of steps."""

    verdict_class: str
    step: int | None


def read(text: str) -> Expression:
    """The one s-expression of a text, lower case, comments dropped."""
    words = re.findall(r"[()]|[^\s()]+", re.sub(r";[^\n]*", "", text).lower())
    stack: list[list[Expression]] = [[]]
    for word in words:
        if word == "(":
            stack.append([])
        elif word == ")":
            stack[-2].append(stack.pop())
        else:
            stack[-1].append(word)
    [[whole]] = stack
    return whole


def typed(words: list[str]) -> list[tuple[str, str | None]]:
    """`a b - t c` as [(a, t), (b, t), (c, None)]."""
    pairs: list[tuple[str, str | None]] = []
    waiting: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "-":
            kind = next(rest)
            pairs += [(name, kind) for name in waiting]
            waiting = []
        else:
            waiting.append(word)
    return pairs + [(name, None) for name in waiting]


class World:
    """A domain and a problem as they were written, ready to be asked."""

    def __init__(self, domain_text: str, problem_text: str) -> None:
        domain, problem = read(domain_text), read(problem_text)
        parts: dict[str, list[Expression]] = {}
        for section in domain[2:]:
            parts.setdefault(section[0], []).append(section[1:])
        for section in problem[2:]:
            parts.setdefault("problem " + section[0], []).append(section[1:])
        self.parents = dict(typed(parts.get(":types", [[]])[0]))
        self.objects: dict[str, str] = {}
        for section in (":constants", "problem :objects"):
            for name, kind in typed(parts.get(section, [[]])[0]):
                self.objects[name] = kind or "object"
        self.actions = {action[0]: dict(zip(action[1::2], action[2::2], strict=True)) for action in parts.get(":action", [])}
        self.start: Atoms = frozenset(tuple(fact) for fact in parts["problem :init"][0] if fact[0] != "=")
        self.goal = parts["problem :goal"][0][0]
        self.constraints = [
            ground
            for section in (":constraints", "problem :constraints")
            for tree in parts.get(section, [[]])[0]
            for ground in self.ground_constraints(tree, {})
        ]

    def fits(self, name: str, kind: str | None) -> bool:
        """Whether an object may stand where `kind` is asked for. `object` holds everything unless it is declared itself."""
        kind = kind or "object"
        own: str | None = self.objects[name]
        if kind == "object" and "object" not in self.parents:
            return True
        climbed: list[str] = []
        while own is not None and own not in climbed:
            if own == kind:
                return True
            climbed.append(own)
            own = self.parents.get(own)
        return False

    def bindings(self, variables: list[str], names: Names) -> Iterator[Names]:
        pairs = typed(variables)
        choices = [[name for name in self.objects if self.fits(name, kind)] for _, kind in pairs]
        for chosen in product(*choices):
            yield {**names, **{variable: name for (variable, _), name in zip(pairs, chosen, strict=True)}}

    def holds(self, formula: Expression, state: Atoms, names: Names) -> bool:
        match formula:
            case []:
                return True
            case ["and", *parts]:
                return all(self.holds(part, state, names) for part in parts)
            case ["or", *parts]:
                return any(self.holds(part, state, names) for part in parts)
            case ["not", part]:
                return not self.holds(part, state, names)
            case ["imply", left, right]:
                return self.holds(right, state, names) if self.holds(left, state, names) else True
            case ["forall", variables, part]:
                return all(self.holds(part, state, inner) for inner in self.bindings(variables, names))
            case ["exists", variables, part]:
                return any(self.holds(part, state, inner) for inner in self.bindings(variables, names))
            case ["=", left, right]:
                return names.get(left, left) == names.get(right, right)
        return tuple(names.get(word, word) for word in formula) in state

    def changes(self, effect: Expression, state: Atoms, names: Names) -> Iterator[tuple[bool, tuple[str, ...]]]:
        """(True, atom added) or (False, atom deleted), conditions read in the state before."""
        match effect:
            case [] | ["increase", *_]:
                return
            case ["and", *parts]:
                for part in parts:
                    yield from self.changes(part, state, names)
            case ["forall", variables, part]:
                for inner in self.bindings(variables, names):
                    yield from self.changes(part, state, inner)
            case ["when", condition, part]:
                if self.holds(condition, state, names):
                    yield from self.changes(part, state, names)
            case ["not", atom]:
                yield False, tuple(names.get(word, word) for word in atom)
            case atom:
                yield True, tuple(names.get(word, word) for word in atom)

    def ground_constraints(self, tree: Expression, names: Names) -> Iterator[tuple[Expression, Names]]:
        match tree:
            case []:
                return
            case ["and", *parts]:
                for part in parts:
                    yield from self.ground_constraints(part, names)
            case ["forall", variables, part]:
                for inner in self.bindings(variables, names):
                    yield from self.ground_constraints(part, inner)
            case _:
                yield tree, names

    def broken(self, tree: Expression, names: Names, states: list[Atoms], over: bool) -> bool:
        """Whether no continuation of `states` can mend the constraint; with `over`, whether the finished trace breaks it."""

        def true_at(formula: Expression) -> list[int]:
            return [index for index, state in enumerate(states) if self.holds(formula, state, names)]

        last = len(states) - 1
        match tree:
            case ["always", phi]:
                return len(true_at(phi)) <= last
            case ["sometime", phi]:
                return over and not true_at(phi)
            case ["at", "end", phi]:
                return over and last not in true_at(phi)
            case ["at-most-once", phi]:
                held = [key for key, _ in groupby(index in true_at(phi) for index in range(last + 1))]
                return held.count(True) > 1
            case ["sometime-before", phi, psi]:
                earlier = true_at(psi)
                return any(not any(j < i for j in earlier) for i in true_at(phi))
            case ["sometime-after", phi, psi]:
                later = true_at(psi)
                return over and any(not any(j >= i for j in later) for i in true_at(phi))
            case ["within", limit, phi]:
                in_time = any(i <= float(limit) for i in true_at(phi))
                return not in_time and (over or last > float(limit))
            case ["always-within", limit, phi, psi]:
                answers = true_at(psi)
                for i in true_at(phi):
                    if not any(i <= j <= i + float(limit) for j in answers) and (over or last > i + float(limit)):
                        return True
                return False
            case ["hold-during", first, end, phi]:
                window = [i for i in range(last + 1) if float(first) <= i < float(end)]
                return not set(window) <= set(true_at(phi))
            case ["hold-after", first, phi]:
                later_on = [i for i in range(last + 1) if i > float(first)]
                return not set(later_on) <= set(true_at(phi)) or (over and last not in true_at(phi))
        raise ValueError(f"no constraint: {tree}")

    def any_broken(self, states: list[Atoms], over: bool) -> bool:
        return any(self.broken(tree, names, states, over) for tree, names in self.constraints)

    def readable(self, step: list[str]) -> bool:
        """Whether the step names an action with as many arguments and, in a typed domain, objects of the right types."""
        if not step or step[0] not in self.actions:
            return False
        parameters = typed(self.actions[step[0]].get(":parameters", []))
        if len(step) - 1 != len(parameters):
            return False
        if not self.parents:
            return True
        return all(name in self.objects and self.fits(name, kind) for name, (_, kind) in zip(step[1:], parameters, strict=True))

    def judge(self, steps: list[list[str]]) -> Outcome:
        """The verdict on a plan, in VAL's order: all steps are read, then S(k) is checked before step k+1 runs, then the goal,
        and only where it holds the last state and what the whole trace still owes."""
        if not all(self.readable(step) for step in steps):
            return Outcome("plan_format_error", None)
        states = [self.start]
        for number, step in enumerate(steps, 1):
            if self.any_broken(states, over=False):
                return Outcome("safety_constraints_violation", number - 1)
            action = self.actions[step[0]]
            names = {pair[0]: name for pair, name in zip(typed(action.get(":parameters", [])), step[1:], strict=True)}
            if not self.holds(action.get(":precondition", []), states[-1], names):
                return Outcome("precondition_violation", number)
            changes = list(self.changes(action.get(":effect", []), states[-1], names))
            deleted = {atom for adds, atom in changes if not adds}
            states.append((states[-1] - deleted) | {atom for adds, atom in changes if adds})
        if not self.holds(self.goal, states[-1], {}):
            return Outcome("goal_not_satisfied", len(steps))
        if self.any_broken(states, over=True):
            return Outcome("safety_constraints_violation", len(steps))
        return Outcome("success_plans", len(steps))
